"""Folds on a Dask cluster: each worker trains a fold at a time into the predictions folder that all of them see.

A fold whose worker dies goes to another, which goes on after the last epoch that was finished: the folder holds its
checkpoint. What a worker trains is what this machine would, up to rounding: the device is the worker's own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from threading import Lock
from typing import TYPE_CHECKING

from distributed import Client, KilledWorker, as_completed
from distributed.comm import get_address_host_port

from cache import open_cache
from cache.places import on_disk
from train.dataset import open_dataset
from train.folds import assign_folds
from train.progress import RunProgress
from train.settings import Settings, SettingsError

if TYPE_CHECKING:
    from cache.places import Place

_CONNECT_S = 10
_ONE_AT_A_TIME = Lock()  # in a worker: threads of it would share Keras's state


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """A client of a scheduler, such as tcp://127.0.0.1:8786.

    Raises:
        SettingsError: it cannot be reached, or has no worker.
    """
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
        client.close(timeout=2)


def train_on_cluster(client: Client, settings: Settings, folds: list[int]) -> Iterator[dict]:
    """Train folds on a cluster's workers; yields what each fold's marker says, as they end.

    Raises:
        SettingsError: a worker does not see the cache or the folder, a fold killed every worker that took it, or
            whatever stops a fold.
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
        for future in as_completed(futures, client.loop):
            try:
                yield future.result()
            except KilledWorker as error:
                raise SettingsError(
                    f"fold {futures[future]}: workers must live through it, got "
                    f"{error.allowed_failures + 1} that died; see to their memory, then give the same command again"
                ) from error
    finally:
        client.cancel(list(futures))


def _absolute(place: "Place") -> "Place":
    return place.absolute() if on_disk(place) else place


def _train_fold(settings: Settings, fold: int) -> dict:
    """On a worker: train one fold, as `python -m train --fold` does."""
    from train.run import run  # imported here, as it imports this module

    with _ONE_AT_A_TIME, RunProgress(StringIO()) as progress:
        dataset = open_dataset(open_cache(settings.cache_path), settings)
        folder = run(settings, dataset, assign_folds(dataset, settings), [fold], progress)
        return folder.result(fold)
