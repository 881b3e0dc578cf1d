"""Batches as a function of their number alone, so that anybody can ask for them ahead, in any order, in any thread.

Training counts batches on through all epochs: batch number i is step i % steps of epoch i // steps. What each
window shows comes from `views`.
"""

from functools import lru_cache

import numpy as np

from train.starts import crop_counts, crop_starts
from train.views import TrainingViews, Views, plain_views
from train.windows import Windows

_PIECE = 64  # batches that are planned at once: for few clips, NumPy takes longer to be called than to compute


class TrainingBatches:
    """Endless batches of training windows: every clip once an epoch, in an order of its own."""

    def __init__(
        self,
        windows: Windows,
        views: TrainingViews,
        targets: np.ndarray,
        n_labels: int,
        weights: np.ndarray | None,
        batch_size: int,
        fill: np.ndarray | None = None,
    ):
        """Of the clips to train on.

        Args:
            targets: int64 [n], the label of each clip, below n_labels. weights: float32 [n], how much that counts;
                None for all alike. fill: float32 [width], the frame that masks put in.
        """
        self.steps = -(-len(targets) // batch_size)
        self._windows, self._views, self._fill = windows, views, fill
        self._targets, self._weights, self._batch_size = targets, weights, batch_size
        self._answers = np.eye(n_labels, dtype=np.float32)  # by label: those by clip would be gigabytes
        self._piece = lru_cache(maxsize=2)(self._plan_of_piece)

    def __call__(self, index: int) -> tuple[np.ndarray, ...]:
        """Batch number index, counted from the first epoch's first.

        Returns:
            windows, float32 [n, *windows.shape], and what `planned` gives beside the views.
        """
        views, *rest = self.planned(index)
        self._windows.expect(self._views.order.chunks_ahead(*self._rows(index)))
        return self._windows.cut(views, self._fill), *rest

    def planned(self, index: int) -> tuple[Views | np.ndarray, ...]:
        """What batch number index shows, before it is cut.

        Returns:
            views of n windows; answers, float32 [n, n_labels], mixed as the windows are; and
            weights, float32 [n], likewise, where there are any. An epoch's last batch may be smaller.
        """
        epoch, step = divmod(index, self.steps)
        piece, place = divmod(step, _PIECE)
        return tuple(values[self._shown(place)] for values in self._piece(epoch, piece))

    def _plan_of_piece(self, epoch: int, piece: int) -> tuple[Views | np.ndarray, ...]:
        """The plan of _PIECE batches, end to end."""
        size = _PIECE * self._batch_size
        rows = self._views.order.rows(epoch)[piece * size : (piece + 1) * size]
        views, partners = self._views(epoch, rows)
        answers = _mixed(self._answers, self._targets[rows], self._targets[partners], views.shares[:, None])
        if self._weights is None:
            return views, answers
        return views, answers, _mixed(self._weights, rows, partners, views.shares)

    def _rows(self, index: int) -> tuple[int, np.ndarray]:
        epoch, step = divmod(index, self.steps)
        return epoch, self._views.order.rows(epoch)[self._shown(step)]

    def _shown(self, step: int) -> slice:
        return slice(step * self._batch_size, (step + 1) * self._batch_size)


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
        return rows, self._windows.cut(plain_views(clips, starts))


def _mixed(values: np.ndarray, rows: np.ndarray, partners: np.ndarray, shares: np.ndarray) -> np.ndarray:
    return values[rows] * shares + values[partners] * (1 - shares)
