"""What the page says of the runs: read from the predictions folders, their scores counted anew."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common.text import duration
from ensemble.combine import combined_oof, refuse_misfits
from ensemble.predictions import PredictionsError, PredictionsFolder, open_predictions
from report.scores import average_precision_3, bootstrap_interval

_METRICS = "loss", "val_loss", "val_accuracy", "val_map3"


@dataclass(eq=False)
class Run:
    """The out-of-fold predictions of a run, or of several together.

    name: the folder's place. fnames: str [n_train]. targets, folds: int [n_train], folds -1 for none.
    probabilities: float64 [n_train, n_labels], rows of the sum 1, NaN for a clip that no finished fold predicts.
    folders: those that it is of.
    """

    name: str
    labels: list[str]
    fnames: np.ndarray
    targets: np.ndarray
    folds: np.ndarray
    probabilities: np.ndarray
    folders: list[PredictionsFolder]

    @cached_property
    def scored(self) -> np.ndarray:
        """Rows of the clips that have a prediction: int64 [n_scored]."""
        return np.flatnonzero(~np.isnan(self.probabilities).any(1))

    @cached_property
    def own(self) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities and targets of the scored clips."""
        return self.probabilities[self.scored], self.targets[self.scored]

    @cached_property
    def right(self) -> np.ndarray:
        """Whether the first guess is right, float64 [n_scored]."""
        probabilities, targets = self.own
        return (probabilities.argmax(1) == targets).astype(float)

    @cached_property
    def precisions(self) -> np.ndarray:
        """Average precision at 3 of each scored clip, float64 [n_scored]."""
        return average_precision_3(*self.own)

    @property
    def settings(self) -> dict[str, Any]:
        """What the run was told to do; of several runs, nothing."""
        return (self.folders[0].config.get("settings") or {}) if len(self.folders) == 1 else {}


def find_runs(
    work: Path, name: str = "", folders: Sequence[Path] = ()
) -> tuple[list[PredictionsFolder], list[str]]:
    """The predictions folders to report on, and why some cannot be.

    Args:
        work, name: all below WORK, or below WORK/NAME. folders: these instead, where any are given.
    Raises:
        PredictionsError: a folder that was given holds no predictions.
    """
    if folders:
        return [open_predictions(folder) for folder in folders], []
    base = work / name
    patterns = (
        ("predictions_*/config.json",) if name else ("predictions_*/config.json", "*/predictions_*/config.json")
    )
    found, refused = [], []
    for path in sorted({path.parent for pattern in patterns for path in base.glob(pattern)}):
        if path.suffix:  # moved aside by --force
            continue
        try:
            found.append(open_predictions(path))
        except PredictionsError as error:
            refused.append(str(error))
    return found, refused


def read_runs(folders: Sequence[PredictionsFolder], work: Path) -> tuple[list[Run], list[str]]:
    """The runs of folders that are all for one dataset, the first folder's; why others are left out."""
    runs, refused = [], []
    for folder in folders:
        try:
            refuse_misfits([folders[0], folder])
            runs.append(_run(_name(folder.path, work), [folder], folder.oof()))
        except PredictionsError as error:
            refused.append(str(error))
    return runs, refused


def ensemble_of(runs: Sequence[Run], name: str) -> Run:
    """The geometric mean of several runs' out-of-fold predictions, as `ensemble` combines them."""
    folders = [folder for run in runs for folder in run.folders]
    return _run(name, folders, combined_oof(folders, [1.0] * len(folders)))


def runs_table(runs: Sequence[Run]) -> pd.DataFrame:
    """A row for each run: net, recipe, parameters, folds, clips, scores with 95% intervals, time, what differs."""
    differing = _differing(runs)
    return pd.DataFrame([_facts(run) | {"differs": _words(run.settings, differing)} for run in runs])


def histories(run: Run) -> list[pd.DataFrame]:
    """What each finished fold's history_{i}.csv says, a row an epoch; without files that are missing or broken."""
    found = []
    for folder in run.folders:
        for fold in folder.finished:
            try:
                found.append(pd.read_csv(folder.path / f"history_{fold}.csv"))
            except (OSError, ValueError):
                continue
    return [history for history in found if {"epoch", *_METRICS} <= {*history}]


