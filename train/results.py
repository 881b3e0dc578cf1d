"""Tables of what was trained: the folds of one run, and runs side by side."""

import textwrap
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common.text import duration, table
from ensemble import PredictionsError, PredictionsFolder, open_predictions
from ensemble.combine import combined_test_predictions
from ensemble.leaderboard import leaderboard, not_scored
from ensemble.table import folder_row
from train.nets import Net, NetError, net_of
from train.recipe import RECIPES
from train.settings import settings_for

_WIDTH = 80  # columns of a terminal
_HEADER = ("run", "net", "recipe", "parameters", "folds", "accuracy", "MAP@3", "time")
# the table or the store's name says them; nobody reads a checksum
_NOT_TOLD = {"model", "net_file_checksum", "recipe", "features", "sr", "mfcc_sr", "n_mels", "mfcc"}

LIST_DESCRIPTION = """Compare the runs below WORK.

Below each run stand the store that it read, its settings that are not its recipe's or the defaults, and its scores
on test clips whose labels are known. Accuracy and MAP@3 are out-of-fold; time is that of the finished folds."""


@dataclass(frozen=True)
class ListSettings:
    """The flags of `python -m train ls`."""

    work: Path = Path("work")
    """Folder of everything that is generated."""


def result_table(folder: PredictionsFolder) -> list[str]:
    """Lines for one run: of each finished fold and of all clips, epochs, accuracy and MAP@3; the scores on test
    clips whose labels are known; and where the run lies."""
    finished, rows = folder.finished, []
    for fold in finished:
        result = folder.result(fold)
        scores = f"{result['accuracy']:.4f}", f"{result['map3']:.4f}"
        rows.append((fold, result["n_clips"], result["epochs"], result["kept_epoch"], *scores))
    if finished:
        n_clips, *scores = folder_row(folder)[3:]
        name = "all" if len(finished) == folder.n_folds else f"{len(finished)} of {folder.n_folds}"
        rows.append((name, n_clips, "", "", *scores))
    header = ("fold", "clips", "epochs", "kept", "OOF accuracy", "OOF MAP@3")
    lines = table(header, rows, right=range(1, 6))
    if on_test := _test_scores(folder):
        lines += ["", *table(("test", "clips", "accuracy", "MAP@3"), on_test, right=range(1, 4))]
    return [*lines, *not_scored(folder), f"predictions: {folder.path}"]


def runs_table(work: Path) -> tuple[list[str], list[str]]:
    """The lines of a table of the runs below a work folder that have a finished fold, each with its store and
    settings below it; and why other predictions folders have no line."""
    paths = sorted({*work.glob("predictions_*/config.json"), *work.glob("*/predictions_*/config.json")})
    rows, told, refused = [], [], []
    for path in paths:
        try:
            folder = open_predictions(path.parent)
            cells, below = _cells(work, folder), [_words(folder), *_test_words(folder)]
        except PredictionsError as error:
            refused.append(str(error))
            continue
        rows.append(cells)
        told.append(below)
    if not rows:
        return [f"no runs in {work}"], refused
    header, *lines = table(_HEADER, rows, right=range(3, 8))
    indented = {"initial_indent": "    ", "subsequent_indent": "    ", "break_on_hyphens": False}
    below = [[part for words in each for part in textwrap.wrap(words, _WIDTH, **indented)] for each in told]
    return [header, *(each for line, more in zip(lines, below, strict=True) for each in (line, *more))], refused


def _test_scores(folder: PredictionsFolder) -> list[tuple[str, ...]]:
    """The rows of `leaderboard` for the mean of the finished folds."""
    if "label" not in folder.clips_test or not folder.finished:
        return []
    return leaderboard(folder, combined_test_predictions([folder], [1.0]))


def _cells(work: Path, folder: PredictionsFolder) -> tuple[str, ...]:
    model, parameters, folds, _, *scores = folder_row(folder)
    seconds = sum(folder.result(fold).get("seconds", 0) for fold in folder.finished)
    path, net = folder.path.relative_to(work), _net(model)
    run = str(path)  # of a folder that was moved aside
    if net is not None and path.name == net.folder:
        run = "-" if path == Path(net.folder) else str(path.parent)
    recipe = str(folder.config.get("settings", {}).get("recipe", "-"))
    return run, model, recipe, parameters, folds, *scores, duration(seconds)


def _net(model: str) -> Net | None:
    """The entry of a net; None of one that is unknown here."""
    with suppress(NetError):
        return net_of(model)
    return None


def _words(folder: PredictionsFolder) -> str:
    """As NAME=VALUE: the store of a run, and its settings that are not those of its recipe and of `Settings`."""
    settings, model = folder.config.get("settings", {}), folder.config["model"]
    words = [f"store={store['name']}" for store in folder.config.get("stores", [])]
    if settings.get("recipe") in RECIPES and _net(model) is not None:
        usual = settings_for(model, settings["recipe"], quick=settings.get("quick") is True)
        named = asdict(usual) | usual.binding() | {"quick": False}
        differing = sorted(name for name in settings if name not in _NOT_TOLD and settings[name] != named.get(name))
        words += [f"{name}={_word(settings[name])}" for name in differing]
    return " ".join(words)


def _test_words(folder: PredictionsFolder) -> list[str]:
    """As NAME=VALUE on a line: the scores on test clips, where there are any."""
    words = [
        f"{'test' if part == 'all' else part}_{name}={score}"
        for part, _, *scores in _test_scores(folder)
        for name, score in zip(("accuracy", "map3"), scores, strict=True)
    ]
    return [" ".join(words)] if words else []


def _word(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)
