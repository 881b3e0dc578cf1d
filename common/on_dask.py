"""A Dask cluster: calls a function on its workers, and gives the results as they end.

This process deals out the tasks itself, each to one worker, and to a worker only as many as it can begin soon. The
tasks of a worker that died are given to others when all else is begun, each to a worker that has nothing else: so a
task that kills its workers is found, and no other one is blamed. A worker that was only cut off may still be at its
tasks then. Functions travel as bytes that a worker unpacks, so the scheduler needs no package of ours.
"""

import logging
import pickle
import time
import warnings
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from queue import Empty, Queue
from typing import Any

import cloudpickle
from distributed import Client, Future, KilledWorker, Worker
from distributed.comm import get_address_host_port
from distributed.versions import VersionMismatchWarning

from common.errors import EarmarkError

CONNECT_S = 10
LOOK_S = 2  # between looks at which workers there are
NO_WORKERS_S = 60  # long enough for a worker to be started again, or a first one by a cluster that scales itself
DEATHS = 4  # of workers at one task, alone but for the first time, before it is given up
_PER_THREAD = 2  # tasks: one at work and the next one; 40,000 at once would weigh on the scheduler


class ClusterError(EarmarkError):
    """A cluster, or a worker of it, that cannot be used or was lost; the message is one line for the user."""


class Cluster:
    """A connection to a cluster; a context manager. What was submitted and has not begun ends with it."""

    def __init__(self, address: str):
        """Connect to a scheduler, such as tcp://127.0.0.1:8786.

        Raises:
            ClusterError: it cannot be reached.
        """
        self.address = address
        _quiet()
        try:
            get_address_host_port(address)  # a client that trips over this later hangs when Python ends
            self._client = Client(address, timeout=CONNECT_S, set_as_default=False)
        except (OSError, ValueError, ImportError) as error:
            raise ClusterError(
                f"--scheduler must be the address of a running Dask scheduler, got no answer from {address} "
                f"({' '.join(str(error).split())}); start one with `dask scheduler`, or correct the address"
            ) from error

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_) -> None:
        with suppress(OSError, TimeoutError):  # the scheduler may be gone
            self._client.close(timeout=LOOK_S)

    def workers(self) -> dict[str, dict[str, Any]]:
        """What the scheduler says of each worker that there is now, by its address."""
        return self._client.scheduler_info(n_workers=-1)["workers"]

    def _ready(self, resource: str | None) -> dict[str, dict[str, Any]]:
        """The workers that can be given tasks; one of which the scheduler has no offer yet is asked to offer."""
        workers = self.workers()
        new = [each for each in workers if resource and resource not in workers[each]["resources"]]
        if new:
            self._client.run(_offering_one(resource), workers=new, wait=False, on_error="ignore")
        return {each: workers[each] for each in workers if each not in new}

    def run(
        self,
        function: Callable[[Any], Any],
        tasks: Sequence[Any],
        name: Callable[[Any], str],
        resume: str = "finished work is kept: rerun the command to resume",
        resource: str | None = None,
    ) -> Iterator[tuple[Any, Any]]:
        """Call function(task) on a worker for each task; yield each task with its result as it ends.

        Args:
            name: what an error calls a task. resume: what an error advises.
            resource: a Dask resource of which each worker offers one and each task takes one, so that a worker has
                one task at a time, whatever other runs send. A worker is given tasks once the scheduler knows of
                its offer, which is renewed when a worker starts again. None: a worker has two tasks a thread.
        Raises:
            ClusterError: no scheduler or no worker any more, a worker without our packages, or, when all other
                tasks are done, one that killed every worker that took it. Else what function raises.
        """
        options = {"pure": False} | ({"resources": {resource: 1}} if resource else {})
        fresh, suspects, deaths = deque(range(len(tasks))), deque(), Counter()  # tasks by their number
        at: dict[Future, tuple[int, Any, str]] = {}  # a task's number, the task, the worker that has it
        ended, workers, looked, worker_seen = Queue(), {}, float("-inf"), time.monotonic()

        def died(future: Future) -> None:
            number, *_ = at.pop(future)
            future.release()
            deaths[number] += 1
            if deaths[number] < DEATHS:
                suspects.append(number)

        try:
            while fresh or suspects or at:
                if not workers or time.monotonic() - looked >= LOOK_S:
                    workers, looked = self._ready(resource), time.monotonic()
                    worker_seen = looked if workers else worker_seen
                    rooms = {each: 1 if resource else _PER_THREAD * workers[each]["nthreads"] for each in workers}
                    for future in [each for each in at if at[each][2] not in workers and not each.done()]:
                        died(future)
                    if not workers and not at and looked - worker_seen >= NO_WORKERS_S:
                        break
                load = Counter(worker for *_, worker in at.values())
                while workers and (fresh or suspects):
                    worker = min(sorted(workers), key=lambda each: load[each] / rooms[each])
                    if load[worker] >= (rooms[worker] if fresh else 1):
                        break
                    number = (fresh or suspects).popleft()
                    packed = cloudpickle.dumps((function, task := tasks[number]))
                    future = self._client.submit(_unpacking(), packed, workers=[worker], **options)
                    at[future] = number, task, worker
                    load[worker] += 1
                    future.add_done_callback(ended.put)
                try:
                    future = ended.get(timeout=LOOK_S if workers else LOOK_S / 10)
                except Empty:
                    continue
                if future not in at:
                    continue  # of a worker that was cut off
                if future.status not in ("finished", "error"):
                    raise ClusterError(f"{self.address}: the connection to the scheduler was lost; {resume}")
                error = future.exception()
                if isinstance(error, KilledWorker):  # of a scheduler that is stricter than we are
                    died(future)
                elif isinstance(error, ImportError):
                    raise ClusterError(
                        f"a worker must have earmark installed as here, got: {error}; install it there"
                    )
                elif error is not None:
                    raise error
                else:
                    yield at.pop(future)[1], future.result()
        finally:
            for future in at:
                future.release()  # which cancels it, without waiting for an answer
        for number in (number for number in deaths if deaths[number] >= DEATHS):
            raise ClusterError(
                f"{name(tasks[number])}: {DEATHS} workers were killed at this job, by memory that ran out or a "
                f"crash; {resume}"
            )
        if fresh or suspects:
            raise ClusterError(
                f"{self.address}: there was no worker for {NO_WORKERS_S} s; start some with "
                f"`dask worker {self.address}`; {resume}"
            )


def _offering_one(resource: str) -> Callable[[Worker], Awaitable[None]]:
    """Lets a worker offer one of a resource; as a function within a function, it travels by its code."""

    async def earmark(dask_worker: Worker) -> None:
        await dask_worker.set_resources(**{resource: 1})

    return earmark


def _unpacking() -> Callable[[bytes], Any]:
    """The function that calls what is packed; as one within another, it travels by its code."""

    def earmark(packed: bytes) -> Any:
        try:
            function, task = pickle.loads(packed)
        except Exception as error:
            raise ImportError(error) from None
        return function(task)

    return earmark


def _quiet() -> None:
    """Keep the libraries' own lines from the terminal: what matters of them is said in one line of ours."""
    for name in ("distributed", "tornado", "asyncio", *logging.root.manager.loggerDict):
        if name.split(".")[0] in {"distributed", "tornado", "asyncio"}:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    warnings.simplefilter("ignore", VersionMismatchWarning)
