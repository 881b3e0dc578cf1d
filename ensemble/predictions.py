"""The predictions folder: what the trainer writes, fold by fold, and the ensembler reads.

    labels.json, clips_train.csv, clips_test.csv, folds.csv, config.json: see `ensemble.description`
    train_predictions_{i}.npy   float64 [n_train, n_labels], fold i's model on every clip of train.csv
    test_predictions_{i}.npy    float64 [n_test, n_labels], on every clip of sample_submission.csv
    predictions_{i}.csv         fold i's own submission
    oof_predictions.npy         float64 [n_train, n_labels], each clip by the model of its fold, or NaN
    finished_{i}.json           the marker of a finished fold: fold, n_clips, accuracy, map3, ...; written last
    .fold_{i}.lock, .holder     held while fold i is trained, and by whom; .lock: held for moments by who writes

Rows stand in the order of the dataset's CSV files, columns in that of labels.json. A fold is there when its marker
is. Several trainers may write different folds of one folder at the same time, under the settings that the folder
was begun with. Models, checkpoints, histories and logs lie beside these files; they are the trainer's.

Source: the .npy and .csv files are those of the notebook "Beginner's Guide to Audio Data"
(https://www.kaggle.com/code/fizzbuzz/beginner-s-guide-to-audio-data).
"""

import os
import platform
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from common.files import is_temporary, sweep
from ensemble.description import (
    CONFIG,
    FORMAT_VERSION,
    Description,
    PredictionsError,
    belong_together,
    binding_differences,
    checked_probabilities,
    plain,
    read_description,
    read_json,
    read_probabilities,
    require,
    require_number,
    write_array,
    write_csv,
    write_description,
    write_json,
)
from ensemble.metrics import accuracy, map3
from ensemble.submission import submission

_LEAST_WAIT_S = 1  # `_at_work` takes a lock for a moment
_SCORES, _SCORES_OF_VERIFIED = ("accuracy", "map3"), ("verified_accuracy", "verified_map3")
_MOST = 10**10  # epochs, seconds
_GONE = "another process moved this folder aside (--force); rerun the command"
_ASIDE = "use another --name, or --force, which moves this folder aside"


