"""Folds on a Dask cluster: each worker trains a fold at a time into the predictions folder that all of them see.

A fold whose worker dies goes to another, which goes on after the last epoch that was finished: the folder holds its
checkpoint. What a worker trains is what this machine would, up to rounding: the device is the worker's own. A fold
that nobody waits for any more, as the run was stopped, ends with the batch that it is at.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from io import StringIO
from queue import Empty, Queue
from threading import Lock
from typing import TYPE_CHECKING

from distributed import Client, Future, KilledWorker, Worker, get_worker
from distributed.comm import get_address_host_port

from cache import open_cache
from cache.places import on_disk
from train.dataset import open_dataset
from train.folds import assign_folds
from train.progress import RunProgress
from train.quiet import quiet_distributed
from train.settings import Settings, SettingsError

if TYPE_CHECKING:
    from cache.places import Place

_CONNECT_S = 10
_LOOK_S = 2  # between looks at how many workers there are, while no fold ends
_NO_WORKERS_S = 60  # long enough for a worker to be started again
_LET_GO_S = 60  # that a worker which nobody waits for any more may need to let go of its fold
_AGAIN = "then go on with the same command, without --force"
_NOT_UNDERSTOOD = "deserialization of the task graph"  # what a scheduler says that lacks a package
_ONE_AT_A_TIME = Lock()  # in a worker: threads of it would share Keras's state


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """A client of a scheduler, such as tcp://127.0.0.1:8786.

    Raises:
        SettingsError: it cannot be reached, or has no worker.
    """
    quiet_distributed()
    try:
        get_address_host_port(address)  # first: a client that fails on the address itself stays half open
        client = Client(address, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError, ImportError) as error:
        reason = " ".join(str(error).split())
        raise SettingsError(
            f"--scheduler must be the address of a running Dask scheduler, got no answer from {address} "
            f"({reason}); "
            "start one with `dask scheduler`, or mend the address"
        ) from error
    try:
        if not client.scheduler_info(n_workers=-1)["workers"]:
            raise SettingsError(f"{address}: cluster must have a worker, got none; start one with `dask worker`")
        yield client
    finally:
        with suppress(OSError, TimeoutError):  # the scheduler may be gone
            client.close(timeout=_LOOK_S)


def train_on_cluster(client: Client, settings: Settings, folds: list[int]) -> Iterator[dict]:
    """Train folds on a cluster's workers; yields what each fold's marker says, as they end.

    Raises:
        SettingsError: a worker does not see the cache or the folder, or lacks earmark; a fold killed every worker
            that took it; no scheduler, or no worker, any more; or whatever stops a fold.
    """
    there = replace(
        settings,
        work=settings.work.absolute(),
        cache=str(_absolute(settings.cache_path)),
        scheduler=None,
        force=False,
    )
    futures = {client.submit(_train_fold, there, fold, pure=False): fold for fold in folds}
    try:
        for future in _ended(client, list(futures)):
            yield _result(future, futures[future])
    finally:
        for future in futures:
            future.release()  # which cancels it, without waiting for an answer


def _ended(client: Client, futures: list[Future]) -> Iterator[Future]:
    """Futures as they end, in whatever way."""
    ended: Queue[Future] = Queue()
    for future in futures:
        future.add_done_callback(ended.put)
    n_left, worker_seen = len(futures), time.monotonic()
    while n_left:
        try:
            future = ended.get(timeout=_LOOK_S)
        except Empty:
            if client.scheduler_info(n_workers=-1)["workers"]:
                worker_seen = time.monotonic()
            elif time.monotonic() - worker_seen >= _NO_WORKERS_S:
                raise SettingsError(
                    f"cluster must keep a worker, got none for {_NO_WORKERS_S} s; start some with `dask worker`, "
                    f"{_AGAIN}"
                ) from None
            continue
        n_left -= 1
        yield future


def _result(future: Future, fold: int) -> dict:
    """What a fold's marker says, or the error that kept the fold from its end."""
    if future.status not in ("finished", "error"):
        raise SettingsError(
            f"fold {fold}: scheduler must stay reachable, got its connection lost; finished folds and epochs are "
            f"kept: see that it is back, {_AGAIN}"
        )
    try:
        return future.result()
    except KilledWorker as error:
        raise SettingsError(
            f"fold {fold}: workers must live through it, got {error.allowed_failures + 1} that died; see to their "
            f"memory, {_AGAIN}"
        ) from error
    except (ImportError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and _NOT_UNDERSTOOD not in str(error):
            raise
        raise SettingsError(
            f"fold {fold}: scheduler and workers must have earmark installed as here, got: "
            f"{error.__cause__ or error}; install it there"
        ) from error


def _absolute(place: "Place") -> "Place":
    return place.absolute() if on_disk(place) else place


def _train_fold(settings: Settings, fold: int) -> dict:
    """On a worker: train one fold, as `python -m train --fold` does."""
    from train.run import run  # imported here, as it imports this module

    worker = get_worker()
    progress = _Wanted(worker, worker.get_current_task(), fold)
    with _ONE_AT_A_TIME, progress:
        dataset = open_dataset(open_cache(settings.cache_path), settings)
        folder = run(settings, dataset, assign_folds(dataset, settings), [fold], progress, wait_s=_LET_GO_S)
        return folder.result(fold)


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
            raise SettingsError(f"fold {self._of}: its run must be there, got one that was stopped")
