"""Windows cut straight from a store's memory maps; no clip is ever loaded whole.

A `WindowPlan` says what the windows of a batch show; `RawWindows` (waveforms) and `FrameWindows` (MFCC or log-mel
frames) cut them. Clips are numbered as in the dataset, training clips first.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from threading import Lock

import numpy as np

from cache.specification import Specification
from cache.store import Store
from cache.windows import kernels

_BLOCK = 8192  # samples or frames
_ALIGNMENT = 64  # bytes
_N_BUFFERS = 32  # that are kept; more are in use at once only where somebody collects batches


@dataclass(frozen=True)
class WindowPlan:
    """What n windows show; offsets and masks are in samples or frames, each mask a first element and an end."""

    clips: np.ndarray  # int64 [n]
    offsets: np.ndarray  # int64 [n], where in its clip a window begins; negative where silence comes first
    partners: np.ndarray  # int64 [n], the clip that is mixed into each window (mixup)
    partner_offsets: np.ndarray  # int64 [n]
    shares: np.ndarray  # float32 [n], of the window's own clip, above 0; 1 where nothing is mixed in
    gains: np.ndarray  # float32 [n], dB
    flipped: np.ndarray  # bool [n], whether the polarity is turned (raw only)
    time_masks: np.ndarray  # int64 [n, masks, 2], what is hidden
    band_masks: np.ndarray  # int64 [n, masks, 2], bands that are hidden

    def __getitem__(self, rows: slice) -> "WindowPlan":
        """Some of the windows."""
        return WindowPlan(*(values[rows] for values in vars(self).values()))


def plain_plan(clips: np.ndarray, offsets: np.ndarray) -> WindowPlan:
    """The plan of windows without augmentation; clips, offsets: int64 [n]."""
    n = len(clips)
    ones, zeros, none = np.ones(n, np.float32), np.zeros(n, np.float32), np.zeros((n, 0, 2), np.int64)
    return WindowPlan(clips, offsets, clips, offsets, ones, zeros, np.zeros(n, bool), none, none)


def window_length(specification: Specification, seconds: float) -> int:
    """Length of a window: samples of raw, or frames as librosa counts them, 1 + samples // hop_length."""
    samples = round(seconds * specification.sample_rate)
    return samples if specification.kind == "raw" else 1 + samples // specification.hop_length


