"""Batches as a function of their number alone, so that anybody can ask for them ahead, in any order, in any thread.

Training counts batches on through all epochs: batch number i is step i % steps of epoch i // steps. The order of
the clips and the start of each window come from `draws`.
"""

from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from train.draws import Purpose, clip_keys, draw
from train.starts import crop_counts, crop_starts, random_starts
from train.windows import Windows


class TrainingBatches:
    """Endless batches of random windows: every clip once an epoch, in an order of its own."""

    def __init__(
        self,
        windows: Windows,
        clips: np.ndarray,
        names: Iterable[str],
        targets: np.ndarray,
        n_labels: int,
        batch_size: int,
        seed: int,
    ):
        """clips: int64 [n], numbers of the clips to train on. names, targets: theirs, [n]."""
        self.steps = -(-len(clips) // batch_size)
        self._windows, self._clips, self._keys = windows, clips, clip_keys(names)
        self._targets = targets
        self._n_labels, self._batch_size, self._seed = n_labels, batch_size, seed
        self._order = lru_cache(maxsize=2)(self._epoch_order)

    def __call__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Batch number index, counted from the first epoch's first.

        Returns:
            windows, float32 [n, *windows.shape], and answers, float32 [n, n_labels], one 1 in each row; the last
            batch of an epoch may be smaller than the others.
        """
        epoch, step = divmod(index, self.steps)
        rows = self._order(epoch)[step * self._batch_size : (step + 1) * self._batch_size]
        clips = self._clips[rows]
        numbers = draw(self._seed, epoch, self._keys[rows], Purpose.START)
        starts = random_starts(self._windows.lengths[clips], self._windows.length, numbers)
        answers = np.zeros((len(rows), self._n_labels), np.float32)
        answers[np.arange(len(rows)), self._targets[rows]] = 1
        return self._windows.cut(clips, starts), answers

    def _epoch_order(self, epoch: int) -> np.ndarray:
        return np.argsort(draw(self._seed, epoch, self._keys, Purpose.ORDER), kind="stable")


class CropBatches:
    """Batches of the fixed, evenly spaced crops of some clips, clip by clip."""

    def __init__(self, windows: Windows, clips: np.ndarray, crops: int, batch_size: int):
        """clips: int64 [n], numbers of the clips. crops: of each clip that is long enough."""
        self._windows, self._clips, self._batch_size = windows, clips, batch_size
        self.counts = crop_counts(windows.lengths[clips], windows.length, crops)
        self._ends = np.cumsum(self.counts)

    def __len__(self) -> int:
        return -(-int(self.counts.sum()) // self._batch_size)

    def __call__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Batch number index.

        Returns:
            rows, int64 [n], which of the clips each window shows, and windows, float32 [n, *windows.shape].
        """
        first = index * self._batch_size
        crops = np.arange(first, min(first + self._batch_size, self._ends[-1]))
        rows = np.searchsorted(self._ends, crops, side="right")
        counts = self.counts[rows]
        which = crops - (self._ends[rows] - counts)
        clips = self._clips[rows]
        starts = crop_starts(self._windows.lengths[clips], self._windows.length, counts, which)
        return rows, self._windows.cut(clips, starts)
