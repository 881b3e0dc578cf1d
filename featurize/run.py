"""The run, from top to bottom: look, plan, tables, jobs, stores. What a run that is killed has done by then counts.

Jobs run in threads of this process or in processes, by joblib, or on a Dask cluster (`on_dask`). BLAS is pinned to
one thread in each: with more, its last bits change.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from functools import partial

from joblib import Parallel, cpu_count, delayed, parallel_config
from joblib.externals.loky import get_reusable_executor
from threadpoolctl import threadpool_limits

from cache.lock import Hold
from cache.receipts import read_receipts
from cache.specification import Specification
from cache.storage import CacheError, Storage, open_storage
from cache.writer import check_is_cache, load_tables, writing
from common import EarmarkError
from common.text import megabytes
from featurize.datasets import Dataset
from featurize.job import Job, run_job
from featurize.settings import Options
from featurize.todo import Todo, work_out

_BACKENDS = {
    "threads": {"backend": "threading"},
    "processes": {"backend": "loky", "inner_max_num_threads": 1},
}


class WorkerKilledError(EarmarkError):
    """A worker process died; what it had committed counts."""


def plan_run(dataset: Dataset, cache: Storage, specifications: Sequence[Specification], options: Options) -> Todo:
    """Say what a run would do; nothing is written.

    Raises:
        CacheError: the cache or an asked store is foreign, older or newer.
    """
    check_is_cache(cache)
    tables, rebuilt = load_tables(cache)
    return work_out(dataset, cache, tables, specifications, options, tuple(rebuilt))


def run(
    dataset: Dataset,
    cache: Storage,
    specifications: Sequence[Specification],
    options: Options,
    on_plan: Callable[[Todo], None] = lambda todo: None,
    on_job: Callable[[Job], None] = lambda job: None,
    on_sound: Callable[[float], None] = lambda seconds: None,
) -> tuple[Todo, float]:
    """Bring a cache up to date with its dataset.

    Args:
        cache: made if need be. on_plan: called with the work before any is done. on_job: called after each job.
        on_sound: in threads, called with the seconds of sound that were gone through, also within a job.
    Returns:
        the work done, its stores' receipts read again, and the seconds that the jobs took.
    Raises:
        CacheError: another writer, a cache or store that is refused, or a disk that is too small.
        StoppedError: a clip failed and options.on_error is "stop".
        ClusterError: the cluster, or a worker of it, cannot be used or is lost.
        WorkerKilledError: a worker process was killed.
        OSError: something could not be written.
    """
    durable = options.fsync
    if options.engine == "dask":  # whose workers have other working directories
        dataset, cache = replace(dataset, folder=_absolute(dataset.folder)), _absolute(cache)
    with _cluster(options) as cluster, writing(cache) as writer:
        if durable:
            os.sync()  # what earlier runs have left, durably or not, counts from here on
        todo = work_out(dataset, cache, writer.tables, specifications, options, tuple(writer.rebuilt))
        on_plan(todo)
        _check_space(todo)
        writer.write_tables(todo.clips, todo.scan.plan, durable)  # before the first chunk of a new group
        for store in todo.stores:
            writer.update_store(store.specification, todo.scan.plan, store.receipts, store.versions, durable)
        started = time.monotonic()
        with closing(_run_jobs(todo, options, writer.hold, cluster, on_sound)) as done:
            for job in done:
                on_job(job)
        seconds = time.monotonic() - started
        if todo.jobs:
            for store in todo.stores:
                store.receipts = read_receipts(store.storage, todo.scan.plan)
                writer.update_store(store.specification, todo.scan.plan, store.receipts, store.versions, durable)
            writer.write_tables(todo.clips, todo.plan(), durable)  # with the digests that the jobs found
    return todo, seconds


def run_jobs(function: Callable, jobs: Iterable, n_jobs: int, engine: str) -> Iterator:
    """Call function on each job, n_jobs at a time, in threads or processes; yield the jobs as they end.

    Raises:
        WorkerKilledError: a worker process was killed. Else what a job raises.
    """
    if engine == "processes":  # a killed worker leaves semaphores; loky's tracker removes them, and would warn
        os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker:UserWarning")
    with threadpool_limits(1), parallel_config(n_jobs=n_jobs, **_BACKENDS[engine]):
        try:
            yield from Parallel(return_as="generator_unordered")(delayed(_do)(function, job) for job in jobs)
        except BrokenProcessPool as error:
            raise WorkerKilledError(
                "a worker process was killed, by the system if memory ran out; "
                "finished work is kept: rerun the command to resume"
            ) from error
        finally:
            if engine == "processes":  # joblib keeps its workers for minutes, for a next call that does not come
                get_reusable_executor().shutdown(wait=True, kill_workers=True)


def _cluster(options: Options) -> AbstractContextManager:
    """The cluster that jobs are to run on; None for this machine."""
    if options.engine != "dask":
        return nullcontext()
    from common.on_dask import Cluster  # here, as dask.distributed is an extra, and takes a second to import

    return Cluster(options.scheduler)


def _run_jobs(
    todo: Todo, options: Options, hold: Hold, cluster, on_sound: Callable[[float], None]
) -> Iterator[Job]:
    function = partial(run_job, durable=options.fsync)
    if cluster is not None:
        from featurize.on_dask import run_on_cluster

        return run_on_cluster(cluster, function, todo.jobs, hold, todo.dataset.folder)
    function = partial(function, before_commit=hold.check)
    if options.engine == "threads":
        function = partial(function, on_sound=on_sound)
    return run_jobs(function, todo.jobs, options.jobs or cpu_count(), options.engine)


def _do(function: Callable, job: Job) -> Job:
    function(job)
    return job


def _absolute(storage: Storage) -> Storage:
    return open_storage(storage.path().absolute()) if storage.is_local else storage


def _check_space(todo: Todo) -> None:
    n_bytes = todo.jobs.n_bytes
    if todo.free_bytes is not None and n_bytes > todo.free_bytes:
        raise CacheError(
            f"{todo.cache}: free disk must be at least {megabytes(n_bytes)}, got {megabytes(todo.free_bytes)}; "
            "free some, or put the cache elsewhere with --cache"
        )
