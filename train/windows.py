"""Windows cut straight from a store's memory maps; no clip is ever loaded whole.

`RawWindows` and `FrameWindows` read waveforms and frames (MFCC or log-mel) and share one form: `length` and `shape`
of a window, `lengths` of the clips, and `cut`, which cuts what `Views` ask for. Clips are numbered as in the
dataset, training clips first.
"""

import os
from collections.abc import Iterator

import numpy as np

from cache import LogmelSpecification, MfccSpecification, RawSpecification, Store
from train import kernels
from train.buffers import Buffers
from train.views import Views

_BLOCK = 8192  # samples or frames
Specification = RawSpecification | MfccSpecification | LogmelSpecification


def window_length(specification: Specification, seconds: float) -> int:
    """Length of a window: samples of raw, or frames as librosa counts them, 1 + samples // hop."""
    samples = round(seconds * specification.sample_rate)
    return samples if specification.kind == "raw" else 1 + samples // specification.hop_length


def window_seconds(specification: Specification, length: int) -> float:
    """The shortest window of that many samples or frames, in seconds, rounded up to a tenth of a millisecond."""
    samples = length if specification.kind == "raw" else (length - 1) * specification.hop_length
    return -(-samples * 10_000 // specification.sample_rate) / 10_000


class _Windows:
    """What both share: where each clip lies, and the part of it that a window shows."""

    def __init__(self, store: Store, slots: np.ndarray, length: int):
        """slots: int64 [clips]. length: of a window, in samples or frames."""
        self.store, self.length, self.kind = store, length, store.specification.kind
        self._buffers = Buffers()
        self.lengths = store.length[slots].astype(np.int64)
        self._begins = store.start[slots].astype(np.int64)

    @property
    def chunks(self) -> np.ndarray:
        """The chunk in which each clip begins; int64 [clips]."""
        return self._begins // self.store.specification.chunk_length

    @property
    def n_bytes(self) -> int:
        """Size of what all clips' features take, in bytes."""
        item = np.dtype(self.store.specification.dtype).itemsize * int(np.prod(self.store.specification.item_shape))
        return int(self.lengths.sum()) * item

    def expect(self, chunks: np.ndarray) -> None:
        """Have the system read chunk files ahead, where it can be told to."""
        for chunk in chunks.tolist() if hasattr(os, "posix_fadvise") else ():
            with open(self.store.chunk_path(chunk), "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)

    def parts(self, clip: int) -> Iterator[np.ndarray]:
        """All of a clip, as cached, in parts of a bounded size."""
        begin, end = int(self._begins[clip]), int(self._begins[clip] + self.lengths[clip])
        for first in range(begin, end, _BLOCK):
            yield self.store.read(first, min(first + _BLOCK, end))

    def _shown(self, views: Views) -> tuple[kernels.Parts, list[np.ndarray]]:
        """What windows show of their clips and of what is mixed in, and the arrays in which it lies."""
        clips, starts = _pairs(views.clips, views.partners), _pairs(views.starts, views.partner_starts)
        wanted = _pairs(np.ones(len(clips), bool), views.shares < 1)
        firsts = np.maximum(starts, 0)
        counts = wanted * np.maximum(np.minimum(starts + self.length, self.lengths[clips]) - firsts, 0)
        begins = self._begins[clips] + firsts
        ends = begins + counts
        arrays = [*map(self.store.read, begins[wanted].tolist(), ends[wanted].tolist())]
        addresses = np.zeros(clips.shape, np.intp)
        addresses[wanted] = [*map(kernels.address, arrays)]
        return kernels.Parts(addresses, counts, np.maximum(-starts, 0), arrays[0]), arrays


class RawWindows(_Windows):
    """Windows of waveform, padded with zeros, then normalised to [-0.5, 0.5] as in the notebook."""

    def __init__(self, store: Store, slots: np.ndarray, length: int):
        super().__init__(store, slots, length)
        self.shape = (length, 1)
        self._scale = store.scale[slots].astype(np.float32)

    def level(self, clips: np.ndarray) -> np.ndarray:
        """What the clips' samples are multiplied by; float32 [n]."""
        return self._scale[clips]

    def cut(self, views: Views, fill: np.ndarray | None = None) -> np.ndarray:
        """One window of each view.

        Two waveforms are mixed at the same range, each brought to 1 first, and the mixture is normalised. Gain and
        polarity come last; what a mask hides is silent.

        Args:
            views: starts in samples, negative where silence comes first. fill: not used.
        Returns:
            float32 [n, length, 1]; (x - min) / (max - min + 1e-6) - 0.5 of each padded window, so that a silent
            one is -0.5 everywhere.
        """
        out = self._buffers.take((len(views.clips), self.length))
        factors = 10 ** (views.gains / 20) * np.where(views.flipped, np.float32(-1), np.float32(1))
        scales = self._scale[_pairs(views.clips, views.partners)]
        parts, _kept = self._shown(views)
        kernels.cut_waveforms(parts, scales, views.shares, factors, views.time_masks, out)
        return out[:, :, None]


class FrameWindows(_Windows):
    """Windows of frames, padded with the frame that librosa gives for silence in that clip."""

    def __init__(self, store: Store, slots: np.ndarray, length: int, width: int):
        """width: coefficients or bands to take, at most those of the store."""
        super().__init__(store, slots, length)
        self.shape = (length, width)
        self.loudness = _loudness(store.specification, width)
        self._no_fill = np.zeros(width, np.float32)
        floor = 10 * np.log10(store.specification.amin) * self.loudness[0]  # where all of a recording is silent
        self._silence = np.where(self.lengths > 0, store.silence[slots], floor).astype(np.float32)

    def cut(self, views: Views, fill: np.ndarray | None = None) -> np.ndarray:
        """One window of each view; frames are mixed as they are, in dB.

        Args:
            views: starts in frames, negative where silence comes first.
            fill: float32 [width], the frame that masks put in place of others; needed where there are masks.
        Returns:
            float32 [n, length, width], as cached where the views change nothing.
        """
        out = self._buffers.take((len(views.clips), *self.shape))
        silences = self._silence[_pairs(views.clips, views.partners)]
        fill = self._no_fill if fill is None else fill
        parts, _kept = self._shown(views)
        kernels.cut_frames(
            parts, silences, views.shares, views.gains, self.loudness, fill, views.time_masks, views.band_masks, out
        )
        return out

    def level(self, clips: np.ndarray) -> np.ndarray:
        """The level of silence in the clips, in the coefficients that loudness changes; float32 [n]."""
        return self._silence[clips]

    def parts(self, clip: int) -> Iterator[np.ndarray]:
        """All frames of a clip, as cached, in parts of a bounded size: float32 [n, width]."""
        return (part[:, : self.shape[1]] for part in super().parts(clip))


Windows = RawWindows | FrameWindows


def _loudness(specification: MfccSpecification | LogmelSpecification, width: int) -> np.ndarray:
    """What one dB more adds to each coefficient or band; float32 [width].

    Every log-mel band rises by 1; the orthonormal DCT of that is sqrt(n_mels) in the first MFCC and 0 elsewhere.
    """
    if specification.kind == "logmel":
        return np.ones(width, np.float32)
    return np.sqrt(specification.n_mels, dtype=np.float32) * (np.arange(width) == 0)


def _pairs(own: np.ndarray, partners: np.ndarray) -> np.ndarray:
    """[n, 2]: of each window's own clip, and of the one that is mixed in."""
    return np.stack([own, partners], axis=1)
