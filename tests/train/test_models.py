import pytest

from train.models import MODELS
from train.nets import NETS, build

pytestmark = pytest.mark.filterwarnings("ignore")


def _build(name, length, n_mfcc):
    shape = (length, 1) if MODELS[name].kind == "raw" else (length, n_mfcc)
    return build(NETS[name], shape, 3, 1e-3)


@pytest.mark.parametrize("name", MODELS)
def test_the_shortest_window_is_enough(name):
    assert _build(name, MODELS[name].min_length, MODELS[name].min_mfcc).output_shape == (None, 3)


@pytest.mark.parametrize("name", MODELS)
def test_a_shorter_window_is_too_short(name):
    with pytest.raises(ValueError, match="dimension|size|shape"):
        _build(name, MODELS[name].min_length - 1, MODELS[name].min_mfcc)


def test_fewer_coefficients_are_too_few():
    with pytest.raises(ValueError, match="dimension|size|shape"):
        _build("conv2d", MODELS["conv2d"].min_length, MODELS["conv2d"].min_mfcc - 1)
