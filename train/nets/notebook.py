"""The nets of the notebook, exactly as it defines them, and its dummies, which --quick trains.

Source: "Beginner's Guide to Audio Data", `get_1d_conv_model`, `get_2d_conv_model` and their dummies.
"""

from keras import KerasTensor, layers

from train.nets.build import as_image, probabilities


def conv1d(x: KerasTensor, n_labels: int) -> KerasTensor:
    """The 1D convolutional net on raw windows."""
    for filters, size, pool, rate in ((16, 9, 16, 0.1), (32, 3, 4, 0.1), (32, 3, 4, 0.1), (256, 3, None, 0.2)):
        x = layers.Conv1D(filters, size, activation="relu")(x)
        x = layers.Conv1D(filters, size, activation="relu")(x)
        x = layers.MaxPool1D(pool)(x) if pool else layers.GlobalMaxPool1D()(x)
        x = layers.Dropout(rate)(x)
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


def dummy(x: KerasTensor, n_labels: int) -> KerasTensor:
    """The dummy of either net: one pooling over all of the window, one dense layer."""
    pooled = layers.GlobalMaxPool1D()(x) if x.shape[-1] == 1 else layers.GlobalMaxPool2D()(as_image(x))
    return probabilities(pooled, n_labels)
