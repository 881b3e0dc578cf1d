"""Folds on a Dask cluster: each worker trains one fold at a time into the predictions folder that all of them see.

A worker offers one "fold", a Dask resource, however many threads it has: they would share Keras's state. The fold
of a worker that died goes to another, which resumes it after its last finished epoch: the folder holds its
checkpoint. A worker trains what this machine would, up to rounding: the device is the worker's own. A fold that
nobody waits for any more, as its run was stopped, ends with the batch that it is at.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

from distributed import Worker, get_worker

from common.on_dask import Cluster, ClusterError
from ensemble import PredictionsFolder
from train.input.dataset import Dataset
from train.progress import RunProgress
from train.settings import Settings, SettingsError

RELEASE_S = 60  # that a worker which nobody waits for any more may need to release its fold
_RESUME = "finished folds and epochs are kept: rerun the same command, without --force, to resume"
TrainFold = Callable[..., dict[str, Any]]


def train_on_cluster(
    dataset: Dataset, folder: PredictionsFolder, folds: list[int], progress: RunProgress, *, train_fold: TrainFold
) -> Iterator[dict[str, Any]]:
    """Train folds on the workers of the cluster at `settings.scheduler`; yields what each fold's marker says.

    Args:
        train_fold: trains a fold on a worker, from settings, fold, progress and wait_s; `train.run.train_fold_of`.
    Raises:
        ClusterError: as `Cluster.run`; no worker at first; a worker does not see the folder. Else what a fold
            raises.
    """
    settings = dataset.settings
    cache = str(settings.cache_path)
    cache = cache if "://" in cache else str(Path(cache).absolute())
    there = replace(settings, work=settings.work.absolute(), cache=cache, scheduler=None, force=False)
    with Cluster(settings.scheduler) as cluster:
        if not cluster.workers():
            raise ClusterError(f"{cluster.address}: this cluster has no worker; start one with `dask worker`")
        train = partial(_train_there, train_fold, there)
        for fold, result in cluster.run(train, folds, "fold {}".format, _RESUME, resource="fold"):
            if fold not in folder.finished:
                raise ClusterError(
                    f"{folder.path}: a worker trained fold {fold}, but its files are not here; give --work a "
                    "folder that all machines share"
                )
            yield result


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
        self._look()
        super().begin_epoch(epoch)

    def batch(self, n_clips: int, loss: float) -> None:
        self._look()
        super().batch(n_clips, loss)

    def _look(self) -> None:
        task = self._worker.state.tasks.get(self._key)
        if task is None or task.state == "cancelled":
            raise SettingsError(f"fold {self._of}: the run that wanted it was stopped")
