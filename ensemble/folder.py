"""One predictions folder, read and written fold by fold.

A fold's files are written first and its marker last, under a lock: several trainers may write different folds
of one folder at the same time, each of them under the settings that the folder was begun with.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ensemble import locks
from ensemble.checks import checked_probabilities
from ensemble.description import CONFIG, Description, belong_together
from ensemble.errors import PredictionsError
from ensemble.files import read_array, read_json, write_array, write_csv, write_json
from ensemble.metrics import accuracy, map3
from ensemble.submission import submission


@dataclass(frozen=True, eq=False)
class PredictionsFolder:
    """One model's predictions, fold by fold."""

    path: Path
    description: Description

    @property
    def labels(self) -> list[str]:
        """[n_labels], the columns of every prediction."""
        return self.description.labels

    @property
    def clips_train(self) -> pd.DataFrame:
        """fname and label, [n_train], the rows of train predictions."""
        return self.description.clips_train

    @property
    def clips_test(self) -> pd.DataFrame:
        """fname, [n_test], the rows of test predictions."""
        return self.description.clips_test

    @property
    def folds(self) -> np.ndarray:
        """int64 [n_train], the fold of each clip, -1 for clips in none."""
        return self.description.folds

    @property
    def config(self) -> dict[str, Any]:
        """Everything that config.json holds."""
        return self.description.config

    @property
    def n_folds(self) -> int:
        """How many folds the folder is to have."""
        return self.config["n_folds"]

    @cached_property
    def labels_index(self) -> np.ndarray:
        """int64 [n_train], each training clip's label as an index into labels."""
        return pd.Index(self.labels).get_indexer(self.clips_train["label"]).astype(np.int64)

    @property
    def finished(self) -> list[int]:
        """The numbers of the folds that are finished, ascending, as the folder says now."""
        names = (re.fullmatch(r"finished_(\d+)\.json", name) for name in os.listdir(self.path))
        return sorted(int(match[1]) for match in names if match)

    @property
    def missing(self) -> list[int]:
        """The numbers of the folds that are not finished, ascending."""
        return sorted(set(range(self.n_folds)) - set(self.finished))

    def result(self, fold: int) -> dict[str, Any]:
        """What a finished fold's marker says.

        Raises:
            PredictionsError: not finished, or a broken marker.
        """
        return read_json(self.path / f"finished_{fold}.json")

    def train_predictions(self, fold: int) -> np.ndarray:
        """A fold's predictions for every training clip, float64 [n_train, n_labels].

        Raises:
            PredictionsError: missing, broken, of another shape, or not probabilities.
        """
        path = self.path / f"train_predictions_{fold}.npy"
        return self._checked(path, read_array(path), self.clips_train)

    def test_predictions(self, fold: int) -> np.ndarray:
        """A fold's predictions for every test clip, float64 [n_test, n_labels].

        Raises:
            PredictionsError: missing, broken, of another shape, or not probabilities.
        """
        path = self.path / f"test_predictions_{fold}.npy"
        return self._checked(path, read_array(path), self.clips_test)

    def oof(self) -> np.ndarray:
        """Out-of-fold predictions, put together from the finished folds' train predictions.

        Returns:
            float64 [n_train, n_labels]; rows of clips in no finished fold are NaN.
        """
        return self._oof(self.finished)

    @contextmanager
    def holding(self, fold: int, wait_s: float = 0) -> Iterator[None]:
        """Hold a fold while it is trained.

        Args:
            wait_s: how long to wait for a process that holds it.
        Raises:
            PredictionsError: another process holds the fold, or gave the folder other settings meanwhile.
        """
        with locks.holding(self.path, fold, wait_s):
            with locks.writing(self.path):
                if not belong_together(read_json(self.path / CONFIG), self.config):
                    raise PredictionsError(
                        f"{self.path}: config.json must stay as this run found it, got another from a run that "
                        "began at the same time; give the command again, with a --name of its own"
                    )
            yield

    def write_fold(
        self, fold: int, train_predictions: np.ndarray, test_predictions: np.ndarray, result: dict[str, Any]
    ) -> dict[str, Any]:
        """Write a fold's predictions, its submission, the out-of-fold predictions so far, last its marker.

        Args:
            fold: its number, 0 to n_folds - 1.
            train_predictions: float [n_train, n_labels], probabilities for every training clip.
            test_predictions: float [n_test, n_labels], probabilities for every test clip.
            result: what else the marker is to say (epochs, best_epoch, seconds, ...).
        Returns:
            What the marker says: fold, n_clips, accuracy and map3 on the fold's own clips, and the result.
        Raises:
            PredictionsError: not probabilities, or of another shape; nothing is written.
        """
        names = [f"{part}_predictions_{fold}.npy" for part in ("train", "test")]
        train = self._checked(self.path / names[0], train_predictions, self.clips_train)
        test = self._checked(self.path / names[1], test_predictions, self.clips_test)
        marker = {"fold": fold, **self._scores(self.folds == fold, train), **result}
        with locks.writing(self.path):
            (self.path / f"finished_{fold}.json").unlink(missing_ok=True)
            write_array(self.path / names[0], train)
            write_array(self.path / names[1], test)
            table = submission(self.clips_test["fname"], test, self.labels)
            write_csv(self.path / f"predictions_{fold}.csv", table)
            write_array(self.path / "oof_predictions.npy", self._oof([*self.finished, fold]))
            write_json(self.path / f"finished_{fold}.json", marker)
        return marker

    def _oof(self, folds: list[int]) -> np.ndarray:
        oof = np.full((len(self.clips_train), len(self.labels)), np.nan)
        for fold in folds:
            oof[self.folds == fold] = self.train_predictions(fold)[self.folds == fold]
        return oof

    def _scores(self, rows: np.ndarray, predictions: np.ndarray) -> dict[str, Any]:
        scored = predictions[rows], self.labels_index[rows]
        return {"n_clips": int(rows.sum()), "accuracy": accuracy(*scored), "map3": map3(*scored)}

    def _checked(self, path: Path, array: np.ndarray, clips: pd.DataFrame) -> np.ndarray:
        return checked_probabilities(path, array, clips["fname"].tolist(), len(self.labels))
