"""`python -m train conv1d | conv2d | mobilenet`, and `python -m train ls`."""

import itertools
import os
import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while libraries are imported, Ctrl-C just ends

import tyro

from cache import open_cache
from train.dataset import open_dataset, with_features
from train.failures import in_one_line
from train.folds import assign_folds, chosen_folds
from train.models import MODELS
from train.progress import RunProgress
from train.quiet import holding_back_stderr, not_collecting
from train.recipe import RECIPES, Recipe, recipe_for
from train.runs import ListSettings, find_runs, runs_table
from train.settings import Settings, check, defaults
from train.table import result_table

_STOPPED = 130  # by Ctrl-C


def main() -> int:
    """Parse, run, and turn errors into one line and an exit code."""
    if sys.argv[1:2] == ["ls"]:
        return _list(tyro.cli(ListSettings, prog="python -m train ls", args=sys.argv[2:]))
    settings = parse(sys.argv[1:])
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    progress = RunProgress(sys.stderr)
    try:
        print(_train(settings, progress))
        return 0
    except Exception as error:
        if (line := in_one_line(error, settings.predictions_path)) is None:
            raise
        print(f"train: {line}", file=sys.stderr)
    except KeyboardInterrupt:
        again = "the same command" + (" without --force" if settings.force and progress.begun else "")
        print(f"train: stopped; {again} goes on {progress.place}", file=sys.stderr)
        return _STOPPED
    return 2


def _list(settings: ListSettings) -> int:
    folders, refused = find_runs(settings.work)
    table, unreadable = runs_table(settings.work, folders)
    for line in refused + unreadable:
        print(f"train: {line}", file=sys.stderr)
    print(table if folders else f"no runs in {settings.work}")
    return 0


def parse(arguments: list[str]) -> Settings:
    """What the command line says; flags that it does not give have the values of the recipe that it names."""
    preset = next((name for name in RECIPES if f"--recipe={name}" in _joined(arguments)), "default")
    recipe = recipe_for(preset, next((name for name in MODELS if name in arguments), ""))  # for the help
    settings = _parsed(arguments, recipe)
    return settings if defaults(settings) == recipe else _parsed(arguments, defaults(settings))


def _parsed(arguments: list[str], recipe: Recipe) -> Settings:
    default = Settings(model=tyro.MISSING, recipe=recipe)
    config = (tyro.conf.FlagCreatePairsOff,)
    return tyro.cli(Settings, prog="python -m train", args=arguments, default=default, config=config)


def _joined(arguments: list[str]) -> list[str]:
    return ["=".join(pair) for pair in itertools.pairwise(arguments)] + arguments


def _train(settings: Settings, progress: RunProgress) -> str:
    check(settings)
    cache = open_cache(settings.cache_path)
    settings = with_features(settings, cache)
    dataset = open_dataset(cache, settings)
    del cache  # and its tables: those of a million clips are 100 MB
    folds = assign_folds(dataset, settings)
    chosen = chosen_folds(settings, folds)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only, once TensorFlow listens to it
    with holding_back_stderr(), not_collecting():
        # imported here, as Keras takes seconds: help and the errors so far come at once
        from train.device import device
        from train.run import run

        found = device()
    progress.say(f"training on {found} from {dataset.windows.store.name}")
    with progress:
        return result_table(run(settings, dataset, folds, chosen, progress))


if __name__ == "__main__":
    code = main()
    if code == _STOPPED:
        sys.stderr.flush()
        os._exit(code)  # an orderly end would wait, for many seconds, for the steps that TensorFlow has begun
    sys.exit(code)
