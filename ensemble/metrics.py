"""Accuracy and MAP@3 of predictions, and the ranking of labels that scores and submissions share.

Here probabilities are float [n_clips, n_labels], and labels_index is int [n_clips], the id of each clip's one right
label, 0 to n_labels - 1. A score is 0 to 1, and NaN where there are no clips. Text labels, NaN and arrays of other
lengths are a ValueError.
"""

import numpy as np


def best_labels(probabilities: np.ndarray, n_best: int = 3) -> np.ndarray:
    """The ids of each clip's n_best most probable labels, the best first; equal ones keep the labels' order.

    int64 [n_clips, min(n_best, n_labels)].

    >>> best_labels(np.array([[0.1, 0.4, 0.2, 0.3]]))
    array([[1, 3, 2]])
    """
    return np.argsort(-probabilities, axis=1, kind="stable")[:, :n_best]


def accuracy(probabilities: np.ndarray, labels_index: np.ndarray) -> float:
    """The share of clips whose most probable label is the right one.

    >>> accuracy(np.array([[0.6, 0.4], [0.3, 0.7]]), np.array([0, 0]))
    0.5
    """
    return _mean_score(probabilities, labels_index, np.array([1.0]))


def map3(probabilities: np.ndarray, labels_index: np.ndarray) -> float:
    """Mean average precision at 3: a clip scores 1, 1/2 or 1/3 if its right label is first, second or third.

    Source: https://www.kaggle.com/c/freesound-audio-tagging/overview/evaluation

    >>> map3(np.array([[0.6, 0.4], [0.3, 0.7]]), np.array([0, 0]))
    0.75
    """
    return _mean_score(probabilities, labels_index, 1 / np.arange(1.0, 4.0))


def _mean_score(probabilities: np.ndarray, labels_index: np.ndarray, score_of_rank: np.ndarray) -> float:
    labels_index = np.asarray(labels_index)
    if labels_index.shape != (len(probabilities),) or (len(labels_index) and labels_index.dtype.kind not in "iu"):
        found = f"{labels_index.dtype} of shape {labels_index.shape}"
        raise ValueError(
            f"labels_index must be label ids, integers of shape ({len(probabilities)},), got {found}; "
            "folder.labels_index has those of a predictions folder"
        )
    if n_nan := int(np.isnan(probabilities).any(axis=1).sum()):
        raise ValueError(
            f"probabilities must be numbers, got NaN in {n_nan:,} of {len(probabilities):,} rows; choose the other "
            "rows of both arrays, those of a predictions folder by folder.scored"
        )
    best = best_labels(probabilities, len(score_of_rank))
    hits = best == labels_index[:, None]
    return float((hits @ score_of_rank[: best.shape[1]]).mean()) if len(best) else float("nan")
