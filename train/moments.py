"""Mean and variance of each coefficient or band over some clips, in one pass over the memory maps, in float64."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from train.draws import Purpose, draw

if TYPE_CHECKING:
    from train.windows import FrameWindows

_FRAMES = 1 << 21  # 6.8 hours at librosa's hop and 44.1 kHz, more than enough for three digits of a mean
_CLIPS = 1 << 12


@dataclass(frozen=True)
class Moments:
    """Mean and variance of each coefficient; float64 [coefficients]."""

    mean: np.ndarray
    variance: np.ndarray

    @property
    def whole(self) -> "Moments":
        """The mean and variance of all coefficients together, for each of them."""
        mean = self.mean.mean()
        variance = (self.variance + (self.mean - mean) ** 2).mean()
        return Moments(np.full_like(self.mean, mean), np.full_like(self.variance, variance))


def measure_moments(windows: "FrameWindows", clips: np.ndarray) -> Moments:
    """Moments over every frame of the clips, or of a sample; silence around short clips does not count.

    Of more than 2,097,152 frames a sample is measured, so that no store is read whole before the first step: up to
    4,096 clips drawn from all of them, the same at each call, whose frames are no more than that.

    Args:
        windows: of the store. clips: int64 [n], numbers of the clips.
    Returns:
        Moments; a coefficient that never changes gets the variance 1, so that it standardises to 0.
    """
    clips = _sample(windows.lengths[clips], clips)
    n_frames = 0
    sums, squares = np.zeros((2, windows.shape[1]))
    for clip in clips.tolist():
        for frames in windows.parts(clip):
            n_frames += len(frames)
            sums += frames.sum(axis=0, dtype=np.float64)
            squares += np.square(frames, dtype=np.float64).sum(axis=0)
    mean = sums / max(n_frames, 1)
    variance = squares / max(n_frames, 1) - mean**2
    constant = variance <= 1e-12 * np.maximum(mean**2, 1)  # what rounding leaves of nothing
    return Moments(mean, np.where(constant, 1.0, variance))


def _sample(lengths: np.ndarray, clips: np.ndarray) -> np.ndarray:
    """The clips to look at; lengths: int64 [clips], frames."""
    if lengths.sum() <= _FRAMES:
        return clips
    drawn = np.argsort(draw(0, 0, clips.astype(np.uint64), Purpose.ORDER))[:_CLIPS]
    n_drawn = max(1, np.searchsorted(np.cumsum(lengths[drawn]), _FRAMES, side="right"))
    return clips[np.sort(drawn[:n_drawn])]
