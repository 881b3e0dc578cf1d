"""The result table: a row for each predictions folder, and one for each way to combine them."""

from collections.abc import Mapping, Sequence

import numpy as np

from common.text import listed, table
from ensemble.metrics import accuracy, map3
from ensemble.predictions import PredictionsFolder

_HEADER = ("model", "parameters", "folds", "clips", "accuracy", "MAP@3", "predictions")


def folder_names(folders: Sequence[PredictionsFolder]) -> list[str]:
    """What tables call folders: those that lie side by side are named without the folder that they lie in."""
    paths = [folder.path for folder in folders]
    side_by_side = len({path.parent for path in paths}) == 1
    return [path.name if side_by_side and path.name else str(path) for path in paths]


def score_cells(probabilities: np.ndarray, labels_index: np.ndarray) -> tuple[str, str, str]:
    """How many clips there are, and their accuracy and MAP@3, a dash for those of no clips; see ensemble.metrics.

    >>> score_cells(np.array([[0.6, 0.4], [0.3, 0.7]]), np.array([0, 0]))
    ('2', '0.5000', '0.7500')
    """
    if not len(labels_index):
        return "0", "-", "-"
    scores = accuracy(probabilities, labels_index), map3(probabilities, labels_index)
    return f"{len(labels_index):,}", *(f"{score:.4f}" for score in scores)


def folder_row(folder: PredictionsFolder) -> tuple[str, ...]:
    """The row of one folder: model, parameters, folds, clips, and accuracy and MAP@3 over them, out-of-fold."""
    folds = f"{len(folder.finished)} of {folder.n_folds}" if folder.missing else f"{folder.n_folds}"
    return folder.config["model"], f"{folder.config['n_parameters']:,}", folds, *_scores(folder, folder.oof())


def ensemble_row(folders: Sequence[PredictionsFolder], oof: np.ndarray) -> tuple[str, ...]:
    """The row of an ensemble: parameters and folds summed, scores of its predictions, see `combined_oof`."""
    n_parameters = sum(folder.config["n_parameters"] for folder in folders)
    n_folds = sum(len(folder.finished) for folder in folders)
    return "ensemble", f"{n_parameters:,}", f"{n_folds}", *_scores(folders[0], oof)


def result_table(folders: Sequence[PredictionsFolder], ensembles: Mapping[str, np.ndarray]) -> list[str]:
    """The lines of the table of some folders and of ensembles of all of them, and a note where the folders score
    different clips, so that their rows cannot be compared.

    ensembles: out-of-fold predictions, see `combined_oof`, by what the column "predictions" is to say.
    """
    rows = [(*folder_row(folder), name) for folder, name in zip(folders, folder_names(folders), strict=True)]
    rows += [(*ensemble_row(folders, oof), name) for name, oof in ensembles.items()]
    notes = []
    scored = np.array([folder.scored for folder in folders])
    if (scored != scored[0]).any():
        pairs = zip(scored.sum(axis=1), folders, strict=True)
        counts = listed((f"{n_clips:,} in {folder.path}" for n_clips, folder in pairs), most=20)
        notes = [
            f"note: the folders score different training clips ({counts}); the ensemble's row is over the "
            f"{scored.all(axis=0).sum():,} clips that all of them score"
        ]
    return [*table(_HEADER, rows, right=range(1, 6)), *notes]


def _scores(folder: PredictionsFolder, oof: np.ndarray) -> tuple[str, str, str]:
    """The cells of the clips that have an out-of-fold prediction."""
    scored = ~np.isnan(oof).any(axis=1)
    return score_cells(oof[scored], folder.labels_index[scored])
