"""`python -m ensemble --1d | --2d | --both | --all | DIR ...`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from tyro.conf import FlagCreatePairsOff, Positional, arg

from ensemble.combine import combined_test_predictions, refuse_misfits, refuse_unfinished
from ensemble.errors import PredictionsError
from ensemble.files import write_csv
from ensemble.folder import PredictionsFolder
from ensemble.predictions import open_predictions
from ensemble.submission import submission
from ensemble.table import ensemble_row, folder_row, format_table


@dataclass(frozen=True)
class Settings:
    """Combine predictions into a submission: the geometric mean over every fold of every folder.

    Give exactly one of --1d, --2d, --both, --all and DIR. Prints a result table and where the submission is. The
    table's scores are out-of-fold (OOF): on training clips, by models that did not train on them.
    """

    folders: Annotated[
        Positional[tuple[Path, ...]], arg(name="dir", metavar="[DIR ...]", help_behavior_hint="")
    ] = ()
    """Predictions folders to combine, in any mix."""
    one_d: Annotated[bool, arg(name="1d", help_behavior_hint="")] = False
    """Combine the folds of WORK/predictions_1d_conv into WORK/1d_conv_ensembled_submission.csv."""
    two_d: Annotated[bool, arg(name="2d", help_behavior_hint="")] = False
    """Combine the folds of WORK/predictions_2d_conv into WORK/2d_conv_ensembled_submission.csv."""
    both: Annotated[bool, arg(help_behavior_hint="")] = False
    """Do both, and combine the two into WORK/1d_2d_ensembled_submission.csv."""
    every: Annotated[bool, arg(name="all", help_behavior_hint="")] = False
    """Combine every folder WORK/predictions_* into WORK/ensembled_submission.csv."""
    work: Annotated[Path, arg(metavar="WORK")] = Path("work")
    """Folder of everything that is generated."""
    name: Annotated[str, arg(metavar="NAME", help_behavior_hint="(default: none)")] = ""
    """Name of a run that is kept apart: WORK/NAME takes the place of WORK."""
    weights: Annotated[tuple[float, ...], arg(metavar="W ...", help_behavior_hint="(default: all equal)")] = ()
    """Weight of each folder, 0 or more, in the order of the folders (that of the table, with --both and --all)."""
    output: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """The submission file to write; not with --both (default with --all and DIR:
    WORK/ensembled_submission.csv)."""
    partial: Annotated[bool, arg(help_behavior_hint="")] = False
    """Combine the folds that are finished, although a folder lacks some."""


@dataclass(frozen=True)
class Plan:
    """The folders to read, their weights, and for each file to write which of the folders it combines."""

    paths: list[Path]
    weights: list[float]
    outputs: dict[Path, list[int]]


def planned(settings: Settings) -> Plan:
    """What the command line asks for.

    Raises:
        PredictionsError: it asks for nothing, for too much, or for impossible weights or output.
    """
    _check_choice(settings)
    _check_output(settings)
    base = settings.work / settings.name
    one = base / "predictions_1d_conv", base / "1d_conv_ensembled_submission.csv"
    two = base / "predictions_2d_conv", base / "2d_conv_ensembled_submission.csv"
    if settings.both:
        paths = [one[0], two[0]]
        outputs = {one[1]: [0], two[1]: [1], base / "1d_2d_ensembled_submission.csv": [0, 1]}
    elif settings.folders or settings.every:
        paths = list(settings.folders) or _every_folder(base)
        outputs = {settings.output or base / "ensembled_submission.csv": list(range(len(paths)))}
    else:
        path, file = one if settings.one_d else two
        paths, outputs = [path], {settings.output or file: [0]}
    return Plan(paths, _checked_weights(settings.weights, len(paths)), outputs)


def _every_folder(base: Path) -> list[Path]:
    """The predictions folders in a folder, but for those that were moved aside (NAME.old-1)."""
    paths = sorted(path for path in base.glob("predictions_*") if path.is_dir() and not path.suffix)
    if not paths:
        raise PredictionsError(f"{base}: folder must hold predictions_*, got none; run train first")
    return paths


def run(settings: Settings) -> str:
    """Combine, write the submissions, and give the report: the result table and where the files are.

    Raises:
        PredictionsError: wrong usage, or folders that are bad or do not fit; nothing is written.
    """
    plan = planned(settings)
    folders = [open_predictions(path) for path in plan.paths]
    refuse_misfits(folders)
    if not settings.partial:
        refuse_unfinished(folders)
    rows = [folder_row(folder) for folder in folders]
    if len(folders) > 1:
        rows.append(ensemble_row(folders, plan.weights))
    return f"{format_table(rows)}\n\n{_write_submissions(plan, folders)}"


def _write_submissions(plan: Plan, folders: list[PredictionsFolder]) -> str:
    labels, fnames = folders[0].labels, folders[0].clips_test["fname"]
    if fnames.empty:
        return "no submission written: the predictions are for no test clips (no sample_submission.csv)"
    tables = {}
    for path, members in plan.outputs.items():
        weights = [plan.weights[member] for member in members] if len(members) > 1 else [1.0]
        combined = combined_test_predictions([folders[member] for member in members], weights)
        tables[path] = submission(fnames, combined, labels)
    for path, table in tables.items():
        write_csv(path, table)
    lines = [f"submission of {len(fnames):,} clips: {path}" for path in tables]
    if spaced := [label for label in labels if " " in label]:
        lines.append(f"note: labels in a submission are separated by spaces, and {spaced[0]!r} has one itself")
    return "\n".join(lines)


def _check_choice(settings: Settings) -> None:
    chosen = {
        "--1d": settings.one_d,
        "--2d": settings.two_d,
        "--both": settings.both,
        "--all": settings.every,
        "DIR": settings.folders,
    }
    given = [name for name, value in chosen.items() if value]
    if len(given) != 1:
        found = " and ".join(given) or "none"
        raise PredictionsError(f"usage: choice must be one of {', '.join(chosen)}, got {found}; see --help")
    resolved = [path.resolve() for path in settings.folders]
    for path in settings.folders:
        if resolved.count(path.resolve()) > 1:
            raise PredictionsError(f"{path}: folder must be given once, got it again; use --weights to weigh it")


def _check_output(settings: Settings) -> None:
    path = settings.output
    if path and settings.both:
        raise PredictionsError(f"{path}: output must not be given with --both, which writes three; leave it out")
    if path and path.exists() and not path.is_file():
        raise PredictionsError(f"{path}: output must be a file, got a folder or device; name a file")


def _checked_weights(weights: tuple[float, ...], n_folders: int) -> list[float]:
    given = " ".join(f"{weight:g}" for weight in weights)
    if weights and len(weights) != n_folders:
        raise PredictionsError(
            f"--weights: number of weights must be {n_folders}, one for each folder, got {len(weights)} "
            f"({given}); give them after the folders"
        )
    if weights and (not np.isfinite(weights).all() or min(weights) < 0 or max(weights) == 0):
        raise PredictionsError(f"--weights: weights must be 0 or more and not all 0, got {given}; change them")
    return list(weights) or [1.0] * n_folders


def main() -> int:
    """Parse, run, and turn errors into one line and an exit code."""
    try:
        settings = tyro.cli(Settings, prog="python -m ensemble", config=(FlagCreatePairsOff,))
        print(run(settings))
        return 0
    except PredictionsError as error:
        print(f"ensemble: {error}", file=sys.stderr)
    except OSError as error:
        print(f"ensemble: {error.filename or 'output'}: {error.strerror or error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("ensemble: stopped; run the same command again", file=sys.stderr)
        return 130
    return 2


if __name__ == "__main__":
    sys.exit(main())
