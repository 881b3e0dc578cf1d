"""Batches of windows, computed ahead by a thread and fed to Keras.

A batch depends on its number alone, so anybody can ask for it ahead, in any order, in any thread. Training counts
batches on through all epochs: batch number i is step i % steps of epoch i // steps.
"""

import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from threading import Lock

import keras
import numpy as np

from cache.windows.cut import WindowPlan, Windows, plain_plan
from cache.windows.randomness import crop_counts, crop_offsets
from train.input.augment import Augmentation

_PIECE = 64  # batches that are planned at once: for few clips, calling NumPy takes longer than its computing
_AHEAD = 3  # batches to have ready beyond the one in use
_QUIET_S = 0.02  # without a call, until the feed counts as unused


class TrainingBatches:
    """Endless batches of training windows: every clip once an epoch, in a new random order each epoch."""

    def __init__(
        self,
        windows: Windows,
        augmentation: Augmentation,
        label_ids: np.ndarray,
        n_labels: int,
        weights: np.ndarray | None,
        batch_size: int,
        fill: np.ndarray | None = None,
    ):
        """Of the clips to train on.

        Args:
            label_ids: int64 [n], the label of each clip, below n_labels. weights: float32 [n], the weight of each
                clip in the loss; None for all alike. fill: float32 [width], the frame that masks put in.
        """
        self.steps = -(-len(label_ids) // batch_size)
        self._windows, self._augmentation, self._fill = windows, augmentation, fill
        self._label_ids, self._weights, self._batch_size = label_ids, weights, batch_size
        self._one_hot = np.eye(n_labels, dtype=np.float32)  # by label: by clip they would take gigabytes
        self._piece = lru_cache(maxsize=2)(self._planned_piece)

    def __call__(self, index: int) -> tuple[np.ndarray, ...]:
        """Batch number index; an epoch's last batch may be smaller.

        Returns:
            windows, float32 [n, *windows.shape]; targets, float32 [n, n_labels], one-hot, mixed as the windows are;
            and weights, float32 [n], likewise, where there are any.
        """
        epoch, step = divmod(index, self.steps)
        piece, place = divmod(step, _PIECE)
        rows = slice(place * self._batch_size, (place + 1) * self._batch_size)
        plan, *rest = (values[rows] for values in self._piece(epoch, piece))
        return self._windows.cut(plan, self._fill), *rest

    def _planned_piece(self, epoch: int, piece: int) -> tuple[WindowPlan | np.ndarray, ...]:
        """The plan of _PIECE batches, end to end."""
        size = _PIECE * self._batch_size
        rows = self._augmentation.order(epoch)[piece * size : (piece + 1) * size]
        plan, partners = self._augmentation(epoch, rows)
        targets = _mixed(self._one_hot, self._label_ids[rows], self._label_ids[partners], plan.shares[:, None])
        if self._weights is None:
            return plan, targets
        return plan, targets, _mixed(self._weights, rows, partners, plan.shares)


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
        """Rows, int64 [n], of the clips that the windows show, and windows, float32 [n, *windows.shape]."""
        first = index * self._batch_size
        crops = np.arange(first, min(first + self._batch_size, self._ends[-1]))
        rows = np.searchsorted(self._ends, crops, side="right")
        counts = self.counts[rows]
        clips, which = self._clips[rows], crops - (self._ends[rows] - counts)
        offsets = crop_offsets(self._windows.lengths[clips], self._windows.length, counts, which)
        return rows, self._windows.cut(plain_plan(clips, offsets))


class Prefetch:
    """Batches by number, with the next three computed ahead by a thread; a context manager.

    Call it with 0, 1, 2, ... Any other order gives the same batches, only without the head start. A thread is
    enough, as the code that cuts windows releases the GIL.
    """

    def __init__(self, get: Callable[[int], tuple], stop: int = sys.maxsize):
        """get: a pure function of a batch's number. stop: how many there are."""
        self._get, self._stop = get, stop
        self._pool = ThreadPoolExecutor(1, "batches")
        self._futures: dict[int, Future[tuple]] = {}
        self._lock = Lock()

    def __call__(self, index: int) -> tuple:
        """The result of get(index); an error of get is raised here, and a RuntimeError after the block."""
        with self._lock:
            wanted = range(index, min(index + _AHEAD + 1, self._stop))
            self._futures = {i: self._futures.get(i) or self._pool.submit(self._get, i) for i in wanted}
            future = self._futures.pop(index)
        return future.result()

    def __enter__(self) -> "Prefetch":
        return self

    def __exit__(self, *_error: object) -> None:
        """End the thread, and drop what was computed ahead."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            self._futures.clear()


class Feed(keras.utils.PyDataset):
    """Training batches as Keras reads them: one endless row through all epochs; enter it around `fit`.

    Keras fetches some batches twice (for their shapes) and more than it needs (ahead); that changes nothing, as a
    batch depends on its number alone. Prefetching is ours: Keras's own workers would begin again at batch 0 after
    each epoch of a dataset with an end, and its PyTorch and JAX feeds do not prefetch without them.
    """

    num_batches = None  # endless

    def __init__(self, batches: Callable[[int], tuple], first: int = 0):
        """first: the number of the first batch that is wanted."""
        super().__init__()
        self._first, self._prefetch = first, Prefetch(batches)
        self._error: Exception | None = None
        self._begun = self._ended = 0  # calls
        self._lock = Lock()

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        """Batch number index, counted from the first that is wanted."""
        with self._lock:
            self._begun += 1
        try:
            return self._prefetch(self._first + index)
        except Exception as error:
            self._error = self._error or error
            raise
        finally:
            with self._lock:
                self._ended += 1

    def __enter__(self) -> "Feed":
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Drop what was computed ahead, as TensorFlow never releases the feed; raise a batch's own error.

        TensorFlow's thread asks for batches beyond the last until it gets an error. If Python collected its
        iterator meanwhile, which holds the GIL, the two would wait for each other for ever: so wait until nobody
        asks any more.
        """
        cause = self._error
        self._prefetch.__exit__()
        begun = -1
        while self._ended < self._begun or begun < self._begun:
            begun = self._begun
            time.sleep(_QUIET_S)
        if error is not None and cause is not None:
            raise cause from None  # TensorFlow's own error is a page of text


def _mixed(values: np.ndarray, rows: np.ndarray, partners: np.ndarray, shares: np.ndarray) -> np.ndarray:
    return values[rows] * shares + values[partners] * (1 - shares)
