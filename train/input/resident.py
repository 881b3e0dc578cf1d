"""Windows cut on the accelerator: the store lies in its memory, a layer ahead of the net does what `windows` does.

Batches then hold the plan of each window, some hundred bytes, in place of its samples or frames. The layer is part
of the model that is trained, not of the net that is saved; its numbers equal those of `windows` to rounding.

Features lie there as float32, which every backend gathers on every device: TensorFlow has no gather of int16 on a
GPU, so two samples share an element. They are a variable of the layer: an array that is none would become part of
the program that JAX compiles.
"""

from dataclasses import dataclass, replace

import keras
import numpy as np
from keras import layers, ops

from train.batches import TrainingBatches
from train.settings import SettingsError
from train.views import Views
from train.windows import Windows

LARGEST = 4 << 30  # bytes of a store that `--resident auto` puts into an accelerator's memory
_MOST_ROWS = 2**31 - 1  # that int32 can count
_SAMPLES = 2  # int16, that share an element
_TINY = 1e-6
Plan = dict[str, np.ndarray]


def is_resident(wish: str, n_bytes: int, device: str) -> bool:
    """Whether a store of so many bytes goes into the memory of a device, named as Keras does."""
    if wish == "auto":
        return not device.startswith("cpu") and n_bytes <= LARGEST
    return wish == "yes"


