"""The result table: a row for each predictions folder, and one for their ensemble."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.text import listed, table
from ensemble.combine import combined_oof
from ensemble.metrics import accuracy, map3
from ensemble.predictions import PredictionsFolder


class Row(NamedTuple):
    """One row; accuracy and map3 are out-of-fold, over n_clips training clips, NaN where there are none."""

    model: str
    n_parameters: int
    folds: str
    n_clips: int
    accuracy: float
    map3: float
    predictions: str

    def cells(self) -> tuple[str, ...]:
        """The row in words: thousands separated, four decimals, a dash for what there is not."""
        counts = f"{self.n_parameters:,}", self.folds, f"{self.n_clips:,}"
        scores = ("-" if np.isnan(score) else f"{score:.4f}" for score in (self.accuracy, self.map3))
        return self.model, *counts, *scores, self.predictions


def folder_row(folder: PredictionsFolder) -> Row:
    """The row of one folder."""
    folds = f"{len(folder.finished)} of {folder.n_folds}" if folder.missing else f"{folder.n_folds}"
    scores = _scores(folder, folder.oof())
    return Row(folder.config["model"], folder.config["n_parameters"], folds, *scores, str(folder.path))


def ensemble_row(folders: Sequence[PredictionsFolder], weights: Sequence[float]) -> Row:
    """The row of an ensemble: parameters and folds summed, scores over the clips that every folder scores."""
    n_parameters = sum(folder.config["n_parameters"] for folder in folders)
    folds = str(sum(len(folder.finished) for folder in folders))
    scores = _scores(folders[0], combined_oof(folders, weights))
    return Row("ensemble", n_parameters, folds, *scores, f"all {len(folders)}")


def result_table(folders: Sequence[PredictionsFolder], weights: Sequence[float]) -> list[str]:
    """The lines of the table of some folders, with a row for their ensemble if they are several, and a note where
    they score different clips, so that their rows cannot be compared.

    Folders that lie side by side are named without the folder that they lie in.
    """
    rows, notes = [folder_row(folder) for folder in folders], []
    if len({folder.path.parent for folder in folders}) == 1:
        rows = [row._replace(predictions=Path(row.predictions).name or row.predictions) for row in rows]
    if len(folders) > 1:
        rows.append(ensemble_row(folders, weights))
        scored = np.array([folder.scored for folder in folders])
        if (scored != scored[0]).any():
            pairs = zip(scored.sum(axis=1), folders, strict=True)
            counts = listed((f"{n_clips:,} in {folder.path}" for n_clips, folder in pairs), most=20)
            notes = [
                f"note: the folders score different training clips ({counts}); the ensemble's row is over the "
                f"{scored.all(axis=0).sum():,} clips that all of them score"
            ]
    header = ("model", "parameters", "folds", "clips", "accuracy", "MAP@3", "predictions")
    return [*table(header, (row.cells() for row in rows), right=range(1, 6)), *notes]


def _scores(folder: PredictionsFolder, oof: np.ndarray) -> tuple[int, float, float]:
    scored = ~np.isnan(oof).any(axis=1)
    predictions, labels_index = oof[scored], folder.labels_index[scored]
    return len(predictions), accuracy(predictions, labels_index), map3(predictions, labels_index)
