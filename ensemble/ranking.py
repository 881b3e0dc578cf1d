"""The best labels of each clip, in one order for scores and submissions alike."""

import numpy as np


def best_labels(probabilities: np.ndarray, n_best: int = 3) -> np.ndarray:
    """Rank the labels of each clip; equal probabilities keep the order of the labels.

    Args:
        probabilities: float [n_clips, n_labels].
        n_best: how many labels to give for each clip, at most.
    Returns:
        int64 [n_clips, min(n_best, n_labels)], label indices, the most probable first.
    """
    return np.argsort(-probabilities, axis=1, kind="stable")[:, :n_best]