def contributions(runs: Sequence[Run]) -> pd.DataFrame:
    """What each run adds to the ensemble of all: MAP@3 alone, of the others without it, and of all.

    Returns:
        run, alone, without, gain (all less without; low and high are its 95% interval, clip by clip).
    """
    everything = ensemble_of(runs, "")
    rows = []
    for run in runs:
        others = ensemble_of([other for other in runs if other is not run], "")
        both = np.intersect1d(everything.scored, others.scored)
        gains = average_precision_3(everything.probabilities[both], run.targets[both])
        without = average_precision_3(others.probabilities[both], run.targets[both])
        low, high = bootstrap_interval(gains - without)
        gain = float((gains - without).mean()) if len(both) else float("nan")
        rows.append((run.name, float(run.precisions.mean()), float(without.mean()), gain, low, high))
    return pd.DataFrame(rows, columns=["run", "alone", "without", "gain", "low", "high"])


def disagreements(runs: Sequence[Run]) -> pd.DataFrame:
    """Where two runs' first guesses differ, for each pair: shares of the clips that both predict.

    Returns:
        first, second, clips, differ, both (right), only_first, only_second, neither, and labels: up to three for
        which the second run is right most often where the first is not, and the other way round, in words.
    """
    rows = []
    for i, first in enumerate(runs):
        for second in runs[i + 1 :]:
            clips = np.intersect1d(first.scored, second.scored)
            guesses = [run.probabilities[clips].argmax(1) for run in (first, second)]
            a, b = (guess == first.targets[clips] for guess in guesses)
            shares = [(guesses[0] != guesses[1]), a & b, a & ~b, b & ~a, ~a & ~b]
            words = [
                ", ".join(_most(first.targets[clips[only]], first.labels)) or "none" for only in (a & ~b, b & ~a)
            ]
            means = [float(share.mean()) if len(clips) else float("nan") for share in shares]
            rows.append((first.name, second.name, len(clips), *means, *words))
    names = ["first", "second", "clips", "differ", "both", "only_first", "only_second", "neither"]
    return pd.DataFrame(rows, columns=[*names, "labels_first", "labels_second"])


def _run(name: str, folders: list[PredictionsFolder], probabilities: np.ndarray) -> Run:
    first = folders[0]
    sums = probabilities.sum(1, keepdims=True)
    fnames = first.clips_train["fname"].to_numpy(object)
    return Run(name, first.labels, fnames, first.labels_index, first.folds, probabilities / sums, folders)


def _name(path: Path, work: Path) -> str:
    return str(path.relative_to(work)) if path.is_relative_to(work) else str(path)


def _facts(run: Run) -> dict[str, Any]:
    scores = {}
    for metric, values in (("accuracy", run.right), ("map3", run.precisions)):
        low, high = bootstrap_interval(values)
        mean = float(values.mean()) if len(values) else float("nan")
        scores |= {metric: mean, f"{metric}_low": low, f"{metric}_high": high}
    finished = sum(len(folder.finished) for folder in run.folders)
    n_folds = sum(folder.n_folds for folder in run.folders)
    seconds = sum(folder.result(fold).get("seconds", 0) for folder in run.folders for fold in folder.finished)
    one = len(run.folders) == 1
    return {
        "run": run.name,
        "net": run.folders[0].config["model"] if one else "ensemble",
        "recipe": run.settings.get("recipe", "-") if one else "-",
        "parameters": sum(folder.config["n_parameters"] for folder in run.folders),
        "folds": f"{finished}" if finished == n_folds else f"{finished} of {n_folds}",
        "clips": len(run.scored),
        **scores,
        "time": duration(seconds),
    }


def _differing(runs: Sequence[Run]) -> list[str]:
    """Names of settings that are not the same in all runs."""
    settings = [run.settings for run in runs if len(run.folders) == 1]
    names = dict.fromkeys(name for values in settings for name in values)
    apart = [name for name in names if len({repr(values.get(name)) for values in settings}) > 1]
    return [name for name in apart if name not in ("model", "recipe")]


def _words(settings: dict[str, Any], names: Sequence[str]) -> str:
    return " ".join(f"{name}={settings[name]}" for name in names if name in settings)


def _most(targets: np.ndarray, labels: Sequence[str], most: int = 3) -> list[str]:
    counts = np.bincount(targets, minlength=len(labels))
    best = np.argsort(-counts, kind="stable")[:most]
    return [f"{labels[label]} ({counts[label]})" for label in best if counts[label]]
