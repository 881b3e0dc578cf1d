"""Windows with their label ids, one of each clip: a dataset for Keras, PyTorch, scikit-learn or a loop of your own.

It can be pickled, and cutting windows does not hold the GIL, so processes and threads can both read it ahead.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from cache.clips import Clips
from cache.receipts import Status
from cache.storage import CacheError
from cache.store import Store
from cache.windows.cut import FrameWindows, RawWindows, plain_plan, window_length, window_seconds
from cache.windows.randomness import Purpose, clip_keys, crop_offsets, draw, random_offsets
from common.text import listed

_MOST_SECONDS = 3600


class LabelledWindows:
    """One window and the label id of each of some clips; made by `Cache.windows`.

    `windows[3]` is a window and its label id, (float32 [time, width], int). A slice, list, array or mask gives a
    batch: `windows[3:9]` is (float32 [n, time, width], int64 [n]). Waveforms have a width of 1, and each window is
    normalised to [-0.5, 0.5]; frames are as cached. What it gives is yours to change.

    PyTorch's DataLoader reads it as it is, in workers too. Call `set_epoch` before each `for batch in loader`;
    workers that are kept (`persistent_workers=True`) do not hear of it. Without stacking windows again, and so
    faster: `DataLoader(windows, sampler=BatchSampler(RandomSampler(windows), 64, False), batch_size=None)`.

    Attributes:
        labels: by label id. label_ids: int64 [n], -1 for a clip without a label. rows: int64 [n], of the clip
        table. shape: of a window, [time, width]. epoch: as set.
    """

    def __init__(
        self,
        store: Store,
        clips: Clips,
        rows: np.ndarray,
        labels: Sequence[str],
        seconds: float,
        n_mfcc: int | None,
        offset: str,
        seed: int,
    ):
        """clips: of the store's cache. rows: int64, of the clips to take. The others: as of `Cache.windows`."""
        _check(store, labels, seconds, offset, seed)
        table = clips.table.iloc[rows]
        label_ids = pd.Index(labels, dtype=object).get_indexer(table["label"].astype(object))
        silent = np.isin(store.status[clips.slots[rows]], [Status.EMPTY, Status.FAILED])
        kept = ~silent & ((label_ids >= 0) | (table["label"] == "").to_numpy(bool))
        if not kept.any():
            what = f"none of {len(rows):,} chosen clips has sound and a label that is asked for"
            raise CacheError(f"{store.storage}: {what}; choose other clips or labels, or another split")
        self.labels, self.rows, self.label_ids = list(labels), rows[kept], label_ids[kept].astype(np.int64)
        self.epoch, self._seed, self._offset = 0, seed, offset
        self._numbers = np.arange(len(self.rows))
        self._keys = clip_keys(table["clip"][kept])
        slots, length = clips.slots[self.rows], window_length(store.specification, seconds)
        if store.specification.kind == "raw":
            self._windows = RawWindows(store, slots, length)
        else:
            self._windows = FrameWindows(store, slots, length, n_mfcc or store.specification.item_shape[0])
        self.shape = self._windows.shape

    def __repr__(self) -> str:
        """What it holds, in a line."""
        kind, shape = self._windows.kind, " x ".join(f"{n:,}" for n in self.shape)
        return f"LabelledWindows({kind}: {len(self):,} of {shape}, {len(self.labels):,} labels, epoch {self.epoch})"

    def set_epoch(self, epoch: int) -> None:
        """Let the windows begin where this epoch has them; epoch: from 0, which it is at first."""
        if epoch < 0:
            raise CacheError(f"epoch must be 0 or more, got {epoch}")
        self.epoch = epoch

    def offsets(self, numbers: np.ndarray, epoch: int) -> np.ndarray:
        """Where some windows begin in their clips in an epoch, in samples or frames; int64 [n]."""
        lengths, window = self._windows.lengths[numbers], self._windows.length
        if self._offset == "random":
            return random_offsets(lengths, window, draw(self._seed, epoch, self._keys[numbers], Purpose.OFFSET))
        return crop_offsets(lengths, window, np.ones(len(numbers), np.int64), np.zeros(len(numbers), np.int64))

    def batch(self, numbers: np.ndarray, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Some windows as an epoch has them, whatever `set_epoch` was told.

        Args:
            numbers: int64 [n], below the length.
        Returns:
            float32 [n, time, width], and label ids, int64 [n].
        """
        if not len(numbers):
            return np.empty((0, *self.shape), np.float32), np.empty(0, np.int64)
        return self._windows.cut(plain_plan(numbers, self.offsets(numbers, epoch))), self.label_ids[numbers]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index) -> tuple[np.ndarray, int | np.ndarray]:
        """A window and its label id, or a batch of them; index: whatever NumPy takes.

        Raises:
            IndexError: beyond the end.
        """
        numbers = self._numbers[index]
        windows, label_ids = self.batch(np.atleast_1d(numbers), self.epoch)
        return (windows, label_ids) if numbers.ndim else (windows[0], int(label_ids[0]))

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[np.ndarray, int]]:
        """The windows of a batch, cut at once, for PyTorch's DataLoader to stack."""
        windows, label_ids = self[list(indices)]
        return list(zip(windows, label_ids.tolist(), strict=True))


def _check(store: Store, labels: Sequence[str], seconds: float, offset: str, seed: int) -> None:
    """Refuse values that no clip could make right."""
    if isinstance(labels, str):
        raise CacheError(f"labels must be a list of labels, got {labels!r:.100}")
    index = pd.Index(labels, dtype=object)
    if index.has_duplicates:
        raise CacheError(f"labels must differ, got {listed(index[index.duplicated()].unique())} more than once")
    if "" in index:
        raise CacheError("labels must be words, got ''; cache.labels has those of the training clips")
    if offset not in ("random", "middle"):
        raise CacheError(f'offset must be "random" or "middle", got {offset!r:.100}')
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 1 << 64:
        raise CacheError(f"seed must be a whole number of 0 to 2**64 - 1, got {seed!r:.100}")
    if not 0 < seconds <= _MOST_SECONDS or not window_length(store.specification, seconds):
        least = max(window_seconds(store.specification, 1), 0.0001)
        raise CacheError(f"seconds must be {least} to {_MOST_SECONDS:,} for {store.name}, got {seconds}")
