"""The result table: a row for each predictions folder, and one for their ensemble."""

from collections.abc import Sequence

import numpy as np

from common.text import listed, table
from ensemble.combine import combined_oof
from ensemble.metrics import accuracy, map3
from ensemble.predictions import PredictionsFolder

_HEADER = ("model", "parameters", "folds", "clips", "accuracy", "MAP@3", "predictions")


def folder_row(folder: PredictionsFolder) -> tuple[str, ...]:
    """The row of one folder: model, parameters, folds, clips, and accuracy and MAP@3 over them, out-of-fold."""
    folds = f"{len(folder.finished)} of {folder.n_folds}" if folder.missing else f"{folder.n_folds}"
    return folder.config["model"], f"{folder.config['n_parameters']:,}", folds, *_scores(folder, folder.oof())


def ensemble_row(folders: Sequence[PredictionsFolder], weights: Sequence[float]) -> tuple[str, ...]:
    """The row of an ensemble: parameters and folds summed, scores over the clips that every folder scores."""
    n_parameters = sum(folder.config["n_parameters"] for folder in folders)
    n_folds = sum(len(folder.finished) for folder in folders)
    return "ensemble", f"{n_parameters:,}", f"{n_folds}", *_scores(folders[0], combined_oof(folders, weights))


def result_table(folders: Sequence[PredictionsFolder], weights: Sequence[float]) -> list[str]:
    """The lines of the table of some folders, with a row for their ensemble if they are several, and a note where
    they score different clips, so that their rows cannot be compared.

    Folders that lie side by side are named without the folder that they lie in.
    """
    paths = [folder.path for folder in folders]
    side_by_side = len({path.parent for path in paths}) == 1
    names = [path.name if side_by_side and path.name else str(path) for path in paths]
    rows = [(*folder_row(folder), name) for folder, name in zip(folders, names, strict=True)]
    notes = []
    if len(folders) > 1:
        rows.append((*ensemble_row(folders, weights), f"all {len(folders)}"))
        scored = np.array([folder.scored for folder in folders])
        if (scored != scored[0]).any():
            pairs = zip(scored.sum(axis=1), paths, strict=True)
            counts = listed((f"{n_clips:,} in {path}" for n_clips, path in pairs), most=20)
            notes = [
                f"note: the folders score different training clips ({counts}); the ensemble's row is over the "
                f"{scored.all(axis=0).sum():,} clips that all of them score"
            ]
    return [*table(_HEADER, rows, right=range(1, 6)), *notes]


def _scores(folder: PredictionsFolder, oof: np.ndarray) -> tuple[str, str, str]:
    """How many clips have an out-of-fold prediction, accuracy and MAP@3, a dash for those of no clips."""
    scored = ~np.isnan(oof).any(axis=1)
    if not scored.any():
        return "0", "-", "-"
    pair = oof[scored], folder.labels_index[scored]
    return f"{scored.sum():,}", f"{accuracy(*pair):.4f}", f"{map3(*pair):.4f}"
