import logging
import os
import threading
import warnings
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cache import open_cache
from common.on_dask import ClusterError
from train.input.dataset import open_dataset
from train.run import run, train_fold_of
from train.settings import SettingsError, settings_for
from train.split import assign_folds

distributed = pytest.importorskip("distributed")
on_dask = pytest.importorskip("train.on_dask")


@contextmanager
def _cluster(**options):
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with distributed.LocalCluster(protocol="tcp", dashboard_address=None, **options) as cluster:
            yield cluster


@pytest.fixture(scope="module")
def address():
    """A scheduler with one worker of two threads, in this process."""
    with _cluster(n_workers=1, threads_per_worker=2, processes=False) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def train(work, tmp_path, progress):
    """A function that runs the quick conv1d on the small cache, on a cluster or here."""

    def train_it(name, scheduler=None, **changes):
        changes = {"quick": True, "crops": 2, **changes}
        changes |= {"work": tmp_path, "name": name, "cache": str(work / "cache"), "scheduler": scheduler}
        dataset = open_dataset(open_cache(work / "cache"), settings_for("conv1d", **changes))
        there = (partial(on_dask.train_on_cluster, train_fold=train_fold_of),) if scheduler else ()
        return run(dataset, assign_folds(dataset, dataset.settings), [0, 1], progress, *there)

    return train_it


def test_folds_are_trained_on_the_cluster_into_one_folder_and_not_sent_again(train, address, progress, untrained):
    folder = train("there", scheduler=address)
    assert folder.finished == sorted(untrained) == sorted(result["fold"] for result in progress.results) == [0, 1]
    progress.results.clear()
    train("there", scheduler=address)
    assert progress.results == []


@pytest.mark.slow
def test_a_cluster_trains_what_this_machine_would(train, address, progress):
    here, there = train("here"), train("there", scheduler=address)
    assert there.finished == [0, 1]
    assert np.array_equal(there.oof(), here.oof(), equal_nan=True)
    assert train("there").finished == [0, 1]  # the same run, wherever it is trained


def test_what_stops_a_fold_is_said_as_it_is(train, address, untrained):
    untrained.errors[1] = SettingsError("fold 1: loss must be finite, got nan")
    with pytest.raises(SettingsError, match="fold 1: loss must be finite, got nan"):
        train("there", scheduler=address)


def test_a_folder_that_the_workers_do_not_share_is_named(address, tmp_path, progress):
    settings = settings_for("conv1d", work=tmp_path, scheduler=address)
    dataset, folder = SimpleNamespace(settings=settings), SimpleNamespace(path=tmp_path, finished=[])
    results = on_dask.train_on_cluster(dataset, folder, [5], progress, train_fold=lambda *_, wait_s: {})
    message = r"a worker trained fold 5, but its files are not here; give --work a folder that all machines share"
    with pytest.raises(ClusterError, match=message):
        next(results)


def test_a_cluster_without_workers_is_refused(tmp_path, progress):
    with _cluster(n_workers=0, processes=False) as cluster:
        settings = settings_for("conv1d", work=tmp_path, scheduler=cluster.scheduler_address)
        results = on_dask.train_on_cluster(
            SimpleNamespace(settings=settings), None, [0], progress, train_fold=print
        )
        with pytest.raises(ClusterError, match=r"^tcp://.*: this cluster has no worker; start one with `dask work"):
            next(results)


def test_a_worker_ends_a_fold_that_nobody_waits_for(train, address, monkeypatch):
    begun, ended, said = threading.Event(), threading.Event(), []

    def train_fold(fold, dataset, folder, progress):
        begun.set()
        try:
            while not ended.wait(0.01):
                progress.batch(1, 1.0)
        except SettingsError as error:
            said.append(str(error))
            ended.set()
            raise

    class Interrupted(distributed.Client):
        def scheduler_info(self, n_workers):
            if begun.is_set():
                raise KeyboardInterrupt
            return super().scheduler_info(n_workers)

    monkeypatch.setattr("train.run.train_fold", train_fold)
    monkeypatch.setattr("common.on_dask.Client", Interrupted)
    monkeypatch.setattr("common.on_dask.LOOK_S", 0.01)
    with pytest.raises(KeyboardInterrupt):
        train("there", scheduler=address)
    assert ended.wait(60)
    assert said == ["fold 0: the run that wanted it was stopped"]


@pytest.mark.slow
def test_on_real_workers_of_many_threads_folds_take_turns_and_outlive_a_worker(tmp_path, progress):
    place = str(tmp_path)

    def train_fold(settings, fold, progress, wait_s):
        at_work = Path(place, f"at work in {os.getpid()}")
        at_work.touch(exist_ok=False)  # another fold in this process would be an error
        deaths = len(list(Path(place).glob("death *")))
        if fold == 0 and deaths < 3:
            Path(place, f"death {deaths}").touch()
            os._exit(1)
        at_work.unlink()
        return {"fold": fold}

    with _cluster(n_workers=2, threads_per_worker=4) as cluster:
        settings = settings_for("conv1d", work=tmp_path, scheduler=cluster.scheduler_address)
        dataset, folder = SimpleNamespace(settings=settings), SimpleNamespace(path=tmp_path, finished=range(9))
        results = on_dask.train_on_cluster(dataset, folder, list(range(9)), progress, train_fold=train_fold)
        assert sorted(result["fold"] for result in results) == list(range(9))
    assert len(list(tmp_path.glob("death *"))) == 3


def test_a_net_of_ones_own_travels_to_the_workers(work, tmp_path, address, progress, untrained, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = Path("my_nets.py")
    own.write_text(
        "from keras import layers\n\ndef my_net(x, n_labels):\n"
        "    return layers.Dense(n_labels, activation='softmax')(layers.Flatten()(x))\n"
    )
    settings = settings_for(
        "my_nets.py:my_net", quick=True, work=tmp_path, cache=work / "cache", mfcc=20, scheduler=address
    )
    dataset = open_dataset(open_cache(work / "cache"), settings)
    own.unlink()  # another machine has no such file
    there = partial(on_dask.train_on_cluster, train_fold=train_fold_of)
    assert run(dataset, assign_folds(dataset, settings), [0, 1], progress, there).finished == [0, 1]
