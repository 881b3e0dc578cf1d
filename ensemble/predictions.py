"""The predictions folder: what the trainer writes, fold by fold, and the ensembler reads.

    labels.json, clips_train.csv, clips_test.csv, folds.csv, config.json: see `ensemble.description`
    train_predictions_{i}.npy   float64 [n_train, n_labels], fold i's model on every clip of train.csv
    test_predictions_{i}.npy    float64 [n_test, n_labels], on every clip of sample_submission.csv
    predictions_{i}.csv         fold i's own submission
    oof_predictions.npy         float64 [n_train, n_labels], each clip by the model of its fold, or NaN
    finished_{i}.json           the marker of a finished fold: fold, n_clips, accuracy, map3, ...; comes last
    checkpoint_{i}.npz          the trainer's, where a fold that is not finished goes on

Rows stand in the order of the dataset's CSV files, columns in that of labels.json. Every file is written
under another name and renamed, so a run that is killed leaves whole files only, and a fold is there when its
marker is. Models, histories and logs lie beside these files; they are the trainer's.

Source: the .npy and .csv files are those of the notebook "Beginner's Guide to Audio Data"
(https://www.kaggle.com/code/fizzbuzz/beginner-s-guide-to-audio-data).
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ensemble.description import CONFIG, binding_differences, describe, read_description, write_description
from ensemble.errors import PredictionsError
from ensemble.folder import PredictionsFolder
from ensemble.locks import held, writing

__all__ = ["PredictionsError", "PredictionsFolder", "create_predictions", "move_aside", "open_predictions"]


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
        path: the folder.
        labels: [n_labels], in the order of their first appearance in train.csv.
        clips_train: fname and label, [n_train], in the order of train.csv.
        clips_test: fname, [n_test], in the order of sample_submission.csv.
        folds: int64 [n_train], the fold of each training clip, -1 for none.
        reasons: [n_train], why a clip is in no fold; "" for the others.
        config: model, n_parameters (trainable), n_folds, settings (those that must stay as they are while
            folds are added), seed, stores; and for information versions, git_revision and whatever else.
    Returns:
        The folder, with the folds that it has.
    Raises:
        PredictionsError: the folder is for something else (says what differs), foreign or damaged.
    """
    path = Path(path)
    wanted = describe(labels, clips_train, clips_test, folds, reasons, config)
    path.mkdir(parents=True, exist_ok=True)
    with writing(path):
        if not (path / CONFIG).exists():
            _refuse_foreign(path, "keep the new one elsewhere (--name), or let --force move this one aside")
        if not _begun(path):
            write_description(path, wanted)
            return PredictionsFolder(path, wanted)
        there = read_description(path)
    if differing := binding_differences(there, wanted):
        raise PredictionsError(
            f"{path}: {' and '.join(map(str, differing))}; go on as the folder was begun, "
            "keep the new one elsewhere (--name), or let --force move this one aside"
        )
    return PredictionsFolder(path, replace(wanted, config=there.config))  # the clips are not held twice


def open_predictions(path: Path | str) -> PredictionsFolder:
    """Open a folder that has at least one finished fold.

    Raises:
        PredictionsError: no such folder, no predictions in it, foreign, damaged.
    """
    path = Path(path)
    if not path.is_dir():
        what = "a file" if path.exists() else "nothing"
        raise PredictionsError(f"{path}: predictions folder must be there, got {what}; run train first")
    if not (path / CONFIG).exists():
        _refuse_foreign(path, "make the folder with train")
        raise PredictionsError(f"{path}: folder must hold predictions, got none; run train first")
    folder = PredictionsFolder(path, read_description(path))
    if not folder.finished:
        raise PredictionsError(f"{path}: folder must have a finished fold, got none; run train to its end")
    if (last := folder.finished[-1]) >= folder.n_folds:
        raise PredictionsError(
            f"{path}: finished folds must be 0 to {folder.n_folds - 1}, got fold {last}; "
            f"remove finished_{last}.json"
        )
    return folder


def move_aside(path: Path | str) -> Path:
    """Rename a folder to the first of PATH.old-1, PATH.old-2, ... that is free, and give the new path.

    Raises:
        PredictionsError: a process trains a fold into it.
    """
    path = Path(path)
    if at_work := held(path) if path.is_dir() else []:
        raise PredictionsError(
            f"{path}: folder must be nobody's to be moved aside, got fold {at_work[0]} in training by another "
            "process; wait for it to end, or keep the new one elsewhere (--name)"
        )
    new = next(p for i in count(1) if not (p := path.with_name(f"{path.name}.old-{i}")).exists())
    return path.rename(new)


def _begun(path: Path) -> bool:
    """Whether there is something that other settings would spoil: a fold that is finished, stopped or at work."""
    work = (*path.glob("finished_*.json"), *path.glob("checkpoint_*.npz"))
    return bool(work or held(path))


def _refuse_foreign(path: Path, advice: str) -> None:
    found = sorted(entry.name for entry in path.glob("*.npy"))
    if found:
        raise PredictionsError(
            f"{path}: predictions must come with labels.json and config.json, got {found[0]} without them "
            f"(a folder that the notebook itself wrote?); {advice}"
        )
