"""The result table of a predictions folder: each finished fold, and all of them together."""

import numpy as np

from ensemble import PredictionsFolder
from ensemble.metrics import accuracy, map3


def result_table(folder: PredictionsFolder) -> str:
    """Lines for standard output: clips, epochs, out-of-fold accuracy and MAP@3, and where the predictions are."""
    finished = folder.finished
    lines = [f"{'fold':<8}{'clips':>8}{'epochs':>8}{'kept':>6}{'OOF accuracy':>14}{'OOF MAP@3':>11}"]
    for fold in finished:
        result = folder.result(fold)
        lines.append(
            f"{fold:<8}{result['n_clips']:>8}{result['epochs']:>8}{result['kept_epoch']:>6}"
            f"{result['accuracy']:>14.4f}{result['map3']:>11.4f}"
        )
    if finished:
        lines.append(_overall(folder, len(finished)))
    return "\n".join([*lines, f"predictions: {folder.path}"])


def _overall(folder: PredictionsFolder, n_finished: int) -> str:
    rows = np.flatnonzero(np.isin(folder.folds, folder.finished))
    probabilities, labels = folder.oof()[rows], folder.labels_index[rows]
    name = "all" if n_finished == folder.n_folds else f"{n_finished} of {folder.n_folds}"
    scores = f"{accuracy(probabilities, labels):>14.4f}{map3(probabilities, labels):>11.4f}"
    return f"{name:<8}{len(rows):>8}{'':>14}{scores}"
