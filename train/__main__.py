"""`python -m train conv1d | conv2d | mobilenet`, and `python -m train ls`."""

if __name__ == "__main__":
    from earmark import refuse_hidden_packages

    refuse_hidden_packages()  # before anything of ours is imported

import itertools
import os
import sys
from dataclasses import asdict, dataclass
from functools import partial
from typing import Annotated, Any, get_type_hints

from common.command import DONE, STOPPED, Command, ctrl_c_ends_at_once
from common.config_file import filled, flags_of, read_config
from common.text import help_text

if __name__ == "__main__":
    ctrl_c_ends_at_once()

import tyro
from tyro.conf import OmitArgPrefixes, arg

from cache import open_cache
from train.environment import check_backend, in_plain_words, started_keras
from train.input.dataset import open_dataset
from train.nets import NETS
from train.progress import RunProgress
from train.recipe import RECIPES, AugmentationFlags, PredictionFlags, Recipe, ScheduleFlags, StrataFlags, recipe_for
from train.results import LIST_DESCRIPTION, ListSettings, result_table, runs_table
from train.settings import (
    GROUPS,
    ONCE,
    DataFlags,
    FoldFlags,
    HardwareFlags,
    NetFlags,
    Settings,
    check,
    default_recipe,
    settings_for,
)
from train.split import assign_folds, chosen_folds


@dataclass(frozen=True)
class SplitFlags(FoldFlags, StrataFlags):
    """How the training clips are split."""


_DESCRIPTION = """Train a net on every fold of a cache's clips, and predict all clips.

Writes WORK/predictions_1d_conv/ (conv1d), WORK/predictions_2d_conv/ (conv2d) or WORK/predictions_mobilenet/, and
of a net of your own WORK/predictions_NAME/. The same command again keeps finished folds, resumes a fold that was
stopped after its last finished epoch, and trains the others. Other settings for the same folder are refused. Prints
the out-of-fold accuracy and MAP@3 of each fold and of all, and the scores of the folds' mean on test clips whose
labels are known. `python -m train ls` compares the runs that there are.

Exit codes: 0 done, 2 wrong input or usage, 130 stopped by Ctrl-C."""


@dataclass(frozen=True)
class Flags:
    """All flags, in the groups of the help."""

    data: DataFlags
    folds: SplitFlags
    net: Annotated[NetFlags, arg(name="net and features")]
    schedule: ScheduleFlags
    augmentation: AugmentationFlags
    prediction: PredictionFlags
    hardware: HardwareFlags


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    command = Command("train")
    return command.run(partial(_act, command), arguments)


def parse(arguments: list[str]) -> Settings:
    """What the command line says, else its --config file, else the recipe that they name."""
    file = read_config(arguments, flags_of(*GROUPS), ONCE)
    joined = ["=".join(pair) for pair in itertools.pairwise(arguments)] + arguments
    preset = next((name for name in RECIPES if f"--recipe={name}" in joined), file.get("preset", "default"))
    named = next((name for name in NETS if name in arguments), file.get("model", ""))
    recipe = recipe_for(preset, named)  # for the help
    settings = _parsed(arguments, recipe, file)
    wanted = default_recipe(settings)
    return settings if wanted == recipe else _parsed(arguments, wanted, file)


def _parsed(arguments: list[str], recipe: Recipe, file: dict[str, Any]) -> Settings:
    """The command line over the file over the recipe."""
    known = {"model": tyro.MISSING} | asdict(recipe) | file
    default = Flags(*(filled(group, known) for group in get_type_hints(Flags).values()))
    options = {"description": help_text(_DESCRIPTION), "default": default, "config": (OmitArgPrefixes,)}
    flags = tyro.cli(Flags, prog="python -m train", args=arguments, **options)
    values = {name: value for group in vars(flags).values() for name, value in vars(group).items()}
    return settings_for(**values)


def _act(command: Command, arguments: list[str]) -> int:
    if arguments[:1] == ["ls"]:
        options = {"description": help_text(LIST_DESCRIPTION), "args": arguments[1:]}
        lines, refused = runs_table(tyro.cli(ListSettings, prog="python -m train ls", **options).work)
        for line in refused:
            command.say(line)
        command.result(lines)
        return DONE
    settings = parse(arguments)
    check(settings)
    check_backend()
    dataset = open_dataset(open_cache(settings.cache_path), settings)
    folds = assign_folds(dataset, settings)
    chosen = chosen_folds(settings, folds)
    device = started_keras()
    from train.run import run, train_fold_of, train_here  # imported here, as Keras takes seconds

    progress = RunProgress(sys.stderr)
    progress.say(f"training on {device} from {dataset.windows.store.name}")
    train_folds = train_here
    if settings.scheduler is not None:
        from train.on_dask import train_on_cluster  # imported here, as Dask is an extra

        train_folds = partial(train_on_cluster, train_fold=train_fold_of)
    try:
        with progress, in_plain_words(settings.predictions_path):
            folder = run(dataset, folds, chosen, progress, train_folds)
    finally:
        again = " without --force" if settings.force and progress.begun else ""
        command.resume = f"rerun the same command{again} to resume {progress.place}"
    command.result(result_table(folder))
    return DONE


if __name__ == "__main__":
    code = main()
    if code == STOPPED:
        sys.stderr.flush()
        os._exit(code)  # an orderly end would wait, for many seconds, for the steps that TensorFlow has begun
    sys.exit(code)
