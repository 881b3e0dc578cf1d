import keras
import numpy as np
import pytest

from train.variables import assign, values_of


def test_values_are_copies_that_later_ones_do_not_change():
    variable = keras.Variable(np.arange(3.0))
    values = values_of([variable])
    variable.assign(np.zeros(3))
    assert np.array_equal(values, [[0, 1, 2]])
    assign([variable], values)
    assert np.array_equal(keras.ops.convert_to_numpy(variable), [0, 1, 2])


def test_every_variable_must_have_a_value():
    with pytest.raises(ValueError):
        assign([keras.Variable(np.zeros(3))], [])
