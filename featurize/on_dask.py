"""Where jobs run on a Dask cluster, through dask.distributed's own client.

A worker that dies or is cut off is survived: the scheduler gives its job to another one, which writes the same
bytes. A worker that was only cut off may still be at work then, or even after the run: before a job begins, and
again before it writes, its worker looks whether the cache is still this run's.

Same bytes are promised among workers with the same versions of libraries, the same code of ours and the same
processor: the mel kernel is compiled for the processor that it runs on, and BLAS and NumPy choose theirs by it, so
another one gives other last bits. Each worker compares all of these with the process that runs the command; one
that differs ends the run.
"""

import logging
import pickle
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path

import cloudpickle
import xxhash
from distributed import Client, Future, KilledWorker, as_completed, get_worker
from distributed.comm import get_address_host_port
from distributed.versions import VersionMismatchWarning
from llvmlite.binding import get_host_cpu_features, get_host_cpu_name
from threadpoolctl import threadpool_limits

from cache.lock import Hold
from cache.storage import CacheError, Storage
from common import EarmarkError
from common.text import listed
from featurize.job import Job, computed_by

_CONNECT_S = 10
_LOOK_S = 2  # between looks at how many workers there are, while no job ends
_NO_WORKERS_S = 60  # long enough for a worker to be started again, or a first one by a cluster that scales itself
_JOBS_PER_THREAD = 2  # one at work and the next one: 40,000 at once would weigh on the scheduler
_RESUME = "finished work is kept: rerun the command to resume"


class ClusterError(EarmarkError):
    """A cluster, or a worker of it, that cannot be used or was lost; the message is one line for the user."""


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
                f"({' '.join(str(error).split())}); start one with `dask scheduler`, or correct the address"
            ) from error

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_) -> None:
        with suppress(OSError, TimeoutError):  # the scheduler may be gone
            self._client.close(timeout=_LOOK_S)

    def run_jobs(self, function: Callable, jobs: Iterable[Job], hold: Hold, data: Storage) -> Iterator[Job]:
        """Call function(job, before_commit=...) on a worker for each job, and yield the jobs as they end.

        A worker that dies is blamed on all jobs that it had: those that were there too often run again at the end,
        one at a time, to find the one that it was.

        Args:
            hold: of the cache, which this process writes. data: the dataset. Both with absolute paths.
        Raises:
            ClusterError: a worker that cannot be used, one job that killed every worker that took it, or no
                scheduler or no worker any more. Else what a job raises.
        """
        on_worker = partial(_on_worker, function, Terms.of(hold, data))
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
        """Submit jobs until the workers have enough; the new ones."""
        room = max(1, _JOBS_PER_THREAD * self._n_threads) - len(running)
        new = {self._send(on_worker, job): job for job in islice(jobs, max(0, room))}
        running |= new
        return list(new)

    def _send(self, on_worker: Callable, job: Job) -> Future:
        packed = cloudpickle.dumps(partial(on_worker, job))  # which the scheduler need not understand
        return self._client.submit(_unpacking(), packed, pure=False)

    def _error(self, future: Future) -> BaseException | None:
        """Why a job failed, None where it did not.

        Raises:
            ClusterError: the scheduler is not there any more.
        """
        if future.status == "finished":
            return None
        if future.status != "error":
            raise ClusterError(f"{self._address}: the connection to the scheduler was lost; {_RESUME}")
        return future.exception()

    def _look(self, running: dict[Future, Job]) -> None:
        """Count the workers' threads.

        Raises:
            ClusterError: there has been no worker for too long.
        """
        self._n_threads = self._client.scheduler_info(n_workers=0).get("total_threads", 0)
        now = time.monotonic()
        if self._n_threads:
            self._worker_seen = now
        elif now - self._worker_seen >= _NO_WORKERS_S:
            waiting = f", while {_name(next(iter(running.values())))} waits" if running else ""
            raise ClusterError(
                f"{self._address}: there was no worker for {_NO_WORKERS_S} s{waiting}; "
                f"start some with `dask worker {self._address}`; {_RESUME}"
            )


@dataclass(frozen=True)
class Terms:
    """What a worker must find as this process does: its hold of the cache, the dataset, what bytes depend on."""

    hold: Hold
    data: Storage
    csv_bytes: int | None
    depends_on: dict[str, str]

    @classmethod
    def of(cls, hold: Hold, data: Storage) -> "Terms":
        """The terms of a run, as this process sees its cache and dataset."""
        return cls(hold, data, _csv_bytes(data), bytes_depend_on())

    def check(self, worker: str) -> None:
        """Compare with what a worker sees.

        Raises:
            ClusterError: something differs; one line that says what.
        """
        self.check_hold(worker)
        if _csv_bytes(self.data) != self.csv_bytes:
            raise ClusterError(
                f"worker {worker}: the dataset must be at {self.data} as here, got another or none; "
                "put it on a disk that all workers share"
            )
        here, there = self.depends_on, bytes_depend_on()
        differing = [name for name in here | there if here.get(name) != there.get(name)]
        if differing:
            found = listed(
                f"{name} {there.get(name, 'none')} (here {here.get(name, 'none')})" for name in differing
            )
            raise ClusterError(
                f"worker {worker}: computes other bytes than this process may, got {found}; "
                "use workers with the same libraries, code and processor"
            )

    def check_hold(self, worker: str) -> None:
        """Whether a worker sees this run as the one that writes the cache.

        Raises:
            ClusterError: it does not, or the run has ended.
        """
        try:
            self.hold.check()
        except CacheError as error:
            raise ClusterError(
                f"worker {worker}: the cache must be at {self.hold.storage} as here, got another or none, or one "
                "that this run does not hold any more; put it on a disk that all workers share"
            ) from error


@lru_cache(maxsize=1)
def bytes_depend_on() -> dict[str, str]:
    """What a chunk's bytes depend on beside recordings: versions of libraries, our code, and the processor.

    The processor's name and instruction sets are those that numba compiles for.
    """
    digest, root = xxhash.xxh3_64(), Path(__file__).resolve().parents[1]
    for path in sorted(path for package in ("cache", "featurize") for path in (root / package).rglob("*.py")):
        digest.update(path.read_bytes())
    has = {name: "yes" for name, has in sorted(get_host_cpu_features().items()) if has}
    return {**computed_by(), "earmark's code": digest.hexdigest()[:8], "processor": get_host_cpu_name(), **has}


def _csv_bytes(data: Storage) -> int | None:
    found = data.look("train.csv")
    return found and found.size


def _explained(error: BaseException, job: Job) -> BaseException:
    """An error of a job, those that a cluster adds in words of ours."""
    if isinstance(error, KilledWorker):
        return ClusterError(
            f"{_name(job)}: {error.allowed_failures + 1} workers were killed at this job, by memory that ran out "
            f"or a recording that crashes the decoder; {_RESUME}"
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
    function(job, before_commit=lambda: terms.check_hold(worker))


def _name(job: Job) -> str:
    first, last = job.slots[0].file, job.slots[-1].file
    return first if len(job.slots) == 1 else f"the {len(job.slots)} clips from {first} to {last}"


def _quiet() -> None:
    """Keep the libraries' own lines from the terminal: what matters of them is said in one line of ours."""
    for name in ("distributed", "tornado", "asyncio", *logging.root.manager.loggerDict):
        if name.split(".")[0] in {"distributed", "tornado", "asyncio"}:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    warnings.simplefilter("ignore", VersionMismatchWarning)