@dataclass(frozen=True, eq=False)
class PredictionsFolder(Description):
    """One model's predictions: what they are about, and each finished fold's.

    Made by `create_predictions` and `open_predictions`. What reads a file raises a PredictionsError where it is
    missing, damaged or odd.
    """

    path: Path

    @property
    def n_folds(self) -> int:
        """How many folds the folder is to have."""
        return self.config["n_folds"]

    @cached_property
    def labels_index(self) -> np.ndarray:
        """int64 [n_train], the label id of each training clip."""
        return pd.Index(self.labels).get_indexer(self.clips_train["label"]).astype(np.int64)

    @property
    def finished(self) -> list[int]:
        """The numbers of the folds that are finished, ascending, as the folder says now."""
        return _numbers(self.path, r"finished_(0|[1-9][0-9]*)\.json")

    @property
    def missing(self) -> list[int]:
        """The numbers of the folds that are not finished, ascending."""
        return sorted(set(range(self.n_folds)) - set(self.finished))

    @property
    def scored(self) -> np.ndarray:
        """bool [n_train], the clips that have an out-of-fold prediction now."""
        return np.isin(self.folds, self.finished)

    def result(self, fold: int) -> dict[str, Any]:
        """What a finished fold's marker says: fold, n_clips, accuracy, map3, epochs, kept_epoch, seconds, ..."""
        path = self.path / f"finished_{fold}.json"
        return self._checked_result(path, read_json(path, _again(fold)), fold)

    def train_predictions(self, fold: int) -> np.ndarray:
        """A fold's predictions for every training clip, float64 [n_train, n_labels]."""
        path = self.path / f"train_predictions_{fold}.npy"
        return read_probabilities(path, self.clips_train["fname"], len(self.labels), _again(fold))

    def test_predictions(self, fold: int) -> np.ndarray:
        """A fold's predictions for every test clip, float64 [n_test, n_labels]."""
        path = self.path / f"test_predictions_{fold}.npy"
        return read_probabilities(path, self.clips_test["fname"], len(self.labels), _again(fold))

    def oof(self, folds: Iterable[int] | None = None) -> np.ndarray:
        """Each training clip's prediction by the model of its fold, of the finished folds or of some.

        Returns:
            float64 [n_train, n_labels]; rows of clips in none of these folds are NaN.
        """
        oof = np.full((len(self.clips_train), len(self.labels)), np.nan)
        for fold in self.finished if folds is None else folds:
            oof[self.folds == fold] = self.train_predictions(fold)[self.folds == fold]
        return oof

    @contextmanager
    def holding(self, fold: int, wait_s: float = 0) -> Iterator[None]:
        """Hold a fold while it is trained, so that no other process trains it or moves the folder aside.

        Args:
            wait_s: how long to wait for a process that holds it.
        Raises:
            PredictionsError: another process holds the fold, moved the folder aside, or gave it other settings.
        """
        here, lock = _identity(self.path), FileLock(self.path / f".fold_{fold}.lock")
        try:
            lock.acquire(timeout=max(wait_s, _LEAST_WAIT_S))
        except Timeout as error:
            raise _in_training(self.path, fold) from error
        holder = self.path / f".fold_{fold}.holder"
        try:
            with _writing(self.path, here):
                if not belong_together(read_json(self.path / CONFIG), self.config):
                    raise PredictionsError(
                        f"{self.path}: another run began here with other settings at the same time; "
                        "rerun the command with another --name"
                    )
                write_json(holder, {"pid": os.getpid(), "host": platform.node()})
            try:
                yield
            finally:
                holder.unlink(missing_ok=True)
        finally:
            lock.release()

    def write_fold(
        self, fold: int, train_predictions: np.ndarray, test_predictions: np.ndarray, result: dict[str, Any]
    ) -> dict[str, Any]:
        """Write a fold's predictions, its submission, the out-of-fold predictions so far, and last its marker.

        Args:
            fold: its number, 0 to n_folds - 1.
            train_predictions: float [n_train, n_labels], probabilities for every training clip.
            test_predictions: float [n_test, n_labels], probabilities for every test clip.
            result: what else the marker is to say: epochs, kept_epoch, seconds, and whatever else.
        Returns:
            What the marker says: fold, n_clips, accuracy and map3 on the fold's own clips, and the result.
        Raises:
            PredictionsError: not probabilities, of another shape, or a bad result; nothing is written.
        """
        train_path, test_path = (self.path / f"{part}_predictions_{fold}.npy" for part in ("train", "test"))
        options = {"n_labels": len(self.labels), "advice": "nothing was written"}
        train = checked_probabilities(train_path, train_predictions, self.clips_train["fname"], **options)
        test = checked_probabilities(test_path, test_predictions, self.clips_test["fname"], **options)
        own = self.folds == fold
        scored = train[own], self.labels_index[own]
        marker = self.path / f"finished_{fold}.json"
        values = {"fold": fold, "n_clips": len(scored[1]), "accuracy": accuracy(*scored), "map3": map3(*scored)}
        written = self._checked_result(marker, plain(values | result), fold)
        with _writing(self.path):
            marker.unlink(missing_ok=True)
            write_array(train_path, train)
            write_array(test_path, test)
            table = submission(self.clips_test["fname"], test, self.labels)
            write_csv(self.path / f"predictions_{fold}.csv", table)
            write_array(self.path / "oof_predictions.npy", self.oof([*self.finished, fold]))
            write_json(marker, written)
        return written

    def _checked_result(self, path: Path, marker: Any, fold: int) -> dict[str, Any]:
        """A marker as it was read, with NaN for scores of no clips."""
        advice, n_clips = _again(fold), int((self.folds == fold).sum())
        require(isinstance(marker, dict), path, "the file", "a JSON object", marker, advice)
        for name, least, most in (
            ("fold", fold, fold), ("n_clips", n_clips, n_clips), ("epochs", 0, _MOST), ("kept_epoch", 0, _MOST)
        ):  # fmt: skip
            require_number(path, marker, name, least, most, advice)
        require_number(path, marker, "seconds", 0, _MOST, advice, whole=False)
        for name in (*_SCORES, *(name for name in _SCORES_OF_VERIFIED if name in marker)):
            if marker.get(name, 0) is None and (n_clips == 0 or name in _SCORES_OF_VERIFIED):
                marker[name] = float("nan")
            else:
                require_number(path, marker, name, 0, 1, advice, whole=False)
        return marker


