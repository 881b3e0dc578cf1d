"""Scores clip by clip, their bootstrap intervals, and tables by label; on plain arrays."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

N_GUESSES = 3


def ranks(probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The place of each clip's own label among its guesses, 0 for the first; equal ones keep the labels' order.

    Args:
        probabilities: float [n_clips, n_labels]. targets: int [n_clips], label ids.
    Returns:
        int64 [n_clips].

    >>> ranks(np.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2]]), np.array([2, 1]))
    array([1, 1])
    """
    own = np.take_along_axis(probabilities, targets[:, None], 1)
    earlier = np.arange(probabilities.shape[1]) < targets[:, None]
    return ((probabilities > own) | ((probabilities == own) & earlier)).sum(1)


def average_precision_3(probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Each clip's average precision at 3: 1, 1/2 or 1/3 where the first three guesses hold its label, else 0.

    Their mean is MAP@3. Args as in `ranks`; returns float64 [n_clips].
    Source: https://www.kaggle.com/c/freesound-audio-tagging/overview/evaluation

    >>> average_precision_3(np.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2]]), np.array([2, 0]))
    array([0.5, 1. ])
    """
    place = ranks(probabilities, targets)
    return np.where(place < N_GUESSES, 1 / (place + 1.0), 0.0)


def guesses(probabilities: np.ndarray) -> np.ndarray:
    """The label ids of each clip's first three guesses: int64 [n_clips, up to 3]; equal ones in the labels' order.

    >>> guesses(np.array([[0.2, 0.5, 0.3]]))
    array([[1, 2, 0]])
    """
    return np.argsort(-probabilities, axis=1, kind="stable")[:, :N_GUESSES]


def bootstrap_interval(
    values: np.ndarray, level: float = 0.95, n_draws: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """The percentile bootstrap interval of the mean of one value a clip.

    Drawing n clips with replacement and counting how often each distinct value comes is one multinomial draw, so
    scores, which take a handful of values, need no draws of clips.

    Args:
        values: float [n_clips], of few distinct values. level: of confidence, 0 to 1.
    Returns:
        low and high; NaN where there are no clips.
    Source: B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.

    >>> low, high = bootstrap_interval(np.repeat([0.0, 1.0], 50))
    >>> round(low, 1), round(high, 1)
    (0.4, 0.6)
    """
    if not len(values):
        return float("nan"), float("nan")
    distinct, counts = np.unique(values, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(len(values), counts / len(values), n_draws)
    low, high = np.quantile(draws @ distinct / len(values), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def confusion_counts(targets: np.ndarray, first: np.ndarray, n_labels: int) -> np.ndarray:
    """Clips of each label (row) with each first guess (column): int64 [n_labels, n_labels].

    >>> confusion_counts(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
    array([[1, 1],
           [0, 1]])
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
    counts = confusion_counts(targets, probabilities.argmax(1), len(labels))
    right, given, guessed = counts.diagonal(), counts.sum(1), counts.sum(0)
    precisions = average_precision_3(probabilities, targets)
    wrong = counts * (1 - np.eye(len(labels), dtype=np.int64))
    with np.errstate(invalid="ignore"):
        table = pd.DataFrame(
            {
                "label": list(labels),
                "clips": given,
                "precision": right / guessed,
                "recall": right / given,
                "f1": 2 * right / (given + guessed),
                "map3": np.bincount(targets, precisions, len(labels)) / given,
                "mostly": np.where(wrong.any(1), np.asarray(labels, object)[wrong.argmax(1)], ""),
            }
        )
    return table.sort_values(["map3", "f1"], kind="stable").reset_index(drop=True)
