"""`python -m featurize`: decode every recording of a dataset once, into its cache."""

import logging
import os
import signal
import sys
import warnings

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while libraries are imported, Ctrl-C just ends

import tyro

from cache.errors import CacheError
from cache.places import require_disk
from featurize.dataset import DatasetError, read_dataset
from featurize.engine import ClusterError, ClusterLostError, WorkerKilledError
from featurize.job import StoppedError
from featurize.progress import FeaturizeProgress
from featurize.report import plan_lines, summarize, summary_lines
from featurize.run import plan_run, run
from featurize.settings import Settings, SettingsError, check
from featurize.work import Work

_STOPPED, _READER_GONE = 130, 141
_GO_ON = "what is done is kept: run the same command again to go on"


def main(settings: Settings | None = None) -> int:
    """Parse unless that is done, run, and turn errors into one line and an exit code."""
    settings = settings or _parse()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        check(settings)
        return _featurize(settings)
    except BrokenPipeError:
        return _reader_is_gone()
    except (CacheError, DatasetError, SettingsError, StoppedError) as error:
        _say(str(error))
    except OSError as error:
        _say(f"{error.filename or settings.cache_path}: {error.strerror or error}; {_GO_ON}")
    except (ClusterLostError, WorkerKilledError) as error:
        _say(f"{error}; {_GO_ON}")
    except ClusterError as error:
        _say(str(error))
    except KeyboardInterrupt:
        warnings.simplefilter("ignore")  # of what the interrupt leaves behind in other libraries
        logging.disable()
        sys.unraisablehook = lambda unraisable: None
        return _STOPPED
    return 2


def _parse() -> Settings:
    try:
        return tyro.cli(Settings, prog="python -m featurize", config=(tyro.conf.FlagCreatePairsOff,))
    except BrokenPipeError:  # of the help
        sys.exit(_reader_is_gone())


def _reader_is_gone() -> int:
    """End as a command that a closed pipe kills: quietly, as the shell's 128 + SIGPIPE."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return _READER_GONE


def _featurize(settings: Settings) -> int:
    if settings.demo:
        from featurize.demo import write_demo  # imported here, as its synthesis takes half of the start-up time

        require_disk(settings.data_path, "hold what --demo makes")
        _say(f"{settings.data}: {write_demo(settings.data_path)} clips synthesised")
    dataset = read_dataset(settings.data_path, settings.limit)
    if settings.dry_run:
        work = plan_run(dataset, settings.cache_path, settings.specifications, settings.options)
        print("\n".join(plan_lines(work)), flush=True)
        return 0
    with FeaturizeProgress() as progress:

        def begin(work: Work) -> None:
            for line in plan_lines(work):
                _say(line)
            progress.begin(len(work.jobs.slots))

        work, seconds = run(
            dataset,
            settings.cache_path,
            settings.specifications,
            settings.options,
            on_plan=begin,
            on_job=lambda job: progress.advance(len(job.slots), job.seconds),
        )
    summary = summarize(work)
    print("\n".join(summary_lines(work, summary, seconds)), flush=True)
    return 1 if summary.failed else 0


def _say(line: str) -> None:
    print(f"featurize: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    given = _parse()
    code = main(given)
    if code == _STOPPED:
        _say(f"stopped; {_GO_ON}")
    # Jobs that were cut short may be inside C++ code, which an orderly end of the interpreter aborts. Of worker
    # processes all are gone by now, and what they shared is cleared away in order alone.
    if code > 1 and given.engine != "processes":
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
