"""Mean and variance of frames over the training clips of a fold, in one pass over the memory maps, in float64.

They are taken of each coefficient over all frames, or, as in the notebook, of each coefficient at each position of
a window over the training windows.
"""

from dataclasses import dataclass

import numpy as np

from cache.windows.cut import FrameWindows, plain_plan
from cache.windows.randomness import Purpose, draw

_MOST_FRAMES = 1 << 21  # 6.8 hours at librosa's hop and 44.1 kHz, more than enough for three digits of a mean
_BATCH = 64  # windows


@dataclass(frozen=True)
class Statistics:
    """Mean and variance of each coefficient, float64 [width], or of each at each position, [time, width]."""

    mean: np.ndarray
    variance: np.ndarray

    @property
    def fill(self) -> np.ndarray:
        """The mean frame, which masks put in place of others; float32 [width]."""
        return self.mean.reshape(-1, self.mean.shape[-1]).mean(axis=0).astype(np.float32)


def measure_statistics(windows: FrameWindows, clips: np.ndarray, offsets: np.ndarray | None = None) -> Statistics:
    """Statistics of some clips by coefficient, or of one window of each clip by position and coefficient.

    By coefficient, silence around short clips does not count; by position it does. Of more than 2,097,152 frames
    (12,122 windows of the notebook's) a sample of the clips is measured, the same at each call, so that no store is
    read whole before the first step. What never changes gets the variance 1, so that it standardises to 0.

    Args:
        clips: int64 [n], numbers of the clips.
        offsets: int64 [n], in frames, where the window of each clip begins; None for statistics by coefficient.
    """
    if offsets is None:
        clips = clips[_sample(clips, windows.lengths[clips])]
        blocks = (block for clip in clips.tolist() for block in windows.blocks(clip))
        shape = windows.shape[1:]
    else:
        rows = _sample(clips, np.full(len(clips), windows.length))
        batches = np.split(rows, range(_BATCH, len(rows), _BATCH))
        blocks = (windows.cut(plain_plan(clips[batch], offsets[batch])) for batch in batches)
        shape = windows.shape
    n = 0
    sums, squares = np.zeros((2, *shape))
    for block in blocks:
        n += len(block)
        sums += block.sum(axis=0, dtype=np.float64)
        squares += np.square(block, dtype=np.float64).sum(axis=0)
    mean = sums / max(n, 1)
    variance = squares / max(n, 1) - mean**2
    constant = variance <= 1e-12 * np.maximum(mean**2, 1)  # what rounding leaves of nothing
    return Statistics(mean, np.where(constant, 1.0, variance))


def _sample(clips: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Rows of the clips to measure, together at most so many frames; lengths: int64 [clips], frames."""
    if lengths.sum() <= _MOST_FRAMES:
        return np.arange(len(clips))
    drawn = np.argsort(draw(0, 0, clips.astype(np.uint64), Purpose.ORDER))
    return np.sort(drawn[: max(1, np.searchsorted(np.cumsum(lengths[drawn]), _MOST_FRAMES, side="right"))])
