"""The weighted geometric mean of many folds' predictions, in log space.

With w_f the weight of folder f and p_fi the test predictions of its fold i, of which it has K_f:

    exp( sum_f w_f sum_i log p_fi / sum_f w_f K_f )

which is the notebook's product and root as long as that does not underflow. Zeros count as the smallest
normal float64, so that a label that one fold rules out still ranks by the others, and no row is lost.
The mean's rows do not add up to one.

A clip has one out-of-fold prediction in each folder, which stands for all its folds: there folder f weighs
w_f K_f, as it does in the test predictions.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from common.text import listed
from ensemble.files import PredictionsError
from ensemble.predictions import PredictionsFolder, dataset_difference


def geometric_mean(weighted: Iterable[tuple[float, np.ndarray]]) -> np.ndarray:
    """The weighted geometric mean of arrays of one shape, element by element, as float64 of that shape.

    weighted: pairs of a weight (>= 0, not all 0) and an array (float, >= 0), taken one at a time. The mean is NaN
    where any array is NaN, else > 0.

    >>> geometric_mean([(1, np.array([0.1, 0.4])), (1, np.array([0.4, 0.4]))])
    array([0.2, 0.4])
    """
    log_sum, weight_sum = 0.0, 0.0
    for weight, probabilities in weighted:
        log_sum = log_sum + weight * np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))
        weight_sum += weight
    return np.exp(log_sum / weight_sum)


def combined_test_predictions(folders: Sequence[PredictionsFolder], weights: Sequence[float]) -> np.ndarray:
    """The mean of the test predictions of every finished fold of every folder, float64 [n_test, n_labels].

    folders: for the same clips and labels (see `refuse_misfits`); weights: of each folder, >= 0, not all 0.
    """
    pairs = zip(folders, _scaled(weights), strict=True)
    return geometric_mean((weight, folder.test_predictions(i)) for folder, weight in pairs for i in folder.finished)


def combined_oof(folders: Sequence[PredictionsFolder], weights: Sequence[float]) -> np.ndarray:
    """The mean of the out-of-fold predictions of the same folders and weights, float64 [n_train, n_labels].

    NaN for clips that some folder has no out-of-fold prediction for.
    """
    pairs = zip(folders, _scaled(weights), strict=True)
    return geometric_mean((weight * len(folder.finished), folder.oof()) for folder, weight in pairs)


def refuse_misfits(folders: Sequence[PredictionsFolder]) -> None:
    """Raise a PredictionsError unless all folders are for the same clips and labels, in one order."""
    for folder in folders[1:]:
        if differing := dataset_difference(folders[0], folder):
            raise PredictionsError(
                f"{folder.path}: {differing}, unlike {folders[0].path}; combine only predictions of one dataset"
            )


def refuse_unfinished(folders: Sequence[PredictionsFolder]) -> None:
    """Raise a PredictionsError that names the folds which a folder lacks, if one does."""
    for folder in folders:
        if missing := folder.missing:
            raise PredictionsError(
                f"{folder.path}: {len(missing)} of {folder.n_folds} folds are not finished ({listed(missing)}); "
                "train them, or combine the others with --partial"
            )


def _scaled(weights: Sequence[float]) -> np.ndarray:
    return np.asarray(weights, dtype=np.float64) / max(weights)  # so that huge ones cannot overflow
