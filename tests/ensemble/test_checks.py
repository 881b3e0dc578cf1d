from pathlib import Path

import numpy as np
import pytest

from ensemble.checks import checked_probabilities
from ensemble.errors import PredictionsError

FNAMES = ["a.wav", "b.wav", "c.wav"]


def _check(array):
    return checked_probabilities(Path("p.npy"), array, FNAMES, 2)


def test_float32_becomes_float64_of_the_same_values():
    array = np.random.default_rng(0).random((3, 2), dtype=np.float32)
    checked = _check(array)
    assert checked.dtype == np.float64
    np.testing.assert_array_equal(checked, array)


def test_zeros_in_a_row_are_probabilities():
    np.testing.assert_array_equal(_check(np.array([[0, 1.0], [1, 0], [0.5, 0.5]]))[0], [0, 1])


def test_no_clips_are_fine():
    assert checked_probabilities(Path("p.npy"), np.empty((0, 2)), [], 2).shape == (0, 2)


@pytest.mark.parametrize("shape", [(2, 2), (3, 3), (3,), (3, 2, 1)])
def test_other_shape_is_refused(shape):
    with pytest.raises(PredictionsError, match=r"^p\.npy: predictions must be floats of shape \(3, 2\) \[clips, "):
        _check(np.ones(shape))


def test_refusal_says_the_shape_found():
    with pytest.raises(PredictionsError, match=r"got float64 of shape \(2, 2\); remove that fold's finished_"):
        _check(np.ones((2, 2)))


@pytest.mark.parametrize("dtype", ["int64", "bool", "complex128", "<U3", [("a", "f8")]])
def test_other_types_are_refused(dtype):
    with pytest.raises(PredictionsError, match=r"must be floats of shape \(3, 2\).* of shape \(3, 2\); remove"):
        _check(np.zeros((3, 2), dtype=dtype))


@pytest.mark.parametrize(
    ("row", "ailment"),
    [
        ([np.nan, 1], "NaN"),
        ([1.5, -0.5], "a negative value, -0.5"),
        ([0, 0], "nothing but zeros"),
        ([np.inf, 0], "an infinite value"),
    ],
)
def test_bad_row_is_named_with_its_clip(row, ailment):
    message = rf"^p\.npy: row 1 \(b\.wav\) must be probabilities, got {ailment}; remove that fold's"
    with pytest.raises(PredictionsError, match=message):
        _check(np.array([[0.5, 0.5], row, row]))
