import logging
import threading
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from cache import open_cache
from train.cluster import _train_fold, connected, train_on_cluster
from train.dataset import open_dataset
from train.folds import assign_folds
from train.run import run
from train.settings import SettingsError, check, settings_for

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def address():
    """A scheduler with one worker of two threads, in this process."""
    logging.getLogger("distributed").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = {"processes": False, "threads_per_worker": 2, "dashboard_address": None}
        with distributed.LocalCluster(n_workers=1, protocol="tcp", **options) as cluster:
            yield cluster.scheduler_address


@pytest.fixture
def train(work, tmp_path, progress):
    """A function that runs the quick conv1d on the small cache, on a cluster or here."""

    def train_it(name, scheduler=None, **changes):
        changes = {"quick": True, "crops": 2, **changes}
        changes |= {"work": tmp_path, "name": name, "cache": str(work / "cache"), "scheduler": scheduler}
        settings = settings_for("conv1d", **changes)
        dataset = open_dataset(open_cache(settings.cache_path), settings)
        folds = assign_folds(dataset, settings)
        return run(settings, dataset, folds, [0, 1], progress)

    return train_it


def test_folds_are_trained_on_the_cluster_into_one_folder(train, address, progress, untrained):
    folder = train("there", scheduler=address)
    assert folder.finished == sorted(untrained) == sorted(result["fold"] for result in progress.results) == [0, 1]


@pytest.mark.slow
def test_a_cluster_trains_what_this_machine_would(train, address, progress):
    here, there = train("here"), train("there", scheduler=address)
    assert there.finished == [0, 1]
    assert np.array_equal(there.oof(), here.oof(), equal_nan=True)
    assert sorted(result["fold"] for result in progress.results[2:]) == [0, 1]
    assert train("there").finished == [0, 1]  # the same run, wherever it is trained


def test_finished_folds_are_not_sent_again(train, address, progress, untrained):
    train("there", scheduler=address)
    progress.results.clear()
    train("there", scheduler=address)
    assert progress.results == []


def test_what_stops_a_fold_is_said_as_it_is(train, address, untrained):
    untrained.errors[1] = SettingsError("fold 1: loss must stay finite, got nan")
    with pytest.raises(SettingsError, match="fold 1: loss must stay finite, got nan"):
        train("there", scheduler=address)


@pytest.mark.parametrize("address", ["nowhere", "carrier-pigeon://127.0.0.1:1", "tcp://127.0.0.1:1"])
def test_a_scheduler_that_does_not_answer_is_named(address, monkeypatch):
    monkeypatch.setattr("train.cluster._CONNECT_S", 0.1)
    message = (
        rf"--scheduler must be the address of a running Dask scheduler, got no answer from {address} .*; start one"
    )
    with pytest.raises(SettingsError, match=message), connected(address):
        pass


def test_an_address_without_a_port_opens_no_client(monkeypatch):
    monkeypatch.setattr("train.cluster.Client", lambda *_, **__: pytest.fail("a client was opened"))
    with (
        pytest.raises(SettingsError, match=r"got no answer from nowhere \(missing port number"),
        connected("nowhere"),
    ):
        pass


def test_a_cluster_without_workers_is_refused():
    options = {"n_workers": 0, "processes": False, "protocol": "tcp", "dashboard_address": None}
    message = r"cluster must have a worker, got none; start one with `dask worker`"
    with (
        distributed.LocalCluster(**options) as cluster,
        pytest.raises(SettingsError, match=message),
        connected(cluster.scheduler_address),
    ):
        pass


class Ended:
    """A future that has ended, in one way or another."""

    def __init__(self, status, error):
        self.status, self._error = status, error

    def add_done_callback(self, call):
        call(self)

    def result(self):
        raise self._error

    def release(self):
        pass


NOT_UNDERSTOOD = RuntimeError("Error during deserialization of the task graph. This frequently occurs if ...")
EARMARK = "scheduler and workers must have earmark installed as here, got"


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (
            "error",
            distributed.KilledWorker("fold", None, 3),
            "workers must live through it, got 4 that died; see to",
        ),
        ("error", ModuleNotFoundError("No module named 'train'"), EARMARK),
        ("error", NOT_UNDERSTOOD, EARMARK),
        (
            "cancelled",
            None,
            "scheduler must stay reachable, got its connection lost; finished folds and epochs are",
        ),
    ],
)
def test_a_fold_that_the_cluster_lost_is_named(tmp_path, status, error, message):
    client = SimpleNamespace(submit=lambda *_, **__: Ended(status, error))
    with pytest.raises(SettingsError, match=f"fold 2: {message}"):
        list(train_on_cluster(client, settings_for("conv1d", work=tmp_path), [2]))


def test_a_cluster_that_has_lost_its_workers_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr("train.cluster._LOOK_S", 0.05)
    monkeypatch.setattr("train.cluster._NO_WORKERS_S", 0.1)
    options = {"n_workers": 0, "processes": False, "protocol": "tcp", "dashboard_address": None}
    message = r"cluster must keep a worker, got none for 0.1 s; start some with `dask worker`, then go on"
    with (
        distributed.LocalCluster(**options) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
        pytest.raises(SettingsError, match=message),
    ):
        list(train_on_cluster(client, settings_for("conv1d", work=tmp_path), [0]))


def test_a_worker_ends_a_fold_that_nobody_waits_for(work, tmp_path, address, monkeypatch):
    begun, ended = threading.Event(), threading.Event()

    def fit_fold(fold, dataset, settings, folder, progress, workshop):
        begun.set()
        try:
            while not ended.wait(0.01):
                progress.batch(1, 1.0)
        except SettingsError as error:
            assert str(error) == "fold 1: its run must be there, got one that was stopped"
            ended.set()
            raise

    monkeypatch.setattr("train.run.fit_fold", fit_fold)
    settings = settings_for("conv1d", quick=True, work=tmp_path, cache=str(work / "cache"))
    with connected(address) as client:
        future = client.submit(_train_fold, settings, 1, pure=False)
        assert begun.wait(60)
        future.release()
        assert ended.wait(60)


def test_a_scheduler_needs_distributed(monkeypatch):
    monkeypatch.setattr("train.settings.find_spec", lambda name: None)
    message = r'--scheduler must have dask.distributed, got none installed; pip install "earmark\[dask\]"'
    with pytest.raises(SettingsError, match=message):
        check(settings_for("conv1d", scheduler="tcp://127.0.0.1:1"))
