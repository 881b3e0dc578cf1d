"""Scores clip by clip, their bootstrap intervals, and tables by label; on plain arrays."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ensemble.metrics import best_labels


def average_precision_3(probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Each clip's average precision at 3: 1, 1/2 or 1/3 where the first three guesses hold its label, else 0.

    Their mean is MAP@3.

    Args:
        probabilities: float [n_clips, n_labels]. targets: int [n_clips], label ids.
    Returns:
        float64 [n_clips].
    Source: https://www.kaggle.com/c/freesound-audio-tagging/overview/evaluation

    >>> average_precision_3(np.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2]]), np.array([2, 0]))
    array([0.5, 1. ])
    """
    hits = best_labels(probabilities) == targets[:, None]
    return hits @ (1 / np.arange(1.0, hits.shape[1] + 1))


def mean_interval(values: np.ndarray, n_draws: int = 10_000, seed: int = 0) -> tuple[float, float, float]:
    """The mean of one value a clip, and its 95% percentile bootstrap interval.

    Drawing n clips with replacement and counting how often each distinct value comes is one multinomial draw, so
    scores, which take a handful of values, need no draws of clips.

    Args:
        values: float [n_clips], of few distinct values.
    Returns:
        mean, low and high; NaN where there are no clips.
    Source: B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.

    >>> [round(value, 1) for value in mean_interval(np.repeat([0.0, 1.0], 50))]
    [0.5, 0.4, 0.6]
    """
    if not len(values):
        return float("nan"), float("nan"), float("nan")
    distinct, counts = np.unique(values, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(len(values), counts / len(values), n_draws)
    low, high = np.quantile(draws @ distinct / len(values), [0.025, 0.975])
    return float(values.mean()), float(low), float(high)


def confusion_counts(targets: np.ndarray, first: np.ndarray, n_labels: int) -> np.ndarray:
    """Clips of each label (row) with each first guess (column): int64 [n_labels, n_labels].

    >>> confusion_counts(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    return np.bincount(targets * n_labels + first, minlength=n_labels**2).reshape(n_labels, n_labels)


def label_scores(probabilities: np.ndarray, targets: np.ndarray, labels: Sequence[str]) -> pd.DataFrame:
    """How each label is recognised, the worst first (by average precision at 3, then F1).

    Args:
        probabilities: float [n_clips, n_labels]. targets: int [n_clips]. labels: [n_labels].
    Returns:
        label, clips, precision, recall, f1, map3 (mean average precision at 3 of the label's clips), mostly (what
        its clips are most often taken for, "" for nothing). NaN where a score has no clips to be counted on.

    >>> scores = label_scores(np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([0, 1]), ["Bark", "Flute"])
    >>> scores[["label", "recall", "mostly"]].values.tolist()
    [['Flute', 0.0, 'Bark'], ['Bark', 1.0, '']]
    """
    names = np.asarray(labels, object)
    counts = confusion_counts(targets, probabilities.argmax(1), len(names))
    right, given, guessed = counts.diagonal(), counts.sum(1), counts.sum(0)
    wrong = counts * (1 - np.eye(len(names), dtype=np.int64))
    table = pd.DataFrame({"label": names, "clips": given})
    with np.errstate(invalid="ignore"):
        table["precision"], table["recall"] = right / guessed, right / given
        table["f1"] = 2 * right / (given + guessed)
        table["map3"] = np.bincount(targets, average_precision_3(probabilities, targets), len(names)) / given
    table["mostly"] = np.where(wrong.any(1), names[wrong.argmax(1)], "")
    return table.sort_values(["map3", "f1"], kind="stable", ignore_index=True)
