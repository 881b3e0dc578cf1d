"""Builds a whole model of a net of the list: windows in, as they are cut, a probability for each label out.

Frames are standardised by a layer of the model, so the statistics are saved with its weights.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from importlib import import_module
from math import prod

import keras
import numpy as np
from keras import KerasTensor, layers

from train.input.statistics import Statistics
from train.nets import is_own, net_of
from train.nets.check import check_output
from train.nets.own import in_one_line, own_builder, read_source
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
    source: bytes | None = None,
) -> keras.Model:
    """Build a net as a model, not compiled yet.

    Args:
        name: in `NETS`, or FILE.py:FUNCTION. shape: of a window, [time, 1] or [time, coefficients].
        statistics: to standardise windows by; None leaves them as they are.
        seed: of the weights, which are a pure function of it; None for Keras's own random ones.
        quick: the notebook's dummy in place of a net of the list. precision: what the net computes in, float32 or
            bfloat16.
        source: of FILE.py, where it was read before.
    Raises:
        NetError: a user's own net, which cannot be built.
    """
    if is_own(name):
        builder = own_builder(name, read_source(name) if source is None else source)
        told = in_one_line(name.rsplit(":", 1)[0])
    else:
        module, function = ("notebook.dummy" if quick else net_of(name).builder).split(".")
        builder, told = getattr(import_module(f"train.nets.{module}"), function), nullcontext()
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else precision)
    try:
        window = keras.Input(shape)
        x = window if statistics is None else _standardised(window, statistics)
        with told:
            output = builder(x, n_labels)
            check_output(output, name, n_labels)
            model = keras.Model(window, output)
    finally:
        keras.config.set_dtype_policy(before)
    for layer in _all_layers(model):
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
    """Draw again, from its own initialiser, every weight that is as that one drew it.

    All other weights begin with zeros or ones, or are a user's, such as those of a net that is trained already.

    `keras.utils.set_random_seed` will not do: it seeds Python's global generator, which other threads, such as
    Dask's, draw from too.
    """
    for number, layer in enumerate(_all_layers(model)):
        for place, (weight, initializer, scale) in enumerate(_drawn(layer)):
            own_seed = layer_seed(seed, number | place << 32)
            seeded = type(initializer).from_config(initializer.get_config() | {"seed": own_seed})
            weight.assign(seeded(weight.shape, weight.dtype) * scale)


def _drawn(layer: keras.Layer) -> Iterator[tuple[keras.Variable, keras.Initializer, float]]:
    """The weights of a layer that its initialisers drew at random, each with its initialiser, and a scale: what
    EinsumDense draws, it scales by other fans than the initialiser would."""
    for name, initializer in vars(layer).items():
        part = name.removesuffix("_initializer")
        if part == name or not isinstance(initializer, keras.Initializer) or "seed" not in initializer.get_config():
            continue
        for weight in (getattr(layer, attribute, None) for attribute in (part, f"{part}_kernel", "kernel")):
            if isinstance(weight, keras.Variable):
                again = initializer(weight.shape, weight.dtype)  # it draws the same each time
                value, drawn = map(keras.ops.convert_to_numpy, (weight, again))
                scale = float(f"{np.linalg.norm(value) / (np.linalg.norm(drawn) or 1):.5g}")  # without its rounding
                if np.allclose(value, drawn * scale, rtol=1e-4, atol=1e-7):
                    yield weight, initializer, scale
                break


def _all_layers(model: keras.Model) -> list[keras.Layer]:
    """The layers of a model and those inside them, such as an LSTM's cell, which `layers` leaves out."""
    return model._flatten_layers(include_self=False)