def window_seconds(specification: Specification, length: int) -> float:
    """The shortest window of that many samples or frames, in seconds, rounded up to a tenth of a millisecond."""
    samples = length if specification.kind == "raw" else (length - 1) * specification.hop_length
    return -(-samples * 10_000 // specification.sample_rate) / 10_000


class Windows:
    """Where each clip lies, and the parts of clips that windows show; the base of both kinds.

    Attributes:
        kind: of feature. lengths: int64 [clips], in samples or frames. length: of a window. shape: of a window,
            [time, width].
    """

    def __init__(self, store: Store, slots: np.ndarray, length: int, width: int):
        """slots: int64 [clips]. length: of a window, in samples or frames."""
        self.store, self.kind = store, store.specification.kind
        self.length, self.shape = length, (length, width)
        self.lengths = store.length[slots].astype(np.int64)
        self._firsts = store.start[slots].astype(np.int64)
        self._buffers = Buffers()

    def cut(self, plan: WindowPlan, fill: np.ndarray | None = None) -> np.ndarray:
        """The windows of a plan; float32 [n, *shape]. fill: float32 [width], the frame that masks put in."""
        raise NotImplementedError

    def blocks(self, clip: int) -> Iterator[np.ndarray]:
        """All of a clip, as cached, in blocks of a bounded size: [n], or [n, width] of frames."""
        first, end = int(self._firsts[clip]), int(self._firsts[clip] + self.lengths[clip])
        for start in range(first, end, _BLOCK):
            block = self.store.read(start, min(start + _BLOCK, end))
            yield block if self.kind == "raw" else block[:, : self.shape[1]]

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


class RawWindows(Windows):
    """Windows of waveform, padded with zeros, then normalised to [-0.5, 0.5] as in the notebook.

    `scales`, float32 [clips], is what the samples of each clip are multiplied by.
    """

    def __init__(self, store: Store, slots: np.ndarray, length: int):
        """slots: int64 [clips]. length: of a window, in samples."""
        super().__init__(store, slots, length, 1)
        self.scales = store.scale[slots].astype(np.float32)

    def cut(self, plan: WindowPlan, fill: np.ndarray | None = None) -> np.ndarray:
        """(x - min) / (max - min + 1e-6) - 0.5 of each padded window, so a silent one is -0.5 everywhere.

        Two waveforms are each scaled to a range of 1, then mixed, and the mixture is normalised. Gain and polarity
        come last. What a mask hides is silent; fill is not used.
        """
        out = self._buffers.take((len(plan.clips), self.length))
        factors = 10 ** (plan.gains / 20) * np.where(plan.flipped, np.float32(-1), np.float32(1))
        scales = self.scales[_pairs(plan.clips, plan.partners)]
        parts, _held = self._parts(plan)
        kernels.cut_waveforms(parts, scales, plan.shares, factors, plan.time_masks, out)
        return out[:, :, None]


class FrameWindows(Windows):
    """Windows of frames, padded with the frame that librosa gives for silence in that clip.

    One dB more adds 1 to every log-mel band; as the DCT is orthonormal, it adds sqrt(n_mels) to the first MFCC and
    nothing to the others. What is silent in a clip is its own in these coefficients, and 0 in the others.
    """

    def __init__(self, store: Store, slots: np.ndarray, length: int, width: int):
        """slots: int64 [clips]. length: frames of a window. width: coefficients or bands, at most the store's."""
        super().__init__(store, slots, length, width)
        self._loudness = np.ones(width, np.float32)
        if self.kind == "mfcc":
            self._loudness = np.sqrt(store.specification.n_mels, dtype=np.float32) * (np.arange(width) == 0)
        silent_throughout = 10 * np.log10(store.specification.amin) * self._loudness[0]
        self._silences = np.where(self.lengths > 0, store.silence[slots], silent_throughout).astype(np.float32)

    def cut(self, plan: WindowPlan, fill: np.ndarray | None = None) -> np.ndarray:
        """Frames as cached where the plan has no augmentation; they are mixed as they are, in dB."""
        out = self._buffers.take((len(plan.clips), *self.shape))
        silences = self._silences[_pairs(plan.clips, plan.partners)]
        fill = np.zeros(self.shape[1], np.float32) if fill is None else fill
        masks = plan.time_masks, plan.band_masks
        parts, _held = self._parts(plan)
        kernels.cut_frames(parts, silences, plan.shares, plan.gains, self._loudness, fill, *masks, out)
        return out


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

    def __reduce__(self) -> tuple:
        """Another process has buffers of its own."""
        return Buffers, ()

    def take(self, shape: tuple[int, ...]) -> np.ndarray:
        """An array of the shape, its content undefined, that nobody else holds."""
        size = prod(shape)
        with self._lock:
            free = {n for n, count in enumerate(self._counts(self._arrays)) if count == self._free_count}
            for number in free:
                if self._arrays[number].size == size:
                    return self._arrays[number].reshape(shape)
            self._arrays = [each for n, each in enumerate(self._arrays) if n not in free]  # those of other sizes
            array = _aligned(size)
            if len(self._arrays) < _N_BUFFERS:
                self._arrays.append(array)
            return array.reshape(shape)

    @staticmethod
    def _counts(arrays: list[np.ndarray]) -> list[int]:
        return [sys.getrefcount(array) for array in arrays]


def _aligned(size: int) -> np.ndarray:
    """A flat aligned array over a plain buffer, not a view of an array, so that its own views refer to it."""
    memory = np.empty(4 * size + _ALIGNMENT, np.uint8)
    first = -memory.ctypes.data % _ALIGNMENT
    return np.frombuffer(memory[first : first + 4 * size].data, np.float32)


def _pairs(own: np.ndarray, partners: np.ndarray) -> np.ndarray:
    """[n, 2]: a value of each window's own clip, and that of its partner."""
    return np.stack([own, partners], axis=1)
