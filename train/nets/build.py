"""Builds a whole model of a net of the list: windows in, as they are cut, a probability for each label out.

Frames are standardised by a layer of the model, so the statistics are saved with its weights.
"""

from importlib import import_module
from math import prod

import keras
import numpy as np
from keras import KerasTensor, layers

from train.input.statistics import Statistics
from train.nets import NETS
from train.seeds import layer_seed


def build(
    name: str,
    shape: tuple[int, int],
    n_labels: int,
    statistics: Statistics | None = None,
    *,
    seed: int | None = None,
    quick: bool = False,
    precision: str = "float32",
) -> keras.Model:
    """Build a net of the list as a model, not compiled yet.

    Args:
        name: in `NETS`. shape: of a window, [time, 1] or [time, coefficients].
        statistics: to standardise windows by; None leaves them as they are.
        seed: of the weights, which are a pure function of it; None for Keras's own random ones.
        quick: the notebook's dummy in place of the net. precision: what the net computes in, float32 or bfloat16.
    """
    module, function = ("notebook.dummy" if quick else NETS[name].builder).split(".")
    builder = getattr(import_module(f"train.nets.{module}"), function)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else precision)
    try:
        window = keras.Input(shape)
        x = window if statistics is None else _standardised(window, statistics)
        model = keras.Model(window, builder(x, n_labels))
    finally:
        keras.config.set_dtype_policy(before)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            # MobileNetV2 has 0.999: after some hundred steps running statistics are still near their start
            layer.momentum = min(layer.momentum, 0.99)
    if seed is not None:
        _draw_weights(model, seed)
    return model


def n_parameters(model: keras.Model) -> int:
    """Trainable parameters of a model."""
    return sum(prod(weight.shape) for weight in model.trainable_weights)


def probabilities(x: KerasTensor, n_labels: int) -> KerasTensor:
    """The last layer of every net: a probability for each label, in float32 whatever the net computes in."""
    return layers.Dense(n_labels, activation="softmax", dtype="float32")(x)


def as_image(x: KerasTensor) -> KerasTensor:
    """Windows of frames as the images of the 2D nets: [clips, coefficients, time, 1]."""
    x = layers.Permute((2, 1))(x)  # the notebook's order: its kernels span 4 coefficients and 10 frames
    return layers.Reshape((*x.shape[1:], 1))(x)


def _standardised(window: KerasTensor, statistics: Statistics) -> KerasTensor:
    """By (x - mean) / deviation; the values are weights of the layer, not part of the model's description."""
    axes = (1, 2) if statistics.mean.ndim == 2 else (2,)
    layer = layers.Normalization(axes, dtype="float32", trainable=False, name="standardise")
    layer.build(window.shape)
    layer.set_weights([statistics.mean, statistics.variance, np.zeros(())])  # and a count that Keras does not use
    layer.finalize_state()
    return layer(window)


def _draw_weights(model: keras.Model, seed: int) -> None:
    """Draw every kernel again from its own initialiser; all other weights begin with zeros or ones.

    `keras.utils.set_random_seed` will not do: it seeds Python's global generator, which other threads, such as
    Dask's, draw from too.
    """
    for number, layer in enumerate(model.layers):
        initializer = getattr(layer, "kernel_initializer", None) or getattr(layer, "depthwise_initializer", None)
        if initializer is not None:
            seeded = type(initializer).from_config(initializer.get_config() | {"seed": layer_seed(seed, number)})
            layer.kernel.assign(seeded(layer.kernel.shape, layer.kernel.dtype))
