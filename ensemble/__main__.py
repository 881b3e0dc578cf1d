"""`python -m ensemble --1d | --2d | --both | --all | DIR ...`, and `python -m ensemble check FILE`."""

if __name__ == "__main__":
    from earmark import refuse_hidden_packages

    refuse_hidden_packages()  # before anything of ours is imported

import sys
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, Positional, arg

from common.command import DONE, SOME_FAILED, Command
from common.text import help_text
from ensemble.check import CHECK_DESCRIPTION, CheckSettings, check
from ensemble.combine import combined_oof, combined_test_predictions, refuse_misfits, refuse_unfinished
from ensemble.files import PredictionsError, write_csv
from ensemble.leaderboard import leaderboard_table
from ensemble.optimise import advice, optimise
from ensemble.predictions import PredictionsFolder, folder_of, open_predictions, predictions_folders
from ensemble.submission import refuse_output, submission
from ensemble.table import result_table

_DESCRIPTION = """Combine predictions into a submission: the geometric mean over all folds of the chosen folders,
then the three best labels of each test clip.

Prints a table with a row for each folder and one for their ensemble. Its scores are out-of-fold (OOF): on training
clips, by models that did not train on them. Where labels of test clips are known, a second table has the scores on
these. Then it writes each submission and prints where it is. `python -m ensemble check FILE` checks one.

Exit codes: 0 done, 2 wrong input or usage, 130 stopped by Ctrl-C, 141 the reader of a pipe is gone. --debug shows
the traceback of an unexpected error."""


@dataclass(frozen=True)
class Choice:
    """Which predictions folders to combine: exactly one of these or DIR ..."""

    folders: Annotated[
        Positional[tuple[Path, ...]], arg(name="dir", metavar="[DIR ...]", help_behavior_hint="")
    ] = ()
    """These predictions folders, in any mix, into WORK/ensembled_submission.csv."""
    one_d: Annotated[bool, arg(name="1d", help_behavior_hint="")] = False
    """WORK/predictions_1d_conv into WORK/1d_conv_ensembled_submission.csv."""
    two_d: Annotated[bool, arg(name="2d", help_behavior_hint="")] = False
    """WORK/predictions_2d_conv into WORK/2d_conv_ensembled_submission.csv."""
    both: Annotated[bool, arg(help_behavior_hint="")] = False
    """Both of these, and the two together into WORK/1d_2d_ensembled_submission.csv."""
    every: Annotated[bool, arg(name="all", help_behavior_hint="")] = False
    """Every folder WORK/predictions_*, together into WORK/ensembled_submission.csv."""


@dataclass(frozen=True)
class Settings:
    """The flags of the command."""

    choice: Choice = field(default_factory=Choice)
    work: Annotated[Path, arg(metavar="WORK")] = Path("work")
    """Folder of everything that is generated."""
    name: Annotated[str, arg(metavar="NAME", help_behavior_hint="(default: none)")] = ""
    """Name of a run that was kept apart: WORK/NAME takes the place of WORK."""
    weights: Annotated[tuple[float, ...], arg(metavar="W ...", help_behavior_hint="(default: all equal)")] = ()
    """Weight of each folder, 0 or more, in the order of the folders (with --both and --all: of the table)."""
    optimise: Annotated[bool, arg(help_behavior_hint="")] = False
    """Find the weights of the least log loss on the out-of-fold predictions, and combine by them. The row
    "optimised" is honest: each clip is combined by weights that were fitted on the clips of other folds. With few
    clips, equal weights are often as good; the rows tell."""
    output: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(default: as above)")] = None
    """Write the submission here; not with --both, which writes three. A file that is there is replaced only if it
    is an earlier submission for the same clips."""
    partial: Annotated[bool, arg(help_behavior_hint="(default: refuse)")] = False
    """Combine the finished folds of folders that lack some."""


def planned(settings: Settings) -> dict[Path, list[Path]]:
    """What the command line asks for: each file to write, and the folders that it combines."""
    choice, output = settings.choice, settings.output
    given = {"--1d": choice.one_d, "--2d": choice.two_d, "--both": choice.both, "--all": choice.every}
    given["DIR"] = choice.folders
    if len(found := [flag for flag, value in given.items() if value]) != 1:
        got = " and ".join(found) or "none"
        raise PredictionsError(f"give exactly one of {', '.join(given)}, got {got}; see --help")
    base = folder_of(settings.work, settings.name)
    if choice.both and output:
        raise PredictionsError("--output cannot be given with --both, which writes three files; leave it out")
    one, two = base / "predictions_1d_conv", base / "predictions_2d_conv"
    if choice.both:
        members = {"1d_conv": [one], "2d_conv": [two], "1d_2d": [one, two]}
        return {base / f"{prefix}_ensembled_submission.csv": folders for prefix, folders in members.items()}
    if choice.one_d:
        prefix, folders = "1d_conv_", [one]
    elif choice.two_d:
        prefix, folders = "2d_conv_", [two]
    else:
        prefix, folders = "", list(choice.folders) or predictions_folders(base)
    for path, again in combinations(folders, 2):
        if path.resolve() == again.resolve():
            raise PredictionsError(f"{path}: this folder is given twice; use --weights to weigh it")
    return {output or base / f"{prefix}ensembled_submission.csv": folders}


