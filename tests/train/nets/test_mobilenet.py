import keras
from keras import layers

from train.nets.build import build, n_parameters


def test_mobilenet_is_kerass_at_half_the_width():
    model = build("mobilenet", (173, 64), 41)
    assert model.output_shape == (None, 41)
    first = next(layer for layer in model.layers if isinstance(layer, layers.Conv2D))
    assert first.input.shape == (None, 64, 173, 1)
    assert first.filters == 16
    kerass = keras.applications.MobileNetV2(input_shape=(64, 173, 1), alpha=0.5, weights=None, include_top=False)
    assert n_parameters(model) == n_parameters(kerass) + 1280 * 41 + 41
