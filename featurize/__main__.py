"""`python -m featurize`: decode every recording of a dataset once, into its cache."""

if __name__ == "__main__":
    from earmark import refuse_hidden_packages

    refuse_hidden_packages()  # before anything of ours is imported

import os
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from common.command import DONE, SOME_FAILED, Command, ctrl_c_ends_at_once

if __name__ == "__main__":
    ctrl_c_ends_at_once()  # while libraries are imported

import tyro

from common import EarmarkError
from common.config_file import filled, flags_of, read_config
from common.progress import progress
from common.text import help_text
from featurize.datasets import read_dataset
from featurize.job import Job
from featurize.run import plan_run, run
from featurize.settings import GROUPS, ONCE, Settings, check, config_of
from featurize.summary import plan_lines, summarize, summary_lines
from featurize.todo import Todo

_DESCRIPTION = """Decode every recording of a dataset once, into a cache of features that training maps into memory.

Reads Kaggle's layout (DATA/train.csv, audio_train/, sample_submission.csv, audio_test/), FSDKaggle2018 of
Zenodo, ESC-50, UrbanSound8K, one folder a class, any CSV (--csv), and recordings without labels: docs/datasets.md
shows each. Recordings are wav, flac, ogg, mp3 and what else libsndfile decodes. Rerun the command to resume a run
that was stopped or killed, and to compute what is new after the dataset has changed.

Give --debug for the traceback of an unexpected error. Exit codes: 0 done, 1 done but some clips failed, 2 wrong
input or usage, 130 stopped by Ctrl-C."""
_RESUME = "finished work is kept: rerun the command to resume"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, with the arguments of this process unless given; returns its exit code."""
    command = Command("featurize", _RESUME)
    return command.run(partial(_featurize, command), arguments)


def _featurize(command: Command, arguments: list[str]) -> int:
    file = read_config(arguments, flags_of(*GROUPS), ONCE)
    settings = tyro.cli(
        Settings,
        prog="python -m featurize",
        default=Settings(*(filled(group, file) for group in GROUPS)),
        description=help_text(_DESCRIPTION),
        args=arguments,
        config=(tyro.conf.OmitArgPrefixes,),
    )
    check(settings)
    try:
        return _run(command, settings)
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise EarmarkError(f"{where}{error.strerror or error}; {_RESUME}") from error


def _run(command: Command, settings: Settings) -> int:
    folder, cache, features = settings.data.folder, settings.data.cache_folder, settings.features
    if settings.data.demo:
        from featurize.demo import write_demo  # here, as its synthesis takes half of the start-up time

        command.say(f"{folder}: {write_demo(folder.path())} clips synthesised")
    table = settings.table.given
    dataset = read_dataset(folder, settings.data.limit, "csv" if table else settings.data.layout, **table)
    if settings.run.dry_run:
        command.result(list(plan_lines(plan_run(dataset, cache, features.specifications, settings.run))))
        return DONE
    with ExitStack() as shown:
        steps, begun, audio_s = None, 0.0, 0.0

        def on_plan(todo: Todo) -> None:
            nonlocal steps, begun
            for line in plan_lines(todo):
                command.say(line)
            if todo.jobs:
                steps, begun = shown.enter_context(progress("featurize", len(todo.jobs.slots))), time.monotonic()

        def on_job(job: Job) -> None:
            nonlocal audio_s
            audio_s += job.seconds
            steps.advance(len(job.slots), f"{audio_s / (time.monotonic() - begun):,.0f} times real time")

        todo, seconds = run(dataset, cache, features.specifications, settings.run, on_plan, on_job)
        cache.write("settings.toml", config_of(settings).encode(errors="backslashreplace"))
    summary = summarize(todo)
    command.result(list(summary_lines(todo, summary, seconds)))
    return SOME_FAILED if len(summary.failed) else DONE


if __name__ == "__main__":
    code = main()
    if code > SOME_FAILED and threading.active_count() > 1:
        # A job that was cut short may be inside C++ code, which an orderly end of the interpreter aborts.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