def create_predictions(
    path: Path | str,
    labels: Sequence[str],
    clips_train: pd.DataFrame,
    clips_test: pd.DataFrame,
    folds: np.ndarray,
    reasons: Sequence[str] | pd.Series,
    config: dict[str, Any],
) -> PredictionsFolder:
    """Make a predictions folder, or open the one there if its labels, clips and settings are the same.

    Args:
        labels, clips_train, clips_test, folds, reasons: see `Description`.
        config: model, n_parameters (trainable), n_folds, settings (those that must stay the same while folds are
            added), seed, stores; and for information versions, git_revision and whatever else.
    Returns:
        The folder, with the folds that it has.
    Raises:
        PredictionsError: the folder is for something else (says what differs), not ours, or damaged.
    """
    path = Path(path)
    wanted = Description(
        [str(label) for label in labels],
        clips_train[["fname", "label"]].astype(str).reset_index(drop=True),
        clips_test[["fname"]].astype(str).reset_index(drop=True),
        np.asarray(folds, dtype=np.int64),
        pd.Series(reasons, dtype=str).reset_index(drop=True),
        {"format_version": FORMAT_VERSION, **plain(config)},
    )
    path.mkdir(parents=True, exist_ok=True)
    with _writing(path):
        if not (path / CONFIG).exists():
            _refuse_foreign(path, _ASIDE)
        at_work = _at_work(path)
        if not at_work:
            sweep(path)
        if not (at_work or any(path.glob("finished_*.json")) or any(path.glob("checkpoint_*"))):
            write_description(path, wanted)
            return PredictionsFolder(**vars(wanted), path=path)
        there = read_description(path)
    if differing := binding_differences(there, wanted):
        raise PredictionsError(
            f"{path}: this folder was begun with other settings or clips: {' and '.join(differing)}; "
            f"use the same ones, {_ASIDE.removeprefix('use ')}"
        )
    return PredictionsFolder(**vars(replace(wanted, config=there.config)), path=path)


def open_predictions(path: Path | str) -> PredictionsFolder:
    """Open a folder that has at least one finished fold.

    Raises:
        PredictionsError: no such folder, no predictions in it, not ours, damaged.
    """
    path = Path(path)
    if not path.is_dir():
        raise PredictionsError(f"{path}: there is no predictions folder here; run train first")
    if not (path / CONFIG).exists():
        _refuse_foreign(path, "make the folder with train")
        raise PredictionsError(f"{path}: this folder holds no predictions; run train first")
    folder = PredictionsFolder(**vars(read_description(path)), path=path)
    if not folder.finished:
        raise PredictionsError(f"{path}: no fold is finished yet; run train to its end")
    for fold in folder.finished:
        marker, last = path / f"finished_{fold}.json", folder.n_folds - 1
        require(fold <= last, marker, "fold", f"0 to {last}", fold, "remove the file")
        folder.result(fold)
    return folder


def move_aside(path: Path | str) -> Path:
    """Rename a folder to the first of PATH.old-1, PATH.old-2, ... that is free, and give the new path.

    Raises:
        PredictionsError: a process trains a fold into it, or moved it first.
    """
    path = Path(path)
    with _writing(path):
        if at_work := _at_work(path):
            raise _in_training(path, at_work[0])
        aside = (path.with_name(f"{path.name}.old-{i}") for i in count(1))
        return path.rename(next(new for new in aside if not os.path.lexists(new)))


def _at_work(path: Path) -> list[int]:
    """The folds that are being trained, ascending."""
    return [fold for fold in _numbers(path, r"\.fold_(0|[1-9][0-9]*)\.lock") if _is_held(path, fold)]


@contextmanager
def _writing(path: Path, here: tuple[int, int] | None = None) -> Iterator[None]:
    """Hold the lock under which a folder is changed; refuse if it is no longer the folder that it was before."""
    here = here or _identity(path)
    with FileLock(path / ".lock"):
        if _identity(path) != here:
            raise PredictionsError(f"{path}: {_GONE}")
        yield


def _identity(path: Path) -> tuple[int, int]:
    """What stays the same of a folder whatever is written in it, and differs after it was moved aside."""
    try:
        status = os.stat(path)
    except FileNotFoundError as error:
        raise PredictionsError(f"{path}: {_GONE}") from error
    return status.st_dev, status.st_ino


def _in_training(path: Path, fold: int) -> PredictionsError:
    """What to say of a fold whose lock somebody holds; who, is in a file beside the lock."""
    try:
        holder = read_json(path / f".fold_{fold}.holder")
        who = f"another process (pid {int(holder['pid'])} on host {str(holder['host'])[:64]})"
    except (ValueError, TypeError, KeyError, OverflowError):  # not written yet, or not by us
        who = "another process"
    return PredictionsError(f"{path}: fold {fold} is being trained by {who}; wait for it, or use --name")


def _is_held(path: Path, fold: int) -> bool:
    try:
        with FileLock(path / f".fold_{fold}.lock", timeout=0):
            return False
    except Timeout:
        return True


def _numbers(path: Path, pattern: str) -> list[int]:
    matches = (re.fullmatch(pattern, name) for name in os.listdir(path))
    return sorted(int(match[1]) for match in matches if match)


def _again(fold: int) -> str:
    return f"remove finished_{fold}.json if it is there, and train fold {fold} again"


def _refuse_foreign(path: Path, advice: str) -> None:
    found = sorted(entry.name for entry in path.glob("*.npy") if not is_temporary(entry.name))
    if found:
        raise PredictionsError(
            f"{path}: {found[0]} is here without labels.json and config.json (did the notebook itself write this "
            f"folder?); {advice}"
        )
