"""Labels that are probably wrong: clips whose out-of-fold predictions contradict them most confidently.

The method is confident learning. How many clips of label j are really of label k is estimated by counting those
whose probability of k is at least what clips of k have on average; so many clips of j, those with the largest
distance between the two probabilities, are then suspects. cleanlab, its authors' package, does it: of what it
depends on, only tqdm and termcolor are not dependencies of ours already.

Source: C. Northcutt, L. Jiang, I. Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR
2021, https://arxiv.org/abs/1911.00068 ("prune by noise rate"); https://github.com/cleanlab/cleanlab
"""

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
from cleanlab.filter import find_label_issues


def suspects(
    probabilities: np.ndarray, targets: np.ndarray, names: Sequence[str], labels: Sequence[str]
) -> pd.DataFrame:
    """Clips whose label is probably wrong, the surest first.

    Args:
        probabilities: float [n_clips, n_labels], rows of the sum 1, by models that did not train on the clip.
        targets: int [n_clips], the given label's id. names: [n_clips]. labels: [n_labels].
    Returns:
        row (place in names), fname, label, suggested, and score: the probability of the suggested label less that
        of the given one, above 0 to 1.

    >>> sure, n = np.eye(2)[np.arange(40) % 2] * 0.9 + 0.05, np.arange(40)
    >>> given = np.where(n == 6, 1, n % 2)  # clip 6 is a Bark that is labelled Flute
    >>> suspects(sure, given, [f"{i}.wav" for i in n], ["Bark", "Flute"]).values.tolist()
    [[6, '6.wav', 'Flute', 'Bark', 0.9]]
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that labels of fewer than five clips are not judged: the page says it
        rows = find_label_issues(targets, probabilities, n_jobs=1) if len(np.unique(targets)) > 1 else []
    rows = np.flatnonzero(rows)
    best = probabilities[rows].argmax(1)
    score = probabilities[rows, best] - probabilities[rows, targets[rows]]
    table = pd.DataFrame(
        {
            "row": rows,
            "fname": np.asarray(names, object)[rows],
            "label": np.asarray(labels, object)[targets[rows]],
            "suggested": np.asarray(labels, object)[best],
            "score": score.round(4),
        }
    )
    return table[score > 0].sort_values("score", ascending=False, kind="stable").reset_index(drop=True)
