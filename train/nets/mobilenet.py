"""MobileNetV2, from scratch, on windows of frames.

Source: Sandler et al., "MobileNetV2", 2018, as Keras has it.
"""

import keras
from keras import KerasTensor, layers

from train.nets.build import as_image, probabilities


def mobilenet(x: KerasTensor, n_labels: int) -> KerasTensor:
    """MobileNetV2 of half the width, on frames as an image of one channel."""
    x = keras.applications.MobileNetV2(
        input_tensor=as_image(x), alpha=0.5, include_top=False, weights=None, pooling="avg"
    ).output
    return probabilities(layers.Dropout(0.2)(x), n_labels)
