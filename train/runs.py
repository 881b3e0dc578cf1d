"""The runs that there are, side by side: every predictions folder below a work folder, and what sets it apart."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ensemble import PredictionsError, PredictionsFolder, open_predictions
from ensemble.table import folder_row
from train.progress import duration
from train.recipe import RECIPES, recipe_for

_HEADER = ("run", "net", "recipe", "parameters", "folds", "OOF accuracy", "OOF MAP@3", "time", "what differs")
_TO_THE_RIGHT = (3, 5, 6, 7)
_ELSEWHERE = {"model", "recipe"}  # columns of their own


@dataclass(frozen=True)
class ListSettings:
    """Compare the runs below WORK: net, recipe, scores, time, and what differs.

    What differs are the parts of the recipe that are not those its name stands for, and other settings that are not
    the same in all runs of the net. Scores are out-of-fold; time is that of the finished folds.
    """

    work: Path = Path("work")
    """Folder of everything that is generated."""


def find_runs(work: Path) -> tuple[list[PredictionsFolder], list[str]]:
    """The predictions folders below a work folder that have a finished fold, and why others cannot be listed."""
    paths = sorted({*work.glob("predictions_*/config.json"), *work.glob("*/predictions_*/config.json")})
    folders, refused = [], []
    for path in paths:
        try:
            folders.append(open_predictions(path.parent))
        except PredictionsError as error:
            refused.append(str(error))
    return folders, refused


def runs_table(work: Path, folders: Sequence[PredictionsFolder]) -> tuple[str, list[str]]:
    """A row for each run; and why some have none: a fold's predictions are missing or bad."""
    lines, refused = [_HEADER], []
    for folder in folders:
        try:
            lines.append(_cells(work, folder, _apart(folder, folders)))
        except PredictionsError as error:
            refused.append(str(error))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(_aligned(line, widths) for line in lines), refused


def _cells(work: Path, folder: PredictionsFolder, apart: dict[str, Any]) -> tuple[str, ...]:
    row, settings = folder_row(folder), folder.config.get("settings") or {}
    seconds = sum(folder.result(fold).get("seconds", 0) for fold in folder.finished)
    differing = " ".join(f"{name}={_word(value)}" for name, value in sorted(apart.items()))
    _, parameters, folds, _, accuracy, map3, _ = row.cells()
    run = str(folder.path.relative_to(work))
    scores = parameters, folds, accuracy, map3
    return run, row.model, settings.get("recipe", "-"), *scores, duration(seconds), differing


def _apart(folder: PredictionsFolder, folders: Sequence[PredictionsFolder]) -> dict[str, Any]:
    """What sets a run apart from the recipe that it names, and from the other runs of its net."""
    settings = _settings(folder)
    recipe = settings.get("recipe")
    named = asdict(recipe_for(recipe, folder.config["model"])) if recipe in RECIPES else {}
    others = [_settings(other) for other in folders if other.config["model"] == folder.config["model"]]
    return {
        name: value
        for name, value in settings.items()
        if name not in _ELSEWHERE
        and (value != named[name] if name in named else any(other.get(name) != value for other in others))
    }


def _settings(folder: PredictionsFolder) -> dict[str, Any]:
    return folder.config.get("settings") or {}


def _word(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    cells = (
        cell.rjust(width) if column in _TO_THE_RIGHT else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(line, widths, strict=True))
    )
    return "  ".join(cells).rstrip()
