import pytest

from train.models import MODELS
from train.nets import NETS, build

pytestmark = pytest.mark.filterwarnings("ignore")


def _build(name, length, width):
    return build(NETS[name], (length, width), 3)


@pytest.mark.parametrize("name", MODELS)
def test_the_shortest_window_is_enough(name):
    assert _build(name, MODELS[name].min_length, MODELS[name].min_width).output_shape == (None, 3)


@pytest.mark.parametrize("name", ["conv1d", "conv2d"])  # MobileNetV2's convolutions pad; fewer say nothing
def test_a_shorter_window_is_too_short(name):
    with pytest.raises(ValueError, match="dimension|size|shape"):
        _build(name, MODELS[name].min_length - 1, MODELS[name].min_width)


def test_fewer_coefficients_are_too_few():
    with pytest.raises(ValueError, match="dimension|size|shape"):
        _build("conv2d", MODELS["conv2d"].min_length, MODELS["conv2d"].min_width - 1)
