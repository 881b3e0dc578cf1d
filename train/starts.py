"""Where windows begin: at random for training, evenly spaced for validation and prediction.

A start is in samples or frames from the clip's own beginning. The valid starts of a clip of `length` run from 0 to
length - window. A clip shorter than the window lies somewhere inside it, so its starts are negative, from
length - window to 0: `-start` elements of silence come before it.
"""

import numpy as np

from train.draws import below


def random_starts(lengths: np.ndarray, window: int, numbers: np.ndarray) -> np.ndarray:
    """One start for each clip, uniform over every valid one, the last included.

    Args:
        lengths: int64 [clips], samples or frames. window: likewise.
        numbers: uint64 [clips], uniform.
    Returns:
        int64 [clips].
    """
    span = lengths - window
    return np.minimum(span, 0) + below(numbers, np.abs(span) + 1)


def crop_counts(lengths: np.ndarray, window: int, crops: int) -> np.ndarray:
    """Crops of each clip that differ: `crops`, or fewer where it has fewer valid starts; int64 [clips]."""
    return np.clip(lengths - window + 1, 1, crops)


def crop_starts(lengths: np.ndarray, window: int, counts: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Starts of evenly spaced crops, both ends included; a single one is the middle, a short clip is centred.

    Args:
        lengths: int64 [n], of the clip that each crop belongs to.
        counts: int64 [n], crops of that clip, from `crop_counts`.
        which: int64 [n], 0 ... counts - 1.
    Returns:
        int64 [n].
    """
    span = lengths - window
    middle = np.sign(span) * (np.abs(span) // 2)
    return np.where(counts == 1, middle, which * span // np.maximum(counts - 1, 1))
