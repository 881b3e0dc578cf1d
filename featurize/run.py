"""The run: plan, clip table, jobs, fold. What a run that is killed has done by then counts."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cache.clips import write_clips
from cache.errors import CacheError
from cache.files import sweep_partials
from cache.folder import Cache
from cache.lock import writing
from cache.plan import write_plan
from cache.specification import Specification
from featurize.dataset import Dataset
from featurize.engine import Engine, run_jobs
from featurize.job import Job, run_job
from featurize.work import Work, with_digests, work_out


@dataclass(frozen=True)
class Options:
    """How a run goes about it; see the command line's help."""

    n_jobs: int = 1
    engine: Engine = "threads"
    prune: bool = False
    force: bool = False
    stop_on_error: bool = False


def plan_run(dataset: Dataset, cache: Path, specifications: Sequence[Specification], options: Options) -> Work:
    """Say what a run would do; nothing is written.

    Raises:
        CacheError: a table or an asked store is foreign, newer, or damaged beyond mending.
    """
    return work_out(
        dataset, Cache(cache), specifications, options.prune, options.force, stop_on_error=options.stop_on_error
    )


def run(
    dataset: Dataset,
    cache: Path,
    specifications: Sequence[Specification],
    options: Options,
    on_plan: Callable[[Work], None] = lambda work: None,
    on_job: Callable[[Job], None] = lambda job: None,
) -> tuple[Work, float]:
    """Bring a cache up to date with its dataset.

    Args:
        cache: the cache's folder; made if need be.
        on_plan: called with the work before anything of it is done. on_job: called after each job.
    Returns:
        the work done, its stores' receipts read again, and the seconds that the jobs took.
    Raises:
        CacheError: another writer, a store that is refused, or a disk that is too small.
        StoppedError: a clip failed and options.stop_on_error is set.
        OSError: something could not be written.
    """
    with writing(cache):
        sweep_partials(cache)
        work = plan_run(dataset, cache, specifications, options)
        on_plan(work)
        _check_space(work)
        write_plan(cache, work.scan.plan)  # before the first chunk of a new group
        write_clips(cache, work.clips)
        for store in work.stores:
            store.fold(work.scan.plan)
        started = time.monotonic()
        for job in run_jobs(_run_and_return, work.jobs, options.n_jobs, options.engine):
            on_job(job)
        seconds = time.monotonic() - started
        for store in work.stores:
            store.fold(work.scan.plan)
        write_plan(cache, with_digests(work.scan.plan, work.stores))
    return work, seconds


def _run_and_return(job: Job) -> Job:
    run_job(job)
    return job


def _check_space(work: Work) -> None:
    if work.n_bytes > work.free_bytes:
        raise CacheError(
            f"{work.cache.path}: free disk must be at least {work.n_bytes / 1e6:,.1f} MB, "
            f"got {work.free_bytes / 1e6:,.1f} MB; free some, or put the cache elsewhere with --cache"
        )
