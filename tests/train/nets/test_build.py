import random
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

from train.input.statistics import Statistics
from train.nets import NETS
from train.nets.build import build, n_parameters


def _statistics(*shape):
    draws = np.random.default_rng(0)
    return Statistics(draws.normal(-50, 30, shape), draws.uniform(1, 900, shape))


def _frames():
    return np.random.default_rng(1).normal(size=(2, 20, 16)).astype(np.float32)


def test_the_list_of_nets_does_not_import_keras():
    code = "import sys, train.nets; sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("quick", [False, True])
def test_every_net_of_the_list_takes_its_smallest_window(name, quick):
    net = NETS[name]
    assert build(name, (net.min_length, net.min_width), 3, quick=quick).output_shape == (None, 3)


@pytest.mark.parametrize("name", ["conv1d", "conv2d"])  # MobileNetV2's convolutions pad; fewer say nothing
def test_a_shorter_window_is_too_short(name):
    with pytest.raises(ValueError, match="dimension|size|shape"):
        build(name, (NETS[name].min_length - 1, NETS[name].min_width), 3)


def test_fewer_coefficients_are_too_few():
    with pytest.raises(ValueError, match="dimension|size|shape"):
        build("conv2d", (NETS["conv2d"].min_length, NETS["conv2d"].min_width - 1), 3)


@pytest.mark.parametrize("shape", [(16,), (20, 16)])
def test_windows_are_standardised_by_coefficient_or_by_position_too(shape):
    statistics, frames = _statistics(*shape), _frames()
    model = build("conv2d", (20, 16), 3, statistics)
    found = keras.Model(model.input, model.get_layer("standardise").output).predict_on_batch(frames)
    assert np.allclose(found, (frames - statistics.mean) / np.sqrt(statistics.variance), atol=1e-4)
    assert n_parameters(model) == n_parameters(build("conv2d", (20, 16), 3))


@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")  # it has not made a step
@pytest.mark.parametrize("shape", [(16,), (20, 16)])
def test_statistics_are_saved_with_the_model_and_with_its_weights(tmp_path, shape):
    model = build("conv2d", (20, 16), 3, _statistics(*shape), seed=1)
    expected = model.predict_on_batch(_frames())
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert np.array_equal(loaded.predict_on_batch(_frames()), expected)
    plain = Statistics(np.zeros(shape), np.ones(shape))
    another = build("conv2d", (20, 16), 3, plain, seed=2)
    another.load_weights(tmp_path / "model.keras")
    assert np.array_equal(another.predict_on_batch(_frames()), expected)


@pytest.mark.parametrize("name", ["conv2d", "mobilenet"])
def test_batch_statistics_follow_within_a_few_hundred_steps(name):
    model = build(name, (64, 40), 3)
    momenta = [layer.momentum for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    assert momenta and max(momenta) <= 0.99


@pytest.mark.parametrize("name", NETS)
def test_weights_are_a_pure_function_of_the_seed(name):
    net = NETS[name]

    def weights(seed):
        return build(name, (net.min_length, net.min_width), 3, seed=seed).get_weights()

    random.seed(1)
    first = weights(5)
    random.seed(2)  # Keras draws seeds from Python's generator, which other threads use too
    for one, other in zip(first, weights(5), strict=True):
        assert np.array_equal(one, other)
    differ = [not np.array_equal(one, other) for one, other in zip(first, weights(6), strict=True)]
    assert all(d for d, weight in zip(differ, first, strict=True) if weight.ndim > 1)


def test_layers_of_one_shape_do_not_share_their_weights():
    kernels = [w for w in build("conv2d", (20, 16), 3, seed=1).trainable_weights if w.shape == (4, 10, 32, 32)]
    assert len(kernels) == 3
    assert not np.array_equal(kernels[0].numpy(), kernels[1].numpy())


def test_a_net_of_bfloat16_answers_and_keeps_its_weights_in_float32():
    model = build("conv2d", (20, 16), 3, _statistics(16), precision="bfloat16")
    assert model.output.dtype == model.get_layer("standardise").output.dtype == "float32"
    assert {weight.dtype for weight in model.trainable_weights} == {"float32"}
    assert any(layer.compute_dtype == "bfloat16" for layer in model.layers)
    assert keras.config.dtype_policy().name == "float32"
