"""Windows cut straight from a store's memory maps; no clip is ever loaded whole.

`RawWindows` (waveforms) and `FrameWindows` (MFCC or log-mel frames) have the same interface: `length` and `shape`
of a window, `lengths` of the clips, and `cut`, which cuts the windows of a `WindowPlan`. Clips are numbered as in
the dataset, training clips first.
"""

import sys
from collections.abc import Iterator
from math import prod
from threading import Lock

import numpy as np

from cache import LogmelSpecification, MfccSpecification, RawSpecification, Store
from train.input import kernels
from train.input.augment import WindowPlan

_BLOCK = 8192  # samples or frames
_ALIGNMENT = 64  # bytes
_N_BUFFERS = 32  # that are kept; more are in use at once only where somebody collects batches
Specification = RawSpecification | MfccSpecification | LogmelSpecification


def window_length(specification: Specification, seconds: float) -> int:
    """Length of a window: samples of raw, or frames as librosa counts them, 1 + samples // hop_length."""
    samples = round(seconds * specification.sample_rate)
    return samples if specification.kind == "raw" else 1 + samples // specification.hop_length


def window_seconds(specification: Specification, length: int) -> float:
    """The shortest window of that many samples or frames, in seconds, rounded up to a tenth of a millisecond."""
    samples = length if specification.kind == "raw" else (length - 1) * specification.hop_length
    return -(-samples * 10_000 // specification.sample_rate) / 10_000


class _Windows:
    """What both kinds of windows share: where each clip lies, and reading the part that a window shows."""

    def __init__(self, store: Store, slots: np.ndarray, length: int):
        """slots: int64 [clips]. length: of a window, in samples or frames."""
        self.store, self.length, self.kind = store, length, store.specification.kind
        self.lengths = store.length[slots].astype(np.int64)
        self._firsts = store.start[slots].astype(np.int64)
        self._buffers = Buffers()

    @property
    def n_bytes(self) -> int:
        """Size of the features of all clips, in bytes."""
        item = np.dtype(self.store.specification.dtype).itemsize * int(np.prod(self.store.specification.item_shape))
        return int(self.lengths.sum()) * item

    def blocks(self, clip: int) -> Iterator[np.ndarray]:
        """All of a clip, as cached, in blocks of a bounded size."""
        first, end = int(self._firsts[clip]), int(self._firsts[clip] + self.lengths[clip])
        for start in range(first, end, _BLOCK):
            yield self.store.read(start, min(start + _BLOCK, end))

    def _parts(self, plan: WindowPlan) -> tuple[kernels.Parts, list[np.ndarray]]:
        """The parts of the clips and their partners that windows show, and the arrays that hold them."""
        clips, offsets = _pairs(plan.clips, plan.partners), _pairs(plan.offsets, plan.partner_offsets)
        needed = _pairs(np.ones(len(clips), bool), plan.shares < 1)
        inside = np.maximum(offsets, 0)
        counts = needed * np.maximum(np.minimum(offsets + self.length, self.lengths[clips]) - inside, 0)
        firsts = self._firsts[clips] + inside
        ends = firsts + counts
        arrays = [*map(self.store.read, firsts[needed].tolist(), ends[needed].tolist())]
        addresses = np.zeros(clips.shape, np.intp)
        addresses[needed] = [*map(kernels.address, arrays)]
        return kernels.Parts(addresses, counts, np.maximum(-offsets, 0), arrays[0]), arrays


class RawWindows(_Windows):
    """Windows of waveform, padded with zeros, then normalised to [-0.5, 0.5] as in the notebook."""

    def __init__(self, store: Store, slots: np.ndarray, length: int):
        """slots: int64 [clips]. length: of a window, in samples."""
        super().__init__(store, slots, length)
        self.shape = (length, 1)
        self.levels = store.scale[slots].astype(np.float32)  # what the samples of each clip are multiplied by

    def cut(self, plan: WindowPlan, fill: np.ndarray | None = None) -> np.ndarray:
        """Cut the windows of a plan.

        Two waveforms are each scaled to a range of 1, then mixed, and the mixture is normalised. Gain and polarity
        come last. What a mask hides is silent.

        Args:
            plan: offsets in samples, negative where silence comes first. fill: not used.
        Returns:
            float32 [n, length, 1]; (x - min) / (max - min + 1e-6) - 0.5 of each padded window, so a silent window
            is -0.5 everywhere.
        """
        out = self._buffers.take((len(plan.clips), self.length))
        factors = 10 ** (plan.gains / 20) * np.where(plan.flipped, np.float32(-1), np.float32(1))
        scales = self.levels[_pairs(plan.clips, plan.partners)]
        parts, _held = self._parts(plan)
        kernels.cut_waveforms(parts, scales, plan.shares, factors, plan.time_masks, out)
        return out[:, :, None]


class FrameWindows(_Windows):
    """Windows of frames, padded with the frame that librosa gives for silence in that clip."""

    def __init__(self, store: Store, slots: np.ndarray, length: int, width: int):
        """slots: int64 [clips]. length: frames of a window. width: coefficients or bands, at most the store's."""
        super().__init__(store, slots, length)
        self.shape = (length, width)
        self.loudness = _loudness(store.specification, width)
        self._no_fill = np.zeros(width, np.float32)
        floor = (
            10 * np.log10(store.specification.amin) * self.loudness[0]
        )  # of a recording that is silent throughout
        # the silence of each clip, in the coefficients that loudness changes
        self.levels = np.where(self.lengths > 0, store.silence[slots], floor).astype(np.float32)

    def cut(self, plan: WindowPlan, fill: np.ndarray | None = None) -> np.ndarray:
        """Cut the windows of a plan; frames are mixed as they are, in dB.

        Args:
            plan: offsets in frames, negative where silence comes first.
            fill: float32 [width], the frame that masks put in; needed where there are masks.
        Returns:
            float32 [n, length, width], as cached where the plan has no augmentation.
        """
        out = self._buffers.take((len(plan.clips), *self.shape))
        silences = self.levels[_pairs(plan.clips, plan.partners)]
        fill = self._no_fill if fill is None else fill
        parts, _held = self._parts(plan)
        kernels.cut_frames(
            parts, silences, plan.shares, plan.gains, self.loudness, fill, plan.time_masks, plan.band_masks, out
        )
        return out

    def blocks(self, clip: int) -> Iterator[np.ndarray]:
        """All frames of a clip, as cached, in blocks of a bounded size: float32 [n, width]."""
        return (block[:, : self.shape[1]] for block in super().blocks(clip))


Windows = RawWindows | FrameWindows


class Buffers:
    """Float32 arrays that are reused once nobody holds them; safe to share by threads.

    Fresh memory for each batch costs more than cutting the windows: TensorFlow sets malloc to return large blocks
    at once, so every batch would page-fault anew. A buffer is free when its reference count says so, because every
    reader (a view, a tensor that shares its memory) holds a reference. Buffers begin at a multiple of 64 bytes:
    TensorFlow and JAX take them without a copy.
    """

    def __init__(self):
        self._arrays: list[np.ndarray] = []  # flat; views of them, and views of those views, refer to these
        self._lock = Lock()
        self._free_count = self._counts([_aligned(1)])[0]

    def take(self, shape: tuple[int, ...]) -> np.ndarray:
        """An array of the shape, its content undefined, that nobody else holds."""
        size = prod(shape)
        with self._lock:
            for number, count in enumerate(self._counts(self._arrays)):
                if count == self._free_count and self._arrays[number].size == size:
                    return self._arrays[number].reshape(shape)
            array = _aligned(size)
            if len(self._arrays) < _N_BUFFERS:
                self._arrays.append(array)
            return array.reshape(shape)

    @staticmethod
    def _counts(arrays: list[np.ndarray]) -> list[int]:
        return [sys.getrefcount(array) for array in arrays]


def _aligned(size: int) -> np.ndarray:
    """A flat aligned array over a plain buffer, not a view of an array, so that its own views refer to it."""
    n_bytes = 4 * size
    memory = np.empty(n_bytes + _ALIGNMENT, np.uint8)
    first = -memory.ctypes.data % _ALIGNMENT
    return np.frombuffer(memory[first : first + n_bytes].data, np.float32)


def _loudness(specification: MfccSpecification | LogmelSpecification, width: int) -> np.ndarray:
    """What one dB more adds to each coefficient or band; float32 [width].

    Every log-mel band rises by 1; the orthonormal DCT of that is sqrt(n_mels) in the first MFCC and 0 elsewhere.
    """
    if specification.kind == "logmel":
        return np.ones(width, np.float32)
    return np.sqrt(specification.n_mels, dtype=np.float32) * (np.arange(width) == 0)


def _pairs(own: np.ndarray, partners: np.ndarray) -> np.ndarray:
    """[n, 2]: a value of each window's own clip, and that of its partner."""
    return np.stack([own, partners], axis=1)
