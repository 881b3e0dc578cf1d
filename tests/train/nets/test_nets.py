import keras
import numpy as np
import pytest
from keras import layers

from train.moments import Moments
from train.nets import DUMMIES, NETS, build, conv1d, conv2d, dummy1d, dummy2d, mobilenet, n_parameters
from train.recipe import NOTEBOOK
from train.steps import compile_model


def _moments(n_mfcc=40):
    random = np.random.default_rng(0)
    return Moments(random.normal(-50, 30, n_mfcc), random.uniform(1, 900, n_mfcc))


def _kinds(model):
    return [type(layer).__name__ for layer in model.layers]


def test_conv1d_has_the_notebooks_parameters():
    model = build(conv1d, (32_000, 1), 41)
    assert (n_parameters(model), model.output_shape) == (360_513, (None, 41))


def test_conv2d_has_the_notebooks_parameters():
    model = build(conv2d, (173, 40), 41, _moments())
    assert (n_parameters(model), model.output_shape) == (168_361, (None, 41))


def test_standardisation_adds_no_trainable_parameters():
    without = build(conv2d, (173, 40), 41)
    assert n_parameters(without) == 168_361


def test_conv1d_is_layer_by_layer_the_notebooks():
    model = build(conv1d, (32_000, 1), 41)
    convolutions = [layer for layer in model.layers if isinstance(layer, layers.Conv1D)]
    assert [(c.filters, *c.kernel_size) for c in convolutions] == [
        (16, 9), (16, 9), (32, 3), (32, 3), (32, 3), (32, 3), (256, 3), (256, 3),
    ]  # fmt: skip
    assert {(c.padding, c.activation.__name__) for c in convolutions} == {("valid", "relu")}
    assert [layer.pool_size for layer in model.layers if isinstance(layer, layers.MaxPool1D)] == [
        (16,),
        (4,),
        (4,),
    ]
    assert [layer.rate for layer in model.layers if isinstance(layer, layers.Dropout)] == [0.1, 0.1, 0.1, 0.2]
    dense = [layer for layer in model.layers if isinstance(layer, layers.Dense)]
    assert [(layer.units, layer.activation.__name__) for layer in dense] == [
        (64, "relu"), (1028, "relu"), (41, "softmax"),
    ]  # fmt: skip


def test_conv2d_is_layer_by_layer_the_notebooks():
    model = build(conv2d, (173, 40), 41, _moments())
    stage = ["Conv2D", "BatchNormalization", "ReLU", "MaxPooling2D"]
    end = ["Flatten", "Dense", "BatchNormalization", "ReLU", "Dense"]
    assert _kinds(model) == ["InputLayer", "BatchNormalization", "Permute", "Reshape", *stage * 4, *end]
    convolutions = [layer for layer in model.layers if isinstance(layer, layers.Conv2D)]
    assert {(c.filters, c.kernel_size, c.padding) for c in convolutions} == {(32, (4, 10), "same")}
    assert convolutions[0].input.shape == (None, 40, 173, 1)
    assert {layer.pool_size for layer in model.layers if isinstance(layer, layers.MaxPool2D)} == {(2, 2)}


def test_dummies_are_one_pooling_and_one_dense_layer():
    assert _kinds(build(dummy1d, (32_000, 1), 41)) == ["InputLayer", "GlobalMaxPooling1D", "Dense"]
    assert _kinds(build(dummy2d, (173, 40), 41))[-2:] == ["GlobalMaxPooling2D", "Dense"]


def test_every_net_has_a_dummy():
    assert NETS.keys() == DUMMIES.keys()


def test_mobilenet_is_kerass_at_half_the_width():
    model = build(mobilenet, (173, 64), 41, _moments(64))
    assert model.output_shape == (None, 41)
    first = next(layer for layer in model.layers if isinstance(layer, layers.Conv2D))
    assert first.input.shape == (None, 64, 173, 1)
    assert first.filters == 16
    kerass = keras.applications.MobileNetV2(input_shape=(64, 173, 1), alpha=0.5, weights=None, include_top=False)
    assert n_parameters(model) == n_parameters(kerass) + 1280 * 41 + 41


@pytest.mark.parametrize("net", [conv2d, mobilenet])
def test_batch_statistics_follow_within_a_few_hundred_steps(net):
    model = build(net, (64, 40), 3, _moments())
    momenta = [layer.momentum for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    assert momenta and max(momenta) <= 0.99


def test_each_coefficient_is_standardised_by_its_own_moments():
    moments, frames = _moments(16), np.random.default_rng(1).normal(size=(2, 20, 16)).astype(np.float32)
    model = build(conv2d, (20, 16), 3, moments)
    image = keras.Model(model.input, model.layers[3].output).predict_on_batch(frames)
    expected = (frames - moments.mean) / np.sqrt(moments.variance)
    assert np.allclose(image, expected.transpose(0, 2, 1)[..., None], atol=1e-4)


@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")  # it has not made a step
def test_standardisation_is_saved_with_the_model(tmp_path):
    frames = np.random.default_rng(1).normal(size=(2, 20, 16)).astype(np.float32)
    model = build(conv2d, (20, 16), 3, _moments(16))
    compile_model(model, NOTEBOOK, n_steps=1)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert np.array_equal(loaded.predict_on_batch(frames), model.predict_on_batch(frames))
    assert loaded.jit_compile == model.jit_compile
