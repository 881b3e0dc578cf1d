"""The result table: a row for each predictions folder, and one for their ensemble."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.text import listed, table
from ensemble.combine import combined_oof
from ensemble.metrics import accuracy, map3
from ensemble.predictions import PredictionsFolder

_HEADER = ("model", "parameters", "folds", "clips", "accuracy", "MAP@3", "predictions")


@dataclass(frozen=True)
class Row:
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
    n_finished = len(folder.finished)
    folds = f"{n_finished}" if n_finished == folder.n_folds else f"{n_finished} of {folder.n_folds}"
    config = folder.config
    return Row(config["model"], config["n_parameters"], folds, *_scores(folder, folder.oof()), str(folder.path))


def ensemble_row(folders: Sequence[PredictionsFolder], weights: Sequence[float]) -> Row:
    """The row of an ensemble: parameters and folds summed, scores over the clips that every folder scores."""
    n_parameters = sum(folder.config["n_parameters"] for folder in folders)
    folds = str(sum(len(folder.finished) for folder in folders))
    scores = _scores(folders[0], combined_oof(folders, weights))
    return Row("ensemble", n_parameters, folds, *scores, f"all {len(folders)}")


def result_table(folders: Sequence[PredictionsFolder], weights: Sequence[float]) -> list[str]:
    """The lines of the table of some folders, with a row for their ensemble if they are several, and its notes.

    Folders that lie side by side are named without the folder that they lie in.
    """
    rows = [folder_row(folder).cells() for folder in folders]
    if len({folder.path.parent for folder in folders}) == 1:
        rows = [(*cells[:-1], Path(cells[-1]).name or cells[-1]) for cells in rows]
    notes = []
    if len(folders) > 1:
        rows.append(ensemble_row(folders, weights).cells())
        notes = _scored_note(folders)
    return [*table(_HEADER, rows, right=range(1, 6)), *notes]


def _scored_note(folders: Sequence[PredictionsFolder]) -> list[str]:
    """What to say where the folders have scores for different clips, so that their rows cannot be compared."""
    scored = np.array([folder.scored for folder in folders])
    if (scored == scored[0]).all():
        return []
    pairs = zip(scored.sum(axis=1), folders, strict=True)
    counts = listed((f"{n_clips:,} in {folder.path}" for n_clips, folder in pairs), most=20)
    return [
        f"note: the folders score different training clips ({counts}); "
        f"the ensemble's row is over the {scored.all(axis=0).sum():,} clips that all of them score"
    ]


def _scores(folder: PredictionsFolder, oof: np.ndarray) -> tuple[int, float, float]:
    scored = ~np.isnan(oof).any(axis=1)
    predictions, labels_index = oof[scored], folder.labels_index[scored]
    return len(predictions), accuracy(predictions, labels_index), map3(predictions, labels_index)
