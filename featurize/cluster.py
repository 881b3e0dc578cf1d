"""Where jobs run on a Dask cluster, through dask.distributed's own client.

A worker that dies or is cut off is survived: the scheduler gives its job to another, which writes the same bytes.
One that was only cut off may still be at work then, or even after the run: before a job begins, and again before
it writes, its worker looks whether the cache is still this run's. The same look finds workers that do not see the
cache, or compute with other versions.
"""

import logging
import pickle
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import cloudpickle
from distributed import Client, Future, KilledWorker, as_completed, get_worker
from distributed.comm import get_address_host_port
from distributed.versions import VersionMismatchWarning
from threadpoolctl import threadpool_limits

from featurize.engine import ClusterError, ClusterLostError, WorkerKilledError
from featurize.job import Job
from featurize.terms import Terms, absolute

if TYPE_CHECKING:
    from cache.places import Place

_CONNECT_S = 10
_LOOK_S = 2  # between looks at how many workers there are, while no job ends
_NO_WORKERS_S = 60  # long enough for a worker to be started again, or a first one by a cluster that scales itself
_JOBS_PER_THREAD = 2  # one at work and one to go on with: 40,000 at once would weigh on the scheduler


class Cluster:
    """A connection to a cluster; a context manager. What was submitted and has not begun ends with it."""

    def __init__(self, address: str):
        """Connect to a scheduler, such as tcp://127.0.0.1:8786.

        Raises:
            ClusterError: it cannot be reached.
        """
        _quiet()
        self._address, self._n_threads, self._worker_seen = address, 0, time.monotonic()
        try:
            get_address_host_port(address)  # a client that trips over this later hangs when Python ends
            self._client = Client(address, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, ValueError, ImportError) as error:
            raise ClusterError(
                f"{address}: --scheduler must be the address of a running Dask scheduler, got no answer "
                f"({' '.join(str(error).split())}); start one with `dask scheduler`, or mend the address"
            ) from error

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_) -> None:
        with suppress(OSError, TimeoutError):  # the scheduler may be gone
            self._client.close(timeout=_LOOK_S)

    def run_jobs(self, function: Callable, jobs: Iterable[Job], cache: "Place", data: "Place") -> Iterator[Job]:
        """Call function(job, before_commit=...) on a worker for each job, and yield the jobs as they end.

        A worker that dies is blamed on all jobs that it had: those that were there too often run again at the end,
        one at a time, to find the one that it was.

        Args:
            cache, data: folders of the cache, which this process holds for writing, and of the dataset.
        Raises:
            ClusterError: a worker that cannot be used. ClusterLostError: no scheduler, or no worker, any more.
            WorkerKilledError: a job killed every worker that took it. Else what a job raises.
        """
        on_worker = partial(_on_worker, function, Terms.of(cache, data))
        suspects: list[Job] = []
        yield from self._run(on_worker, iter(jobs), suspects)
        for job in suspects:
            yield from self._run(on_worker, iter([job]))

    def _run(self, on_worker: Callable, jobs: Iterator[Job], suspects: list[Job] | None = None) -> Iterator[Job]:
        running: dict[Future, Job] = {}
        try:
            self._look(running)
            ended = as_completed(self._submit(on_worker, jobs, running), self._client.loop, timeout=_LOOK_S)
            while running:
                try:
                    future = next(ended)
                except TimeoutError:
                    self._look(running)
                    self._submit(on_worker, jobs, running)
                    ended = as_completed(list(running), self._client.loop, timeout=_LOOK_S)
                    continue
                job, error = running.pop(future), self._error(future)
                ended.update(self._submit(on_worker, jobs, running))
                if error is None:
                    yield job
                elif isinstance(error, KilledWorker) and suspects is not None:
                    suspects.append(job)
                else:
                    raise _explained(error, job)
        finally:
            for future in running:
                future.release()  # which cancels it, without waiting for an answer

    def _submit(self, on_worker: Callable, jobs: Iterator[Job], running: dict[Future, Job]) -> list[Future]:
        """Fill the running jobs up; the new ones."""
        room = max(1, _JOBS_PER_THREAD * self._n_threads) - len(running)
        new = {self._send(on_worker, job): job for job in islice(jobs, max(0, room))}
        running |= new
        return list(new)

    def _send(self, on_worker: Callable, job: Job) -> Future:
        packed = cloudpickle.dumps(partial(on_worker, _anywhere(job)))  # which the scheduler need not understand
        return self._client.submit(_unpacking(), packed, pure=False)

    def _error(self, future: Future) -> BaseException | None:
        """What kept a job from its end; a worker that died is none of its own.

        Raises:
            ClusterLostError: the scheduler is not there any more.
        """
        if future.status == "finished":
            return None
        if future.status != "error":
            raise ClusterLostError(f"{self._address}: scheduler must stay reachable, got its connection lost")
        return future.exception()

    def _look(self, running: dict[Future, Job]) -> None:
        """Count the workers' threads.

        Raises:
            ClusterLostError: there has been no worker for too long.
        """
        self._n_threads = self._client.scheduler_info(n_workers=0).get("total_threads", 0)
        now = time.monotonic()
        if self._n_threads:
            self._worker_seen = now
        elif now - self._worker_seen >= _NO_WORKERS_S:
            waiting = f", while {_name(next(iter(running.values())))} waits" if running else ""
            raise ClusterLostError(
                f"{self._address}: must have a worker, got none for {_NO_WORKERS_S} s{waiting}; "
                f"start some with `dask worker {self._address}`"
            )


def _explained(error: BaseException, job: Job) -> BaseException:
    """An error of a job, those that a cluster adds in words of ours."""
    if isinstance(error, KilledWorker):
        return WorkerKilledError(
            f"{_name(job)}: must leave its workers alive, got {error.allowed_failures + 1} of them killed, by "
            "memory that ran out or a recording that crashes the decoder"
        )
    if isinstance(error, ImportError):
        return ClusterError(f"a worker must have earmark installed as here, got: {error}; install it there")
    return error


def _unpacking() -> Callable[[bytes], None]:
    """The function that calls what is packed; as one within another, it travels by its code."""

    def featurize_group(packed: bytes) -> None:
        try:
            function = pickle.loads(packed)
        except Exception as error:
            raise ImportError(error) from None
        function()

    return featurize_group


def _on_worker(function: Callable, terms: Terms, job: Job) -> None:
    worker = get_worker().address
    terms.check(worker)
    threadpool_limits(1)  # for good: another thread of this worker may be at a job when this one ends
    function(job, before_commit=lambda: terms.check_holder(worker))


def _anywhere(job: Job) -> Job:
    """The job with paths that do not depend on the working directory."""
    slots = tuple(replace(slot, path=absolute(slot.path)) for slot in job.slots)
    targets = tuple(replace(target, store=absolute(target.store)) for target in job.targets)
    return replace(job, slots=slots, targets=targets)


def _name(job: Job) -> str:
    first, last = job.slots[0].path, job.slots[-1].path
    return str(first) if len(job.slots) == 1 else f"the {len(job.slots)} clips from {first} to {last.name}"


def _quiet() -> None:
    """Keep the libraries' own lines from the terminal: what matters of them is said in one line of ours."""
    for name in ("distributed", "tornado", "asyncio", *logging.root.manager.loggerDict):
        if name.split(".")[0] in {"distributed", "tornado", "asyncio"}:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    warnings.simplefilter("ignore", VersionMismatchWarning)
