import pytest
from keras import layers

from train.nets.build import build, n_parameters


def _kinds(model):
    return [type(layer).__name__ for layer in model.layers]


@pytest.mark.parametrize(
    ("name", "shape", "expected"), [("conv1d", (32_000, 1), 360_513), ("conv2d", (173, 40), 168_361)]
)
def test_nets_have_the_notebooks_parameters(name, shape, expected):
    model = build(name, shape, 41)
    assert (n_parameters(model), model.output_shape) == (expected, (None, 41))


def test_conv1d_is_layer_by_layer_the_notebooks():
    model = build("conv1d", (32_000, 1), 41)
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
    model = build("conv2d", (173, 40), 41)
    stage = ["Conv2D", "BatchNormalization", "ReLU", "MaxPooling2D"]
    end = ["Flatten", "Dense", "BatchNormalization", "ReLU", "Dense"]
    assert _kinds(model) == ["InputLayer", "Permute", "Reshape", *stage * 4, *end]
    convolutions = [layer for layer in model.layers if isinstance(layer, layers.Conv2D)]
    assert {(c.filters, c.kernel_size, c.padding) for c in convolutions} == {(32, (4, 10), "same")}
    assert convolutions[0].input.shape == (None, 40, 173, 1)
    assert {layer.pool_size for layer in model.layers if isinstance(layer, layers.MaxPool2D)} == {(2, 2)}


def test_dummies_are_one_pooling_and_one_dense_layer():
    assert _kinds(build("conv1d", (32_000, 1), 41, quick=True)) == ["InputLayer", "GlobalMaxPooling1D", "Dense"]
    assert _kinds(build("conv2d", (173, 40), 41, quick=True))[-2:] == ["GlobalMaxPooling2D", "Dense"]
