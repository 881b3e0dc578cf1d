"""`python -m train conv1d | conv2d`."""

import os
import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while libraries are imported, Ctrl-C just ends

import tyro

from cache import CacheError, open_cache
from ensemble import PredictionsError
from train.dataset import open_dataset
from train.folds import assign_folds, chosen_folds
from train.progress import RunProgress
from train.quiet import holding_back_stderr
from train.settings import Settings, SettingsError, check
from train.table import result_table


def main() -> int:
    """Parse, run, and turn errors into one line and an exit code."""
    settings = tyro.cli(Settings, prog="python -m train", config=(tyro.conf.FlagCreatePairsOff,))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    progress = RunProgress(sys.stderr)
    try:
        print(_train(settings, progress))
        return 0
    except (SettingsError, CacheError, PredictionsError) as error:
        print(f"train: {error}", file=sys.stderr)
    except OSError as error:
        where = error.filename or settings.predictions_path
        print(f"train: {where}: {error.strerror or error}; finished folds are kept", file=sys.stderr)
    except MemoryError:
        print("train: not enough memory for a batch; lower --batch-size or --seconds", file=sys.stderr)
    except KeyboardInterrupt:
        where = "at the beginning" if progress.fold is None else f"with fold {progress.fold}"
        print(f"train: stopped; the same command goes on {where}", file=sys.stderr)
        return 130
    return 2


def _train(settings: Settings, progress: RunProgress) -> str:
    check(settings)
    dataset = open_dataset(open_cache(settings.cache_path), settings)
    folds = assign_folds(dataset, settings)
    chosen = chosen_folds(settings, folds)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only, once TensorFlow listens to it
    with holding_back_stderr():
        # imported here, as Keras takes seconds: help and the errors so far come at once
        from train.run import device, run

        found = device()
    progress.say(f"training on {found}")
    with progress:
        return result_table(run(settings, dataset, folds, chosen, progress))


if __name__ == "__main__":
    sys.exit(main())
