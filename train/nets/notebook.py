"""The nets of the notebook, exactly as it defines them, and its dummies, which --quick trains.

Source: "Beginner's Guide to Audio Data", `get_1d_conv_model`, `get_2d_conv_model` and their dummies.
"""

from keras import KerasTensor, layers

from train.nets.build import as_image, probabilities


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
    return probabilities(x, n_labels)


def conv2d(x: KerasTensor, n_labels: int) -> KerasTensor:
    """The 2D convolutional net on windows of frames."""
    x = as_image(x)
    for _ in range(4):
        x = layers.Conv2D(32, (4, 10), padding="same")(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.MaxPool2D()(x)
    x = layers.Dense(64)(layers.Flatten()(x))
    x = layers.ReLU()(layers.BatchNormalization()(x))
    return probabilities(x, n_labels)


def dummy1d(x: KerasTensor, n_labels: int) -> KerasTensor:
    """The dummy for raw windows: one pooling, one dense layer."""
    return probabilities(layers.GlobalMaxPool1D()(x), n_labels)


def dummy2d(x: KerasTensor, n_labels: int) -> KerasTensor:
    """The dummy for windows of frames: one pooling, one dense layer."""
    return probabilities(layers.GlobalMaxPool2D()(as_image(x)), n_labels)


def _two_convolutions(x: KerasTensor, filters: int, size: int) -> KerasTensor:
    for _ in range(2):
        x = layers.Conv1D(filters, size, activation="relu")(x)
    return x
