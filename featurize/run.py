"""The run: plan, clip table, jobs, fold. What a run that is killed has done by then counts."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cache.clips import write_clips
from cache.errors import CacheError
from cache.folder import Cache
from cache.lock import writing
from cache.mend import make_ready
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
    scheduler: str | None = None
    prune: bool = False
    force: bool = False
    stop_on_error: bool = False
    fsync: bool = False


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
        ClusterError: the cluster, or a worker of it, cannot be used or is lost.
        WorkerKilledError: a worker process was killed.
        OSError: something could not be written.
    """
    with _cluster(options) as cluster, writing(cache):
        make_ready(cache)
        if options.fsync:
            os.sync()  # what earlier runs have left, with --fsync or without, counts from here on
        work = plan_run(dataset, cache, specifications, options)
        on_plan(work)
        _check_space(work)
        write_plan(cache, work.scan.plan, options.fsync)  # before the first chunk of a new group
        write_clips(cache, work.clips, options.fsync)
        for store in work.stores:
            store.fold(work.scan.plan, options.fsync)
        started = time.monotonic()
        with closing(_run_jobs(work, options, cluster)) as done:
            for job in done:
                on_job(job)
        seconds = time.monotonic() - started
        if work.jobs:
            for store in work.stores:
                store.read_again()
                store.fold(work.scan.plan, options.fsync)
            write_plan(cache, with_digests(work.scan.plan, work.stores), options.fsync)
    return work, seconds


def _cluster(options: Options) -> AbstractContextManager:
    """The cluster that jobs are to run on; None for this machine."""
    if options.engine != "dask":
        return nullcontext()
    from featurize.cluster import Cluster  # here, as dask.distributed is an extra, and takes a second to import

    return Cluster(options.scheduler)


def _run_jobs(work: Work, options: Options, cluster) -> Iterator[Job]:
    if cluster is None:
        return run_jobs(partial(_run_and_return, durable=options.fsync), work.jobs, options.n_jobs, options.engine)
    return cluster.run_jobs(
        partial(run_job, durable=options.fsync), work.jobs, work.cache.path, work.dataset.folder
    )


def _run_and_return(job: Job, durable: bool) -> Job:
    run_job(job, durable)
    return job


def _check_space(work: Work) -> None:
    if work.free_bytes is not None and work.n_bytes > work.free_bytes:
        raise CacheError(
            f"{work.cache.path}: free disk must be at least {work.n_bytes / 1e6:,.1f} MB, "
            f"got {work.free_bytes / 1e6:,.1f} MB; free some, or put the cache elsewhere with --cache"
        )
