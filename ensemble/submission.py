"""Submissions: for each clip its three most probable labels, as the Kaggle competition wants them.

A row is `fname,label`, the labels separated by spaces, the best first. With fewer than three labels there are
as many as there are.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ensemble.ranking import best_labels


def submission(fnames: Sequence[str], probabilities: np.ndarray, labels: Sequence[str]) -> pd.DataFrame:
    """Make the table of a submission.

    Args:
        fnames: [n_clips], the clips in the order of sample_submission.csv.
        probabilities: float [n_clips, n_labels].
        labels: [n_labels].
    Returns:
        fname and label, [n_clips].
    """
    names = np.array(labels, dtype=object)[best_labels(probabilities)]
    return pd.DataFrame({"fname": list(fnames), "label": [" ".join(row) for row in names]}, dtype=str)
