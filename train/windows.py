"""Windows cut straight from a store's memory maps; no clip is ever loaded whole.

`RawWindows` and `MfccWindows` read one kind of store each and share one form: `length` and `shape` of a window,
`lengths` of the clips, and `cut`. Clips are numbered as in the dataset, training clips first.
"""

from collections.abc import Iterator

import numpy as np
from numba import njit

from cache import MfccSpecification, RawSpecification, Store

_BLOCK = 8192  # frames


def window_length(specification: RawSpecification | MfccSpecification, seconds: float) -> int:
    """Length of a window: samples of raw, or MFCC frames as librosa counts them, 1 + samples // hop."""
    samples = round(seconds * specification.sample_rate)
    return samples if specification.kind == "raw" else 1 + samples // specification.hop_length


def window_seconds(specification: RawSpecification | MfccSpecification, length: int) -> float:
    """The shortest window of that many samples or frames, in seconds, rounded up to a tenth of a millisecond."""
    samples = length if specification.kind == "raw" else (length - 1) * specification.hop_length
    return -(-samples * 10_000 // specification.sample_rate) / 10_000


class _Windows:
    """What both kinds share: where each clip lies, and the part of it that a window shows."""

    def __init__(self, store: Store, slots: np.ndarray, length: int):
        """slots: int64 [clips]. length: of a window, in samples or frames."""
        self.store, self.length = store, length
        self.lengths = store.length[slots].astype(np.int64)
        self._begins = store.start[slots].astype(np.int64)

    def _part(self, clip: int, start: int) -> tuple[np.ndarray, int]:
        """The clip's elements inside the window at start, and how much silence comes before them."""
        first = max(start, 0)
        stop = max(first, min(start + self.length, int(self.lengths[clip])))
        begin = int(self._begins[clip])
        return self.store.read(begin + first, begin + stop), max(-start, 0)


class RawWindows(_Windows):
    """Windows of waveform, padded with zeros, then normalised to [-0.5, 0.5] as in the notebook."""

    def __init__(self, store: Store, slots: np.ndarray, length: int):
        super().__init__(store, slots, length)
        self.shape = (length, 1)
        self._scale = store.scale[slots].astype(np.float32)

    def cut(self, clips: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """One window of each clip.

        Args:
            clips, starts: int64 [n]; starts in samples, negative where silence comes first.
        Returns:
            float32 [n, length, 1]; (x - min) / (max - min + 1e-6) - 0.5 of each padded window, so that a silent
            one is -0.5 everywhere.
        """
        out = np.empty((len(clips), self.length), np.float32)
        for row, clip, start in zip(out, clips.tolist(), starts.tolist(), strict=True):
            samples, before = self._part(clip, start)
            _normalise(samples, self._scale[clip], before, row)
        return out[:, :, None]


class MfccWindows(_Windows):
    """Windows of MFCC frames, padded with the frame that librosa gives for silence in that clip."""

    def __init__(self, store: Store, slots: np.ndarray, length: int, n_mfcc: int):
        """n_mfcc: coefficients to take, at most those of the store."""
        super().__init__(store, slots, length)
        self.shape = (length, n_mfcc)
        self._silence = np.where(self.lengths > 0, store.silence[slots], _silent_recording(store.specification))

    def cut(self, clips: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """One window of each clip.

        Args:
            clips, starts: int64 [n]; starts in frames, negative where silence comes first.
        Returns:
            float32 [n, length, n_mfcc], as cached.
        """
        out = np.empty((len(clips), *self.shape), np.float32)
        for row, clip, start in zip(out, clips.tolist(), starts.tolist(), strict=True):
            frames, before = self._part(clip, start)
            after = before + len(frames)
            row[before:after] = frames[:, : self.shape[1]]
            row[:before] = row[after:] = 0
            row[:before, 0] = row[after:, 0] = self._silence[clip]
        return out

    def frames(self, clip: int) -> Iterator[np.ndarray]:
        """All frames of a clip, as cached, in blocks of a bounded size: float32 [n, n_mfcc]."""
        begin, end = int(self._begins[clip]), int(self._begins[clip] + self.lengths[clip])
        for first in range(begin, end, _BLOCK):
            yield self.store.read(first, min(first + _BLOCK, end))[:, : self.shape[1]]


Windows = RawWindows | MfccWindows


def _silent_recording(specification: MfccSpecification) -> float:
    """First coefficient where all is silence: every mel band at the lowest level, through the orthonormal DCT."""
    return 10 * np.log10(specification.amin) * np.sqrt(specification.n_mels)


@njit(nogil=True, cache=True)
def _normalise(samples, scale, before, out):
    """Write samples * scale, `before` zeros ahead of it and zeros after it, normalised by its own range."""
    zero, half = np.float32(0), np.float32(0.5)
    low, high = _range(samples, len(samples) < len(out))
    least = np.float32(low) * scale
    divisor = np.float32(high) * scale - least + np.float32(1e-6)
    after = before + len(samples)
    inner = out[before:after]  # plain indices from 0 on both sides, or LLVM does not vectorise the loop
    for i in range(len(samples)):
        inner[i] = (np.float32(samples[i]) * scale - least) / divisor - half
    out[:before] = out[after:] = (zero - least) / divisor - half


@njit(nogil=True, cache=True, fastmath={"nnan", "nsz"})  # a store holds no NaN
def _range(samples, with_zero):
    """Least and greatest sample, of samples and a zero if with_zero; one of the two there is."""
    low = high = samples.dtype.type(0) if with_zero else samples[0]
    for i in range(len(samples)):
        sample = samples[i]
        low = sample if sample < low else low
        high = sample if sample > high else high
    return low, high
