"""Weights of folders that their out-of-fold predictions ask for, and the score that such weights really have.

With e_f >= 0 the exponent of folder f, and p_f its probabilities, the combination of a clip's labels is

    p ~ prod_f p_f ** e_f, brought to the sum 1

and the mean of -log p of the right labels, the log loss, is convex in e: its minimum does not depend on where the
search begins. The sum of the exponents is left free: it only makes p more or less sure, and the ranking of labels
does not depend on it. (With the sum held at 1, a net that is sure of itself wins over one that is right.) Then
their shares are kept. Folder f has the share w_f K_f of the ensemble (see ensemble.combine), K_f being its finished
folds, so its weight is the share over K_f.

A score on the clips that the weights were fitted on would be too good. So the clips are split, and each part is
combined with weights that were fitted on the other parts.
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from ensemble.calibration import LEAST
from ensemble.combine import geometric_mean
from ensemble.files import PredictionsError
from ensemble.metrics import map3
from ensemble.predictions import PredictionsFolder

_HIGHEST = 1000.0  # exponent; only to keep the search finite where predictions are never wrong
_DECIMALS = 4  # of a weight, so that what is printed is what is used
_N_PARTS, _SEED = 10, 1001  # of a split of clips that share no folds


def fit_shares(probabilities: Sequence[np.ndarray], targets: np.ndarray) -> np.ndarray:
    """The share of each of several predictions in their geometric mean that has the least log loss.

    Args:
        probabilities: each float [n_clips, n_labels], of clips that its model did not train on.
        targets: int [n_clips], label ids, n_clips > 0.
    Returns:
        float64 [n], 0 or more, of the sum 1; all equal where every prediction is worse than none.

    >>> good, bad = np.array([[0.8, 0.2], [0.3, 0.7]]), np.array([[0.4, 0.6], [0.6, 0.4]])
    >>> fit_shares([good, bad], np.array([0, 1]))
    array([1., 0.])
    """
    logs = np.log(np.maximum(np.stack(probabilities), LEAST))  # [n, clips, labels]
    clips, n = np.arange(len(targets)), len(logs)

    def loss(exponents: np.ndarray) -> tuple[float, np.ndarray]:
        mixed = np.tensordot(exponents, logs, 1)
        errors = softmax(mixed, axis=1)
        errors[clips, targets] -= 1
        return -log_softmax(mixed, axis=1)[clips, targets].mean(), np.tensordot(logs, errors, 2) / len(targets)

    exponents = minimize(loss, np.full(n, 1 / n), jac=True, bounds=[(0, _HIGHEST)] * n, method="L-BFGS-B").x
    return exponents / exponents.sum() if exponents.any() else np.full(n, 1 / n)


def optimise(folders: Sequence[PredictionsFolder]) -> tuple[list[float], np.ndarray]:
    """Weights that are fitted on all clips which every folder scores, and predictions that tell their worth.

    Args:
        folders: two or more, for the same clips and labels (see `refuse_misfits`).
    Returns:
        A weight for each folder, of the sum 1. Float64 [n_train, n_labels], the combined out-of-fold predictions
        of each clip, by weights that were fitted on the other folds' clips; where the folders' folds differ, on
        those of the other nine of ten parts, stratified by label. NaN for clips that some folder does not score.
    Raises:
        PredictionsError: less than two clips are scored by all folders.
    """
    scored = np.logical_and.reduce([folder.scored for folder in folders])
    if scored.sum() < 2:
        raise PredictionsError(
            f"--optimise needs at least 2 training clips that every folder scores, got {scored.sum()}; "
            "train the same folds of each"
        )
    oof = np.stack([folder.oof()[scored] for folder in folders])
    targets, parts = folders[0].labels_index[scored], _parts(folders, scored)
    mixed = np.empty(oof.shape[1:])
    for part in np.unique(parts):
        own = parts == part
        shares = fit_shares(oof[:, ~own], targets[~own])
        mixed[own] = geometric_mean(zip(shares, oof[:, own], strict=True))
    held_out = np.full((len(scored), oof.shape[2]), np.nan)
    held_out[scored] = mixed
    weights = fit_shares(oof, targets) / [len(folder.finished) for folder in folders]
    return (weights / weights.sum()).round(_DECIMALS).tolist(), held_out


def advice(
    folder: PredictionsFolder, weights: Sequence[float], equal: np.ndarray, held_out: np.ndarray
) -> list[str]:
    """What to say of weights: how to give them again, and whether equal ones score better.

    Args:
        folder: any of them. equal: the out-of-fold predictions combined by equal weights; weights and held_out: of
            `optimise`.
    """
    scored = ~np.isnan(held_out).any(axis=1)
    pair = (map3(oof[scored], folder.labels_index[scored]) for oof in (held_out, equal))
    found, usual = (f"{score:.4f}" for score in pair)
    verdict = f"optimised weights score higher than equal ones: MAP@3 {found} against {usual}"
    if found == usual:
        verdict = f"optimised and equal weights score the same: MAP@3 {usual}"
    elif found < usual:
        verdict = f"equal weights score higher: MAP@3 {usual} against {found}; leave --optimise out"
    return [f"optimised: --weights {' '.join(f'{weight:g}' for weight in weights)}", verdict]


def _parts(folders: Sequence[PredictionsFolder], scored: np.ndarray) -> np.ndarray:
    """The part of each scored clip, int64: the folder's folds where all have the same, else dealt by label."""
    folds = np.stack([folder.folds[scored] for folder in folders])
    if (folds == folds[0]).all() and len(np.unique(folds[0])) > 1:
        return folds[0]
    by_label = np.lexsort((np.random.default_rng(_SEED).random(len(folds[0])), folders[0].labels_index[scored]))
    parts = np.empty(len(by_label), np.int64)
    parts[by_label] = np.arange(len(by_label)) % _N_PARTS
    return parts
