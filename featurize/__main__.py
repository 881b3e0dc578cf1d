"""`python -m featurize`: decode every recording of a dataset once, into its cache."""

import os
import signal
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from cache.errors import CacheError
from cache.specification import MfccSpecification, RawSpecification
from featurize.dataset import DatasetError, read_dataset
from featurize.demo import write_demo
from featurize.engine import Engine, WorkerKilledError, default_jobs
from featurize.job import Job, StoppedError
from featurize.progress import FeaturizeProgress
from featurize.report import plan_lines, summarize, summary_lines
from featurize.run import Options, plan_run, run
from featurize.work import Work

_STOPPED = 130
_GO_ON = "what is done is kept: run the same command again to go on"


@dataclass(frozen=True)
class Settings:
    """Decode every recording of a dataset once, into a cache of features that training maps into memory.

    Reads the Kaggle layout: DATA/train.csv (fname,label[,manually_verified]), DATA/audio_train/,
    DATA/sample_submission.csv, DATA/audio_test/; wav, flac, ogg and mp3. A run that was stopped, or killed, goes
    on where it was; a run on a dataset that changed computes what is new. Exit codes: 0 done, 1 done but some
    clips failed, 2 wrong input or usage, 130 stopped by Ctrl-C.
    """

    data: Path = Path("data")
    """Folder of the dataset."""
    work: Path = Path("work")
    """Folder of everything that is generated."""
    cache: Path | None = None
    """Folder of the cache (default: WORK/cache)."""
    sr: int = 16000
    """Sample rate of the raw waveforms, in Hz."""
    mfcc: int = 40
    """MFCC coefficients, 1 to 128. A store of more coefficients serves a request for fewer."""
    mfcc_sr: int = 44100
    """Sample rate that MFCCs are computed at, in Hz."""
    raw_dtype: Literal["int16", "float32"] = "int16"
    """Raw samples: int16 with a scale per clip (full 16 bits for each clip), or float32 at twice the size."""
    jobs: int | None = None
    """Jobs at a time (default: one for each processor)."""
    engine: Engine = "threads"
    """What jobs run in. Threads have no start-up to pay; processes may be faster on many cores."""
    limit: int | None = None
    """Take only the first so many clips of train.csv, and of sample_submission.csv."""
    prune: bool = False
    """Remove clips from the clip table that the dataset does not list any more."""
    force: bool = False
    """Compute the features asked for again, although they are there."""
    dry_run: bool = False
    """Print the plan and stop; nothing is written."""
    on_error: Literal["skip", "stop"] = "skip"
    """When a clip cannot be decoded: note its reason and go on, or stop."""
    demo: bool = False
    """First make a small synthetic dataset in DATA, where nothing may be yet."""


def main() -> int:
    """Parse, run, and turn errors into one line and an exit code."""
    settings = tyro.cli(Settings, prog="python -m featurize", config=(tyro.conf.FlagCreatePairsOff,))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _check(settings)
        return _featurize(settings)
    except (CacheError, DatasetError, StoppedError) as error:
        _say(str(error))
    except OSError as error:
        _say(f"{error.filename or settings.cache or settings.work}: {error.strerror or error}; {_GO_ON}")
    except WorkerKilledError as error:
        _say(f"{error}; {_GO_ON}")
    except KeyboardInterrupt:
        warnings.simplefilter("ignore")  # of what the interrupt left behind in other libraries
        _say(f"stopped; {_GO_ON}")
        return _STOPPED
    return 2


def _featurize(settings: Settings) -> int:
    if settings.demo:
        n_clips = write_demo(settings.data)
        _say(f"{settings.data}: {n_clips} clips synthesised")
    dataset = read_dataset(settings.data, settings.limit)
    cache = settings.cache or settings.work / "cache"
    specifications = (
        RawSpecification(settings.sr, settings.raw_dtype),
        MfccSpecification(settings.mfcc, settings.mfcc_sr),
    )
    options = Options(
        n_jobs=settings.jobs or default_jobs(),
        engine=settings.engine,
        prune=settings.prune,
        force=settings.force,
        stop_on_error=settings.on_error == "stop",
    )
    if settings.dry_run:
        print("\n".join(plan_lines(plan_run(dataset, cache, specifications, options))))
        return 0
    with _Progress() as progress:
        work, seconds = run(dataset, cache, specifications, options, progress.plan, progress.job)
    summary = summarize(work)
    print("\n".join(summary_lines(work, summary, seconds)))
    return 1 if summary.failed else 0


class _Progress:
    """Prints the plan, then shows the bar."""

    def __enter__(self) -> "_Progress":
        self._bar: FeaturizeProgress | None = None
        return self

    def plan(self, work: Work) -> None:
        for line in plan_lines(work):
            _say(line)
        if work.jobs:
            self._bar = FeaturizeProgress(sum(len(job.slots) for job in work.jobs)).__enter__()

    def job(self, job: Job) -> None:
        seconds = (slot.header.native_samples / max(1, slot.header.native_rate) for slot in job.slots)
        self._bar.advance(len(job.slots), sum(seconds))

    def __exit__(self, *_) -> None:
        if self._bar:
            self._bar.__exit__()


def _check(settings: Settings) -> None:
    """Numbers that no dataset can make right."""
    for name, low, high in (("sr", 1, 768_000), ("mfcc", 1, 128), ("mfcc_sr", 1, 768_000), ("jobs", 1, 4096)):
        value = getattr(settings, name)
        if value is not None and not low <= value <= high:
            raise DatasetError(f"--{name.replace('_', '-')}: must be from {low} to {high}, got {value}")
    if settings.limit is not None and settings.limit < 1:
        raise DatasetError(f"--limit: must be at least 1, got {settings.limit}")


def _say(line: str) -> None:
    print(f"featurize: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    code = main()
    if code == _STOPPED:  # worker threads may be inside C++ code, which an orderly end of the interpreter aborts
        os._exit(code)
    sys.exit(code)
