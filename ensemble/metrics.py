"""Scores of predictions against single labels: accuracy and MAP@3.

Both rank labels as a submission does, so that ties count as they are written there. No clips, no score: NaN.
"""

import numpy as np

from ensemble.ranking import best_labels


def accuracy(probabilities: np.ndarray, labels_index: np.ndarray) -> float:
    """The share of clips whose most probable label is right.

    Args:
        probabilities: float [n_clips, n_labels].
        labels_index: int [n_clips], the right label of each clip, in [0, n_labels).
    Returns:
        0 to 1; NaN where there are no clips.
    """
    return _mean_score(probabilities, labels_index, np.array([1.0]))


def map3(probabilities: np.ndarray, labels_index: np.ndarray) -> float:
    """Mean average precision at 3 for single labels: 1, 1/2 or 1/3 where the first three hold the right one.

    Args:
        probabilities: float [n_clips, n_labels].
        labels_index: int [n_clips], the right label of each clip, in [0, n_labels).
    Returns:
        0 to 1; NaN where there are no clips.
    Source: https://www.kaggle.com/c/freesound-audio-tagging/overview/evaluation
    """
    return _mean_score(probabilities, labels_index, 1 / np.arange(1.0, 4.0))


def _mean_score(probabilities: np.ndarray, labels_index: np.ndarray, score_of_rank: np.ndarray) -> float:
    best = best_labels(probabilities, len(score_of_rank))
    hits = best == np.asarray(labels_index)[:, None]
    return float((hits @ score_of_rank[: best.shape[1]]).mean()) if len(best) else float("nan")
