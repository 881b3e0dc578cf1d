"""Folds on a Dask cluster: each worker trains one fold at a time into the predictions folder that all of them see.

A worker offers one "fold", a Dask resource, and is given one fold at a time, so that no fold waits at a worker and
is blamed for its death, as Dask does. The fold of a worker that died goes to another, which resumes it after its
last finished epoch: the folder holds its checkpoint. A worker trains what this machine would, up to rounding: the
device is the worker's own. A fold that nobody waits for any more, as its run was stopped, ends with the batch that
it is at.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from io import StringIO
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from distributed import Client, Future, KilledWorker, Worker, WorkerPlugin, get_worker
from distributed.comm import get_address_host_port

from ensemble import PredictionsFolder
from train.input.dataset import Dataset
from train.progress import RunProgress
from train.settings import Settings, SettingsError

CONNECT_S = 10
LOOK_S = 2  # between looks at which workers there are, while no fold ends
NO_WORKERS_S = 60  # long enough for a worker to be started again
RELEASE_S = 60  # that a worker which nobody waits for any more may need to release its fold
DEATHS = 3  # workers that may die of a fold
_RERUN = "then rerun the same command, without --force, to resume"
_NOT_UNDERSTOOD = "deserialization"  # what a scheduler or a worker says that lacks a package
TrainFold = Callable[..., dict[str, Any]]


def train_on_cluster(
    dataset: Dataset, folder: PredictionsFolder, folds: list[int], progress: RunProgress, *, train_fold: TrainFold
) -> Iterator[dict[str, Any]]:
    """Train folds on the workers of the cluster at `settings.scheduler`; yields what each fold's marker says.

    Args:
        train_fold: trains a fold on a worker, from settings, fold, progress and wait_s; `train.run.train_fold_of`.
    Raises:
        SettingsError: no scheduler or no worker, at first or later; a worker does not see the cache or the folder,
            or lacks earmark; too many workers died of a fold; or whatever stops a fold.
    """
    settings = dataset.settings
    there = replace(settings, work=settings.work.absolute(), cache=_absolute(settings), scheduler=None, force=False)
    with connected(settings.scheduler) as client:

        def submit(fold: int, worker: str) -> Future:
            options = {"workers": [worker], "resources": {"fold": 1}, "pure": False}
            return client.submit(_train_there, train_fold, there, fold, **options)

        for result in _results(client, folds, submit):
            if result["fold"] not in folder.finished:
                raise SettingsError(
                    f"{folder.path}: a worker trained fold {result['fold']}, but its files are not here; give "
                    "--work a folder that all machines share"
                )
            yield result


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """A client of a scheduler, such as tcp://127.0.0.1:8786, whose workers offer one "fold" each.

    Raises:
        SettingsError: it cannot be reached, or has no worker.
    """
    for name in ("distributed", "tornado", "asyncio", *logging.root.manager.loggerDict):
        if name.split(".")[0] in {"distributed", "tornado", "asyncio"}:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)  # what matters of it is said in one line of ours
    try:
        get_address_host_port(address)  # first: a client that fails on the address itself stays half open
        client = Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError, ImportError) as error:
        reason = " ".join(str(error).split())
        raise SettingsError(
            f"--scheduler must be the address of a running Dask scheduler, got no answer from {address} "
            f"({reason}); start one with `dask scheduler`, or correct the address"
        ) from error
    try:
        if not _workers(client):
            raise SettingsError(f"{address}: this cluster has no worker; start one with `dask worker`")
        with _earmark_everywhere():
            client.register_plugin(OneFold())  # which workers that join later get too
        yield client
    finally:
        with suppress(OSError, TimeoutError):  # the scheduler may be gone
            client.close(timeout=LOOK_S)


class OneFold(WorkerPlugin):
    """Lets a worker offer one "fold" as a resource, however many threads it has: they would share Keras's state."""

    name = "earmark-one-fold"

    async def setup(self, worker: Worker) -> None:
        """Offer it."""
        await worker.set_resources(fold=1)


