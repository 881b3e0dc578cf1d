"""Where jobs run on this machine: threads of this process, or processes, by joblib; `featurize.cluster` has more.

Decoding, resampling and FFTs release the GIL, so threads scale and have no start-up to pay; processes pay off
where many cores make them faster. Either way BLAS is pinned to one thread: with more, its last bits change.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Literal

from joblib import Parallel, cpu_count, delayed, parallel_config
from joblib.externals.loky import get_reusable_executor
from threadpoolctl import threadpool_limits

Engine = Literal["threads", "processes", "dask"]
_BACKENDS = {
    "threads": {"backend": "threading"},
    "processes": {"backend": "loky", "inner_max_num_threads": 1},
}


class WorkerKilledError(RuntimeError):
    """A worker process died; what it had committed counts."""


class ClusterError(RuntimeError):
    """A cluster, or a worker of it, that cannot be used; the message is one line for the user."""


class ClusterLostError(ClusterError):
    """A cluster that went away during the run; what was committed counts."""


def run_jobs(function: Callable, jobs: Iterable, n_jobs: int, engine: Engine) -> Iterator:
    """Call function on each job, n_jobs at a time, and yield what they return as they end.

    Raises:
        WorkerKilledError: a worker process was killed. Else what a job raises.
    """
    with threadpool_limits(1), parallel_config(n_jobs=n_jobs, **_BACKENDS[engine]):
        try:
            yield from Parallel(return_as="generator_unordered")(delayed(function)(job) for job in jobs)
        except BrokenProcessPool as error:
            raise WorkerKilledError("a worker process was killed, by the system if memory ran out") from error
        finally:
            if engine == "processes":  # joblib keeps its workers for minutes, for a next call that does not come
                get_reusable_executor().shutdown(wait=True, kill_workers=True)


def default_jobs() -> int:
    """The processors that this process may use."""
    return cpu_count()
