"""The result table: a row for each predictions folder, and one for their ensemble."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ensemble.combine import combined_oof
from ensemble.folder import PredictionsFolder
from ensemble.metrics import accuracy, map3

_HEADER = ("model", "trainable parameters", "folds", "clips", "OOF accuracy", "OOF MAP@3", "predictions")


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
    """The row of one folder.

    Raises:
        PredictionsError: a fold's predictions are missing or bad.
    """
    n_finished = len(folder.finished)
    folds = f"{n_finished}" if n_finished == folder.n_folds else f"{n_finished} of {folder.n_folds}"
    config = folder.config
    return Row(config["model"], config["n_parameters"], folds, *_scores(folder, folder.oof()), str(folder.path))


def ensemble_row(folders: Sequence[PredictionsFolder], weights: Sequence[float]) -> Row:
    """The row of an ensemble: parameters and folds summed, scores over the clips that every folder scores.

    Raises:
        PredictionsError: a fold's predictions are missing or bad.
    """
    n_parameters = sum(folder.config["n_parameters"] for folder in folders)
    folds = str(sum(len(folder.finished) for folder in folders))
    scores = _scores(folders[0], combined_oof(folders, weights))
    return Row("ensemble", n_parameters, folds, *scores, f"all {len(folders)}")


def format_table(rows: Sequence[Row]) -> str:
    """Lay rows out under their header, text to the left and numbers to the right."""
    lines = [_HEADER, *(row.cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    last = len(_HEADER) - 1
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in (0, last) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _scores(folder: PredictionsFolder, oof: np.ndarray) -> tuple[int, float, float]:
    scored = ~np.isnan(oof).any(axis=1)
    predictions, labels_index = oof[scored], folder.labels_index[scored]
    return len(predictions), accuracy(predictions, labels_index), map3(predictions, labels_index)