@dataclass(frozen=True)
class ResidentStore:
    """The features of some clips, end to end.

    features: float32 [n], two samples in each, or [n, width]; None where a device has them. begins: int64 [clips],
    where each clip lies, of all clips, in samples or frames; those that were not asked for have length 0. lengths:
    int64 [clips].
    """

    features: np.ndarray | None
    begins: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, windows: Windows, clips: np.ndarray) -> "ResidentStore":
        """Put some clips, int64 [n], together.

        Raises:
            SettingsError: they are too many.
        """
        lengths = np.zeros_like(windows.lengths)
        lengths[clips] = windows.lengths[clips]
        begins = np.cumsum(lengths) - lengths
        n_rows = -(-int(lengths.sum()) // _per_row(windows))
        if n_rows > _MOST_ROWS:
            raise SettingsError(
                f"--resident must be no for more than {_MOST_ROWS * _per_row(windows):,} samples or frames, got "
                f"{int(lengths.sum()):,}"
            )
        width = (_SAMPLES,) if windows.kind == "raw" else (windows.shape[1],)
        whole = np.zeros((max(n_rows, 1), *width), windows.store.specification.dtype)
        flat = whole.reshape(-1) if windows.kind == "raw" else whole
        for clip in clips.tolist():
            at = int(begins[clip])
            for part in windows.parts(clip):
                flat[at : at + len(part)] = part
                at += len(part)
        return cls(whole.view(np.float32)[:, 0] if windows.kind == "raw" else whole, begins, lengths)


class ResidentBatches:
    """Training batches whose windows are plans; otherwise as `TrainingBatches`, whose answers they have."""

    def __init__(self, batches: TrainingBatches, windows: Windows, store: ResidentStore):
        """store: that of the clips that the batches show."""
        self.steps = batches.steps
        self._batches, self._windows = batches, windows
        self._store = replace(store, features=None)  # the device has them

    def __call__(self, index: int) -> tuple[Plan, ...]:
        """Batch number index: a plan of n windows, answers and perhaps weights."""
        views, *rest = self._batches.planned(index)
        return plan_of(views, self._windows, self._store), *rest


def plan_of(views: Views, windows: Windows, store: ResidentStore) -> Plan:
    """The numbers that the layer needs, each [n, ...]."""
    levels = windows.level(views.clips), windows.level(views.partners)
    places = (
        _places(views.clips, views.starts, windows, store),
        _places(views.partners, views.partner_starts, windows, store),
    )
    return {
        "places": np.stack(places, axis=1).astype(np.int32),  # [n, own and partner's, 4]
        "levels": np.stack(levels, axis=1).astype(np.float32),
        "shares": views.shares,
        "gains": views.gains,
        "signs": np.where(views.flipped, np.float32(-1), np.float32(1)),
        "time_masks": views.time_masks.astype(np.int32),
        "band_masks": views.band_masks.astype(np.int32),
    }


def _places(clips: np.ndarray, starts: np.ndarray, windows: Windows, store: ResidentStore) -> np.ndarray:
    """Of each window the row in which it begins, what of that row comes before it, its clip's begin and end in it.

    Begin and end are in samples or frames of the window.
    """
    rows, skipped = np.divmod(store.begins[clips] + starts, _per_row(windows))
    ends = np.clip(store.lengths[clips] - starts, 0, windows.length)
    return np.stack([rows, skipped, np.clip(-starts, 0, windows.length), ends], axis=1)


def _per_row(windows: Windows) -> int:
    return _SAMPLES if windows.kind == "raw" else 1


class CutWindows(layers.Layer):
    """A plan in, windows out: float32 [n, time, width]."""

    def __init__(self, windows: Windows, store: ResidentStore, fill: np.ndarray | None = None):
        """fill: float32 [width], the frame that masks put in."""
        super().__init__(trainable=False, dtype="float32")
        self._shape, self._per_row = windows.shape, _per_row(windows)
        self._features = self.add_weight(
            store.features.shape,
            lambda shape, dtype: ops.convert_to_tensor(store.features),
            trainable=False,
            autocast=False,
            name="features",
        )
        self._loudness = None if windows.kind == "raw" else ops.convert_to_tensor(windows.loudness)
        self._fill = ops.convert_to_tensor(np.zeros(windows.shape[1], np.float32) if fill is None else fill)

    def call(self, plan: dict) -> object:
        """Cut, mix, change, hide."""
        own, other = (self._shown(plan, which) for which in (0, 1))
        shares = ops.reshape(plan["shares"], (-1, 1, 1))
        if self._loudness is None:
            return self._waveforms(own, other, shares, plan)
        gains = ops.reshape(plan["gains"], (-1, 1, 1))
        frames = own * shares + other * (1 - shares) + gains * self._loudness
        hidden = _hidden(plan["time_masks"], self._shape[0])[:, :, None]
        hidden = ops.logical_or(hidden, _hidden(plan["band_masks"], self._shape[1])[:, None, :])
        return ops.where(hidden, self._fill, frames)

    def compute_output_shape(self, shapes: dict) -> tuple:
        """[n, *window]."""
        return (None, *self._shape)

    def _shown(self, plan: dict, which: int) -> object:
        """Windows of the own clips (0) or the partners (1), with silence around them; [n, time, width]."""
        row, skipped, first, end = (plan["places"][:, which, i : i + 1] for i in range(4))
        length = self._shape[0]
        places = ops.arange(length, dtype="int32")
        inside = ops.logical_and(places >= first, places < end)[:, :, None]
        rows = row + ops.arange(-(-(length + self._per_row - 1) // self._per_row), dtype="int32")
        rows = ops.clip(rows, 0, self._features.shape[0] - 1)
        elements = ops.take(self._features, rows, axis=0)
        levels = ops.reshape(plan["levels"][:, which], (-1, 1, 1))
        if self._loudness is not None:
            return ops.where(inside, elements, levels * ops.cast(self._loudness > 0, "float32"))
        samples = ops.cast(ops.view(elements, "int16"), "float32")
        samples = ops.where(skipped > 0, samples[:, 1 : length + 1], samples[:, :length])
        return ops.where(inside, samples[:, :, None] * levels, 0.0)

    def _waveforms(self, own: object, other: object, shares: object, plan: dict) -> object:
        """Waveforms mixed at the same range, and normalised as `windows.RawWindows` does."""
        mixed = own * (shares / (_span(own) + _TINY)) + other * ((1 - shares) / (_span(other) + _TINY))
        mixed = ops.where(shares < 1, mixed, own)
        low, divisor = ops.min(mixed, axis=1, keepdims=True), _span(mixed) + _TINY
        hidden = _hidden(plan["time_masks"], self._shape[0])[:, :, None]
        mixed = ops.where(hidden, 0.0, mixed)  # what is hidden is silent
        factors = ops.power(10.0, plan["gains"] / 20) * plan["signs"]
        return ((mixed - low) / divisor - 0.5) * ops.reshape(factors, (-1, 1, 1))


def resident_model(net: keras.Model, cut: CutWindows, plan: Plan) -> keras.Model:
    """The net with windows cut ahead of it; shares the net's weights. plan: any, for its shapes."""
    inputs = {name: keras.Input(value.shape[1:], dtype=value.dtype.name, name=name) for name, value in plan.items()}
    return keras.Model(inputs, net(cut(inputs)))


def _span(waveforms: object) -> object:
    return ops.max(waveforms, axis=1, keepdims=True) - ops.min(waveforms, axis=1, keepdims=True)


def _hidden(masks: object, length: int) -> object:
    """Which of length elements lie in one of the masks, int32 [n, masks, 2]; bool [n, length]."""
    if masks.shape[1] == 0:
        return ops.zeros((ops.shape(masks)[0], length), dtype="bool")
    places = ops.arange(length, dtype="int32")
    return ops.any(ops.logical_and(places >= masks[:, :, :1], places < masks[:, :, 1:]), axis=1)
