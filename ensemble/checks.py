"""What predictions must be to be written or combined."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ensemble.errors import PredictionsError
from ensemble.files import FOLD_AGAIN


def checked_probabilities(path: Path, array: np.ndarray, fnames: Sequence[str], n_labels: int) -> np.ndarray:
    """Check one fold's predictions.

    Args:
        path: where they lie, for the message.
        array: the predictions as they came.
        fnames: [n_clips], the clips that they are for.
        n_labels: how many labels there are.
    Returns:
        float64 [n_clips, n_labels]: no NaN, no infinity, nothing below 0, no row of zeros.
    Raises:
        PredictionsError: anything else; names the first bad row, counted from 0, and its clip.
    """
    shape = (len(fnames), n_labels)
    if array.dtype.kind != "f" or array.shape != shape:
        raise PredictionsError(
            f"{path}: predictions must be floats of shape {shape} [clips, labels], "
            f"got {array.dtype} of shape {array.shape}; {FOLD_AGAIN}"
        )
    array = array.astype(np.float64)
    bad = ~np.isfinite(array).all(axis=1) | (array < 0).any(axis=1) | ~array.any(axis=1)
    if bad.any():
        row = int(bad.argmax())
        raise PredictionsError(
            f"{path}: row {row} ({fnames[row]}) must be probabilities, got {_ailment(array[row])}; {FOLD_AGAIN}"
        )
    return array


def _ailment(row: np.ndarray) -> str:
    if np.isnan(row).any():
        return "NaN"
    if (row < 0).any():
        return f"a negative value, {row.min():g}"
    return "nothing but zeros" if not row.any() else "an infinite value"