def given_weights(settings: Settings, n_folders: int) -> list[float]:
    """The weight of each folder that the command line gives; all equal unless it does."""
    words = " ".join(f"{weight:g}" for weight in settings.weights)
    if settings.optimise and words:
        raise PredictionsError(f"--optimise finds the weights, so give no --weights, got {words}; leave one out")
    if settings.optimise and n_folders < 2:
        raise PredictionsError(f"--optimise must be given 2 or more folders, got {n_folders}; leave it out")
    weights = list(settings.weights) or [1.0] * n_folders
    if len(weights) != n_folders:
        rule = f"{n_folders} numbers, one for each folder, got {len(weights)} ({words})"
        raise PredictionsError(f"--weights must be {rule}; give them after the folders")
    if not np.isfinite(weights).all() or min(weights) < 0 or max(weights) == 0:
        raise PredictionsError(f"--weights must be 0 or more and not all 0, got {words}; see --help")
    return weights


def run(settings: Settings) -> list[str]:
    """Combine, write the submissions, and give the lines to print: the tables, notes, and where the files are.

    Where anything is wrong, nothing is written.
    """
    outputs = planned(settings)
    paths = list(dict.fromkeys(path for members in outputs.values() for path in members))
    weights = given_weights(settings, len(paths))
    folders = [open_predictions(path) for path in paths]
    refuse_misfits(folders)
    if not settings.partial:
        refuse_unfinished(folders)
    labels, fnames = folders[0].labels, folders[0].clips_test["fname"]
    if settings.output:
        refuse_output(settings.output, fnames, labels)
    lines, weights = scored(folders, weights, settings.optimise)
    lines.append("")
    if fnames.empty:
        return [*lines, "no submission written: there are no test clips (no sample_submission.csv)"]
    tables = {}
    for file, members in outputs.items():
        own = [paths.index(path) for path in members]
        weighted = [weights[i] for i in own] if len(own) > 1 else [1.0]
        combined = combined_test_predictions([folders[i] for i in own], weighted)
        tables[file] = submission(fnames, combined, labels)
    for file, table in tables.items():
        write_csv(file, table)
    lines += [f"submission of {len(fnames):,} clips: {file}" for file in tables]
    if odd := [label for label in labels if label.split() != [label]]:
        lines.append(f"note: a submission separates labels by spaces, and {odd[0]!r} is not one word")
    return lines


def scored(
    folders: list[PredictionsFolder], weights: list[float], optimised: bool
) -> tuple[list[str], list[float]]:
    """The lines of the tables, and the weights to combine by: those given, or those that are found."""
    every = f"all {len(folders)}"
    first = f"{every}, equal" if optimised else every
    ensembles = {first: weights} if len(folders) > 1 else {}
    oof, lines = {name: combined_oof(folders, weights) for name in ensembles}, []
    if optimised:
        weights, held_out = optimise(folders)
        ensembles[f"{every}, optimised"], oof[f"{every}, optimised"] = weights, held_out
        lines = ["", *advice(folders[0], weights, oof[first], held_out)]
    if on_test := leaderboard_table(folders, ensembles):
        lines = ["", *on_test, *lines]
    return [*result_table(folders, oof), *lines], weights


def main() -> int:
    """Run the command; see common.command for how it ends."""
    command = Command("ensemble")

    def act(arguments: list[str]) -> int:
        if arguments[:1] == ["check"]:
            options = {"description": help_text(CHECK_DESCRIPTION), "args": arguments[1:]}
            lines, right = check(tyro.cli(CheckSettings, prog="python -m ensemble check", **options))
            command.result(lines)
            return DONE if right else SOME_FAILED
        options = {"description": help_text(_DESCRIPTION), "config": (FlagCreatePairsOff, OmitArgPrefixes)}
        command.result(run(tyro.cli(Settings, prog="python -m ensemble", args=arguments, **options)))
        return DONE

    return command.run(act)


if __name__ == "__main__":
    sys.exit(main())
