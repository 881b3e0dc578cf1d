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
from report.scores import average_precision_3, mean_interval

QUICK = "quick"  # the name of runs that were only a try
_METRICS = {"epoch", "loss", "val_loss", "val_accuracy", "val_map3"}


@dataclass(eq=False)
class Run:
    """The out-of-fold predictions of a run, or of several together.

    name: the folder's place. probabilities: float64 [n_train, n_labels], rows of the sum 1, NaN for a clip that no
    finished fold predicts. folders: those that it is of, all for the same clips and labels.
    """

    name: str
    probabilities: np.ndarray
    folders: list[PredictionsFolder]

    @property
    def labels(self) -> list[str]:
        """The labels, by their ids."""
        return self.folders[0].labels

    @property
    def settings(self) -> dict[str, Any]:
        """What the run was told to do; of several runs, nothing."""
        return (self.folders[0].config.get("settings") or {}) if len(self.folders) == 1 else {}

    @cached_property
    def scored(self) -> np.ndarray:
        """Rows of the clips that have a prediction: int64 [n_scored]."""
        return np.flatnonzero(~np.isnan(self.probabilities).any(1))

    @cached_property
    def own(self) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities and targets of the scored clips."""
        return self.probabilities[self.scored], self.folders[0].labels_index[self.scored]

    @cached_property
    def precisions(self) -> np.ndarray:
        """Average precision at 3 of each scored clip, float64 [n_scored]."""
        return average_precision_3(*self.own)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """run, net, parameters, folds, clips, time, accuracy and map3, each with _low and _high (95%)."""
        probabilities, targets = self.own
        right = (probabilities.argmax(1) == targets).astype(float)
        one, finished = len(self.folders) == 1, [(folder, i) for folder in self.folders for i in folder.finished]
        n_folds = sum(folder.n_folds for folder in self.folders)
        found = {
            "run": self.name,
            "net": self.folders[0].config["model"] if one else "ensemble",
            "parameters": sum(folder.config["n_parameters"] for folder in self.folders),
            "folds": f"{len(finished)}" + (f" of {n_folds}" if len(finished) < n_folds else ""),
            "clips": len(self.scored),
            "time": duration(sum(folder.result(fold)["seconds"] for folder, fold in finished)),
        }
        for metric, values in (("accuracy", right), ("map3", self.precisions)):
            found |= zip((metric, f"{metric}_low", f"{metric}_high"), mean_interval(values), strict=True)
        return found


def find_runs(
    work: Path, name: str = "", folders: Sequence[Path] = ()
) -> tuple[list[PredictionsFolder], list[str]]:
    """The predictions folders to report on, and why some are left out.

    Args:
        work, name: all below WORK but those in WORK/quick, or all in WORK/NAME. folders: these instead, if any.
    Raises:
        PredictionsError: a folder that was given holds no predictions.
    """
    if folders:
        return [open_predictions(folder) for folder in folders], []
    found, notes, base = [], [], work / name
    for config in sorted([*base.glob("predictions_*/config.json"), *base.glob("*/predictions_*/config.json")]):
        folder = config.parent
        if folder.suffix or (name and folder.parent != base):  # moved aside by --force; another name's
            continue
        if not name and folder.parent == base / QUICK:
            notes.append(f"{folder} is left out: it is a quick try. --name {QUICK} reports on such runs.")
            continue
        try:
            found.append(open_predictions(folder))
        except PredictionsError as error:
            notes.append(str(error))
    return found, notes


def read_runs(folders: Sequence[PredictionsFolder], work: Path) -> tuple[list[Run], list[str]]:
    """The runs of folders that are all for one dataset, the first folder's; why others are left out."""
    runs, refused = [], []
    for folder in folders:
        path = folder.path
        try:
            refuse_misfits([folders[0], folder])
            name = path.relative_to(work) if path.is_relative_to(work) else path
            runs.append(_run(str(name), [folder], folder.oof()))
        except PredictionsError as error:
            refused.append(str(error))
    return runs, refused


def ensemble_of(runs: Sequence[Run], name: str = "") -> Run:
    """The geometric mean of several runs' out-of-fold predictions, as `ensemble` combines them."""
    folders = [folder for run in runs for folder in run.folders]
    return _run(name, folders, combined_oof(folders, [1.0] * len(folders)))


def runs_table(runs: Sequence[Run]) -> pd.DataFrame:
    """A row of each run's facts, and in words the settings that are not the same in all runs (differs)."""
    each = [run.settings for run in runs if len(run.folders) == 1]
    names = [name for name in dict.fromkeys(name for values in each for name in values)]
    apart = [name for name in names if len({repr(values.get(name)) for values in each}) > 1]
    apart = [name for name in apart if name != "model"]
    words = [" ".join(f"{name}={run.settings[name]}" for name in apart if name in run.settings) for run in runs]
    return pd.DataFrame([run.facts for run in runs]).assign(differs=words)


def histories(run: Run) -> list[pd.DataFrame]:
    """What each finished fold's history_{i}.csv says, a row an epoch; without files that are missing or broken."""
    found = []
    for folder in run.folders:
        for fold in folder.finished:
            try:
                found.append(pd.read_csv(folder.path / f"history_{fold}.csv"))
            except (OSError, ValueError):
                continue
    return [history for history in found if {*history} >= _METRICS]


def contributions(runs: Sequence[Run]) -> pd.DataFrame:
    """What each run adds to the ensemble of all: MAP@3 alone, of the others without it, and of all.

    Returns:
        run, alone, without, gain (all less without; low and high are its 95% interval, clip by clip).
    """
    everything, rows = ensemble_of(runs), []
    for run in runs:
        others = ensemble_of([other for other in runs if other is not run])
        _, places, other_places = np.intersect1d(everything.scored, others.scored, return_indices=True)
        without = others.precisions[other_places]
        gain = mean_interval(everything.precisions[places] - without)
        rows.append((run.name, run.facts["map3"], mean_interval(without)[0], *gain))
    return pd.DataFrame(rows, columns=["run", "alone", "without", "gain", "low", "high"])


def disagreements(runs: Sequence[Run]) -> pd.DataFrame:
    """Where two runs' first guesses differ, for each pair: shares of the clips that both predict.

    Returns:
        first, second, clips, differ, both (right), only_first, only_second, neither; and labels_first and
        labels_second: up to three labels at which one run is right most often where the other is not, in words.
    """
    rows = []
    for i, first in enumerate(runs):
        for second in runs[i + 1 :]:
            clips = np.intersect1d(first.scored, second.scored)
            targets = first.folders[0].labels_index[clips]
            guesses = [run.probabilities[clips].argmax(1) for run in (first, second)]
            a, b = (guess == targets for guess in guesses)
            parts = {"differ": guesses[0] != guesses[1], "both": a & b, "only_first": a & ~b}
            parts |= {"only_second": b & ~a, "neither": ~a & ~b}
            shares = {name: part.mean() if len(clips) else np.nan for name, part in parts.items()}
            better = {f"labels_{run}": _most(first, targets[parts[f"only_{run}"]]) for run in ("first", "second")}
            rows.append({"first": first.name, "second": second.name, "clips": len(clips)} | shares | better)
    return pd.DataFrame(rows)


def _run(name: str, folders: list[PredictionsFolder], probabilities: np.ndarray) -> Run:
    return Run(name, probabilities / probabilities.sum(1, keepdims=True), folders)


def _most(run: Run, targets: np.ndarray) -> str:
    counts = pd.Series(targets).value_counts(sort=False).sort_index().nlargest(3)
    return ", ".join(f"{run.labels[label]} ({count})" for label, count in counts.items()) or "none"
