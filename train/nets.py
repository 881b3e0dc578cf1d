"""The nets: two exactly as the notebook defines them, and MobileNetV2.

`build` makes a whole model: windows as they are cut, [clips, time, 1] or [clips, time, coefficients], in, and a
probability for each label out. A net is a function from its input and the number of labels to its output. Frames
are standardised by a layer of the model, so that it is saved with the weights.

Source: "Beginner's Guide to Audio Data", `get_1d_conv_model`, `get_2d_conv_model` and their dummies; Sandler et
al., "MobileNetV2", 2018, as Keras has it.
"""

from collections.abc import Callable

import keras
import numpy as np
from keras import KerasTensor, layers

from train.moments import Moments


def conv1d(x: KerasTensor, n_labels: int) -> KerasTensor:
    """The 1D convolutional net on raw windows."""
    x = _two_convolutions(x, 16, 9)
    x = layers.Dropout(0.1)(layers.MaxPool1D(16)(x))
    x = _two_convolutions(x, 32, 3)
    x = layers.Dropout(0.1)(layers.MaxPool1D(4)(x))
    x = _two_convolutions(x, 32, 3)
    x = layers.Dropout(0.1)(layers.MaxPool1D(4)(x))
    x = _two_convolutions(x, 256, 3)
    x = layers.Dropout(0.2)(layers.GlobalMaxPool1D()(x))
    x = layers.Dense(64, activation="relu")(x)
    x = layers.Dense(1028, activation="relu")(x)
    return _answer(n_labels)(x)


def conv2d(x: KerasTensor, n_labels: int) -> KerasTensor:
    """The 2D convolutional net on windows of frames."""
    x = _image(x)
    for _ in range(4):
        x = layers.Conv2D(32, (4, 10), padding="same")(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.MaxPool2D()(x)
    x = layers.Dense(64)(layers.Flatten()(x))
    x = layers.ReLU()(layers.BatchNormalization()(x))
    return _answer(n_labels)(x)


def mobilenet(x: KerasTensor, n_labels: int) -> KerasTensor:
    """MobileNetV2 of half the width, from scratch, on windows of frames as images of one channel."""
    x = keras.applications.MobileNetV2(
        input_tensor=_image(x), alpha=0.5, include_top=False, weights=None, pooling="avg"
    ).output
    return _answer(n_labels)(layers.Dropout(0.2)(x))


def dummy1d(x: KerasTensor, n_labels: int) -> KerasTensor:
    """The notebook's dummy for raw windows: one pooling, one dense layer."""
    return _answer(n_labels)(layers.GlobalMaxPool1D()(x))


def dummy2d(x: KerasTensor, n_labels: int) -> KerasTensor:
    """The notebook's dummy for windows of frames: one pooling, one dense layer."""
    return _answer(n_labels)(layers.GlobalMaxPool2D()(_image(x)))


Net = Callable[[KerasTensor, int], KerasTensor]
NETS: dict[str, Net] = {"conv1d": conv1d, "conv2d": conv2d, "mobilenet": mobilenet}
DUMMIES: dict[str, Net] = {"conv1d": dummy1d, "conv2d": dummy2d, "mobilenet": dummy2d}


def build(net: Net, shape: tuple[int, int], n_labels: int, moments: Moments | None = None) -> keras.Model:
    """A net as a model, not compiled yet.

    Args:
        shape: of a window, [time, 1] or [time, coefficients].
        moments: to standardise each coefficient by; None leaves windows as they are.
    """
    window = keras.Input(shape)
    model = keras.Model(window, net(window if moments is None else _standardised(window, moments), n_labels))
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            # Keras's MobileNetV2 has 0.999, which a few hundred steps leave near its start
            layer.momentum = min(layer.momentum, 0.99)
    return model


def n_parameters(model: keras.Model) -> int:
    """Trainable parameters of a model."""
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def _answer(n_labels: int) -> layers.Dense:
    return layers.Dense(n_labels, activation="softmax", dtype="float32")  # whatever precision the net has


def _standardised(window: KerasTensor, moments: Moments) -> KerasTensor:
    """By a layer whose moments are variables: those of Keras's Normalization become part of a traced net."""
    layer = layers.BatchNormalization(
        center=False, scale=False, epsilon=1e-7, trainable=False, dtype="float32", name="standardise"
    )
    x = layer(window)
    layer.moving_mean.assign(moments.mean)
    layer.moving_variance.assign(moments.variance)
    return x


def _two_convolutions(x: KerasTensor, filters: int, size: int) -> KerasTensor:
    for _ in range(2):
        x = layers.Conv1D(filters, size, activation="relu")(x)
    return x


def _image(x: KerasTensor) -> KerasTensor:
    x = layers.Permute((2, 1))(x)  # [coefficients, frames]: the kernels span 4 coefficients and 10 frames
    return layers.Reshape((*x.shape[1:], 1))(x)