def _results(client: Client, folds: list[int], submit: Callable[[int, str], Future]) -> Iterator[dict[str, Any]]:
    """Give each worker one fold at a time, by its address; what each fold's marker says, as they end."""
    waiting, ended, deaths, seen = list(folds), Queue(), Counter(), time.monotonic()
    at: dict[Future, tuple[int, str]] = {}  # the fold that it trains, and the worker
    try:
        while waiting or at:
            workers = _workers(client)
            if workers:
                seen = time.monotonic()
            elif time.monotonic() - seen >= NO_WORKERS_S:
                raise SettingsError(
                    f"the cluster has had no worker for {NO_WORKERS_S} s; start some with `dask worker`, {_RERUN}"
                )
            for future, (fold, worker) in list(at.items()):
                if worker not in workers and not future.done():  # it died
                    del at[future]
                    future.release()
                    waiting.append(fold)
                    deaths[fold] += 1
                    if deaths[fold] > DEATHS:
                        raise _killed(fold, deaths[fold])
            free = sorted(workers - {worker for _, worker in at.values()})
            for worker in free[: len(waiting)]:
                fold = waiting.pop(0)
                future = submit(fold, worker)
                at[future] = fold, worker
                future.add_done_callback(ended.put)
            try:
                future = ended.get(timeout=LOOK_S)
            except Empty:
                continue
            if future in at:
                yield _result(future, at.pop(future)[0])
    finally:
        for future in at:
            future.release()  # which cancels it, without waiting for an answer


def _workers(client: Client) -> set[str]:
    """The addresses of the workers that there are now."""
    return set(client.scheduler_info(n_workers=-1)["workers"])


def _result(future: Future, fold: int) -> dict[str, Any]:
    """What a fold's marker says, or the error that kept the fold from its end."""
    if future.status not in ("finished", "error"):
        raise SettingsError(
            f"fold {fold}: the connection to the scheduler was lost; finished folds and epochs are kept; see that "
            f"it is back, {_RERUN}"
        )
    try:
        with _earmark_everywhere():
            return future.result()
    except KilledWorker as error:
        raise _killed(fold, error.allowed_failures + 1) from error


@contextmanager
def _earmark_everywhere() -> Iterator[None]:
    try:
        yield
    except (ImportError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and _NOT_UNDERSTOOD not in str(error):
            raise
        raise SettingsError(
            f"the scheduler or a worker does not have earmark installed as here ({error.__cause__ or error}); "
            "install it there"
        ) from error


def _killed(fold: int, deaths: int) -> SettingsError:
    return SettingsError(f"fold {fold}: {deaths} workers died while they trained it; see to their memory, {_RERUN}")


def _absolute(settings: Settings) -> str:
    place = str(settings.cache_path)
    return place if "://" in place else str(Path(place).absolute())


def _train_there(train_fold: TrainFold, settings: Settings, fold: int) -> dict[str, Any]:
    """On a worker: train one fold."""
    worker = get_worker()
    with _Wanted(worker, worker.get_current_task(), fold) as progress:
        return train_fold(settings, fold, progress, wait_s=RELEASE_S)


class _Wanted(RunProgress):
    """Shows nothing, and ends a fold that nobody waits for: Dask stops only tasks that have not begun."""

    def __init__(self, worker: Worker, task: str, fold: int):
        super().__init__(StringIO())
        self._worker, self._key, self._of = worker, task, fold

    def begin_epoch(self, epoch: int) -> None:
        """Look."""
        self._look()
        super().begin_epoch(epoch)

    def batch(self, n_clips: int, loss: float) -> None:
        """Look."""
        self._look()
        super().batch(n_clips, loss)

    def _look(self) -> None:
        task = self._worker.state.tasks.get(self._key)
        if task is None or task.state == "cancelled":
            raise SettingsError(f"fold {self._of}: the run that wanted it was stopped")
