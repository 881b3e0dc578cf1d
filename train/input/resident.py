"""Windows cut on the accelerator: the training clips' features lie in its memory, batches only say what to cut.

The features lie end to end as float32, each short clip with the silence that its windows can show, so that every
window is one stretch of rows. A layer in front of the net gathers the stretches, mixes, changes and masks them; its
numbers are those of `windows` to rounding. It is part of the model that is trained, not of the net that is saved.
"""

from collections.abc import Callable

import keras
import numpy as np
from keras import layers, ops

from train.input.batches import TrainingBatches
from train.input.windows import WindowPlan, Windows
from train.settings import SettingsError

LARGEST = 4 << 30  # bytes of features that `--resident auto` puts into an accelerator's memory
_TINY = 1e-6


def is_resident(wish: str, windows: Windows, clips: np.ndarray, device: str) -> bool:
    """Whether the features of some clips go into the memory of a device, named as Keras does."""
    if wish == "auto":
        n_bytes = 4 * windows.shape[1] * int(_layout(windows, clips)[1].sum())
        return not device.startswith("cpu") and n_bytes <= LARGEST
    return wish == "yes"


def resident(net: keras.Model, batches: TrainingBatches) -> tuple[keras.Model, Callable[[int], tuple]]:
    """A model that cuts windows in front of a net, whose weights it shares, and the batches to train it with.

    Raises:
        SettingsError: int32 cannot count the rows.
    """
    cut = CutWindows(batches.windows, batches.clips, batches.fill)

    def planned(index: int) -> tuple:
        plan, *rest = batches.planned(index)
        return cut.inputs(plan), *rest

    first = planned(0)[0].items()
    inputs = {name: keras.Input(value.shape[1:], dtype=value.dtype.name, name=name) for name, value in first}
    return keras.Model(inputs, net(cut(inputs))), planned


class CutWindows(layers.Layer):
    """The inputs that `inputs` makes of a plan in, its windows out: float32 [n, time, width]."""

    def __init__(self, windows: Windows, clips: np.ndarray, fill: np.ndarray | None = None):
        """clips: int64 [n], those that are trained on. fill: float32 [width], the frame that masks put in."""
        super().__init__(trainable=False, dtype="float32")
        (self._length, self._width), self._raw = windows.shape, windows.kind == "raw"
        self._firsts = np.zeros(len(windows.lengths), np.int64)
        self._firsts[clips], sizes = _layout(windows, clips)
        if (n_rows := int(sizes.sum())) >= 2**31:
            raise SettingsError(
                f"--resident must be no for more than {2**31 - 1:,} samples or frames, got {n_rows:,}"
            )
        features = np.zeros((n_rows, self._width), np.float32)
        for clip, room in zip(clips.tolist(), np.split(features, np.cumsum(sizes)[:-1]), strict=True):
            level = windows.levels[clip]
            room[:] = 0 if self._raw else level * (windows.loudness > 0)
            row = max(self._length - int(windows.lengths[clip]), 0)
            for block in windows.blocks(clip):
                room[row : row + len(block)] = block[:, None] * level if self._raw else block
                row += len(block)
        # a weight: JAX would compile any other array into its program
        self._features = self.add_weight(
            features.shape, lambda *_, **__: ops.convert_to_tensor(features), trainable=False, name="features"
        )
        self._loudness = None if self._raw else windows.loudness
        self._fill = np.zeros(self._width, np.float32) if fill is None else fill

    def inputs(self, plan: WindowPlan) -> dict[str, np.ndarray]:
        """The layer's inputs for n windows, some hundred bytes each."""
        firsts = self._firsts[np.stack([plan.clips, plan.partners], axis=1)]
        firsts += np.stack([plan.offsets, plan.partner_offsets], axis=1)
        return {
            "firsts": firsts.astype(np.int32),
            "shares": plan.shares,
            "gains": plan.gains,
            "signs": np.where(plan.flipped, np.float32(-1), np.float32(1)),
            "time_masks": plan.time_masks.astype(np.int32),
            "band_masks": plan.band_masks.astype(np.int32),
        }

    def call(self, inputs: dict) -> object:
        """Gather, mix, change, mask."""
        rows = ops.expand_dims(inputs["firsts"], 2) + ops.arange(self._length, dtype="int32")
        own, other = (ops.take(self._features, rows[:, which], axis=0) for which in (0, 1))
        shares, gains, signs = (ops.reshape(inputs[name], (-1, 1, 1)) for name in ("shares", "gains", "signs"))
        hidden = _hidden(inputs["time_masks"], self._length)[:, :, None]
        if not self._raw:
            frames = own * shares + other * (1 - shares) + ops.multiply(gains, self._loudness)
            hidden = ops.logical_or(hidden, _hidden(inputs["band_masks"], self._width)[:, None, :])
            return ops.where(hidden, self._fill, frames)
        mixed = own * (shares / _range(own)) + other * ((1 - shares) / _range(other))
        mixed = ops.where(shares < 1, mixed, own)
        low, divisor = ops.min(mixed, axis=1, keepdims=True), _range(mixed)
        windows = (ops.where(hidden, 0.0, mixed) - low) / divisor - 0.5
        return windows * ops.power(10.0, gains / 20) * signs


def _layout(windows: Windows, clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The row of each clip's first element, and how many rows it takes with the silence around it; int64 [n]."""
    lengths = windows.lengths[clips]
    silence = np.maximum(windows.length - lengths, 0)  # on either side
    sizes = lengths + 2 * silence
    return np.cumsum(sizes) - sizes + silence, sizes


def _range(waveforms: object) -> object:
    return ops.max(waveforms, axis=1, keepdims=True) - ops.min(waveforms, axis=1, keepdims=True) + _TINY


def _hidden(masks: object, length: int) -> object:
    """Which of length elements lie in one of the masks, int32 [n, masks, 2]; bool [n, length]."""
    places = ops.arange(length, dtype="int32")
    return ops.any(ops.logical_and(places >= masks[:, :, :1], places < masks[:, :, 1:]), axis=1)
