"""Are the probabilities honest? Reliability, the calibration error, and one temperature that mends much of it.

A temperature T turns probabilities p into softmax(log(p) / T): above 1 it makes them less sure, below 1 surer, and
the order of the guesses stays.

Source: C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, https://arxiv.org/abs/1706.04599
"""

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

N_BINS = 15
LEAST = 1e-12  # probabilities below count as this
_RANGE = np.log(0.05), np.log(20.0)  # of temperatures that are tried


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities at a temperature, float64 [n_clips, n_labels]; at 1 they stay (rows brought to the sum 1).

    >>> tempered(np.array([[0.8, 0.2]]), 2.0).round(3)
    array([[0.667, 0.333]])
    """
    return np.exp(log_softmax(np.log(np.maximum(probabilities, LEAST)) / temperature, axis=1))


def fit_temperature(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """The temperature at which the targets are most likely.

    Args:
        probabilities: float [n_clips, n_labels], of clips that the model did not train on.
        targets: int [n_clips], label ids.
    Returns:
        0.05 to 20; 1 where there are no clips.
    """
    if not len(targets):
        return 1.0
    logs = np.log(np.maximum(probabilities, LEAST))
    logs -= logs.max(1, keepdims=True)
    right = logs[np.arange(len(targets)), targets].mean()

    def loss(log_temperature: float) -> float:
        temperature = np.exp(log_temperature)
        return np.log(np.exp(logs / temperature).sum(1)).mean() - right / temperature

    return float(np.exp(minimize_scalar(loss, bounds=_RANGE, method="bounded", options={"xatol": 1e-3}).x))


def tempered_out_of_fold(probabilities: np.ndarray, targets: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Each fold's probabilities at the temperature that the other folds' clips ask for.

    So no clip has a part in its own temperature. Clips of a single fold are halved instead, every other clip.

    Args:
        probabilities: float [n_clips, n_labels]. targets, folds: int [n_clips].
    Returns:
        float64 [n_clips, n_labels].
    """
    parts = folds if len(np.unique(folds)) > 1 else np.arange(len(folds)) % 2
    result = np.empty(probabilities.shape)
    for part in np.unique(parts):
        own = parts == part
        result[own] = tempered(probabilities[own], fit_temperature(probabilities[~own], targets[~own]))
    return result


def reliability_table(probabilities: np.ndarray, targets: np.ndarray, n_bins: int = N_BINS) -> pd.DataFrame:
    """Clips in bins of equal width by the confidence of their first guess.

    Args:
        probabilities: float [n_clips, n_labels], rows of the sum 1. targets: int [n_clips].
    Returns:
        low, high (the bin's ends), clips, confidence and accuracy (means of the bin's clips; NaN in an empty one).

    >>> reliability_table(np.array([[0.9, 0.1], [0.7, 0.3]]), np.array([0, 1]), 2)
       low  high  clips  confidence  accuracy
    0  0.0   0.5      0         NaN       NaN
    1  0.5   1.0      2         0.8       0.5
    """
    confidence, right = probabilities.max(1), probabilities.argmax(1) == targets
    bins = np.clip(np.ceil(confidence * n_bins).astype(int) - 1, 0, n_bins - 1)
    edges, clips = np.linspace(0, 1, n_bins + 1), np.bincount(bins, minlength=n_bins)
    table = pd.DataFrame({"low": edges[:-1], "high": edges[1:], "clips": clips})
    for name, values in (("confidence", confidence), ("accuracy", right)):
        table[name] = np.bincount(bins, values, n_bins) / table["clips"]
    return table


def calibration_error(table: pd.DataFrame) -> float:
    """The expected calibration error: the mean distance of confidence and accuracy, over the clips of all bins.

    Args:
        table: of `reliability_table`.
    Returns:
        0 (honest) to 1; NaN where there are no clips.

    >>> round(calibration_error(reliability_table(np.array([[0.9, 0.1], [0.7, 0.3]]), np.array([0, 1]))), 2)
    0.4
    """
    filled = table[table["clips"] > 0]
    distances = (filled["confidence"] - filled["accuracy"]).abs()
    return float(np.average(distances, weights=filled["clips"])) if len(filled) else float("nan")
