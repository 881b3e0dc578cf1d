"""The values of a model's or an optimiser's variables, taken out and put back."""

from collections.abc import Iterable

import keras
import numpy as np


def values_of(variables: Iterable[keras.Variable]) -> list[np.ndarray]:
    """Copies, which no step changes and no backend lets go of."""
    return [keras.ops.convert_to_numpy(variable).copy() for variable in variables]


def assign(variables: Iterable[keras.Variable], values: Iterable[np.ndarray]) -> None:
    """Give each variable its value."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
