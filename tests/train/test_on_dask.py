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
from train.input.dataset import open_dataset
from train.run import run, train_fold_of
from train.settings import SettingsError, settings_for
from train.split import assign_folds

distributed = pytest.importorskip("distributed")
on_dask = pytest.importorskip("train.on_dask")
ADDRESS = "tcp://127.0.0.1:1"


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


@pytest.mark.parametrize("address", ["nowhere", "carrier-pigeon://127.0.0.1:1", ADDRESS])
def test_a_scheduler_that_does_not_answer_is_named(address, monkeypatch):
    monkeypatch.setattr(on_dask, "CONNECT_S", 0.1)
    message = (
        rf"--scheduler must be the address of a running Dask scheduler, got no answer from {address} .*; start one"
    )
    with pytest.raises(SettingsError, match=message), on_dask.connected(address):
        pass


def test_an_address_without_a_port_opens_no_client(monkeypatch):
    monkeypatch.setattr(on_dask, "Client", lambda *_, **__: pytest.fail("a client was opened"))
    message = r"got no answer from nowhere \(missing port number"
    with pytest.raises(SettingsError, match=message), on_dask.connected("nowhere"):
        pass


class Future:
    """A fold's future, which ends at once as it is told to, or never."""

    def __init__(self, ending):
        self._ending = ending
        self.status = "pending" if ending is None else "error" if isinstance(ending, Exception) else "finished"
        if ending == "lost":
            self.status = "cancelled"

    def add_done_callback(self, call):
        if self._ending is not None:
            call(self)

    def done(self):
        return self._ending is not None

    def result(self):
        if isinstance(self._ending, Exception):
            raise self._ending
        return self._ending

    def release(self):
        pass


class Client:
    """A client of a cluster that is not there.

    workers: sets of the workers' addresses, a look each; the last stays. ending: of a fold, from its number, its
    worker and what was sent before.
    """

    def __init__(self, workers, ending=lambda fold, worker, sent: {"fold": fold}):
        self.workers, self._ending, self.sent, self.options, self.plugins = list(workers), ending, [], [], []

    def __call__(self, address, **options):
        return self

    def scheduler_info(self, n_workers):
        return {"workers": dict.fromkeys(self.workers.pop(0) if len(self.workers) > 1 else self.workers[0])}

    def register_plugin(self, plugin):
        self.plugins.append(plugin)

    def submit(self, function, *arguments, workers, **options):
        fold, (worker,) = arguments[-1], workers
        future = Future(self._ending(fold, worker, list(self.sent)))
        self.sent.append((fold, worker))
        self.options.append(options)
        return future

    def close(self, timeout):
        pass


@pytest.fixture
def give(monkeypatch, tmp_path, progress):
    """A function that gives folds to a client's workers; the results' folds."""
    monkeypatch.setattr(on_dask, "LOOK_S", 0.001)

    def give(client, folds, finished=range(99)):
        monkeypatch.setattr(on_dask, "Client", client)
        dataset = SimpleNamespace(settings=settings_for("conv1d", work=tmp_path, scheduler=ADDRESS))
        folder = SimpleNamespace(path=tmp_path / "predictions", finished=finished)
        results = on_dask.train_on_cluster(dataset, folder, folds, progress, train_fold=print)
        return [result["fold"] for result in results]

    return give


def test_a_worker_is_given_one_fold_at_a_time(give, monkeypatch):
    monkeypatch.setattr(on_dask, "NO_WORKERS_S", 0)
    looks = [{"a", "b"}] * 9 + [set()]
    client = Client(looks, lambda fold, worker, sent: None if worker == "b" else {"fold": fold})
    message = "the cluster has had no worker for 0 s; start some with `dask worker`, then rerun the same command"
    with pytest.raises(SettingsError, match=message):  # b never ends, and then both are gone
        give(client, [0, 1, 2, 3])
    assert client.sent == [(0, "a"), (1, "b"), (2, "a"), (3, "a")]


def test_folds_ask_for_the_resource_that_every_worker_offers_once(give):
    client = Client([{"a"}])
    assert give(client, [3, 1]) == [3, 1]
    assert client.options == [{"resources": {"fold": 1}, "pure": False}] * 2
    assert [type(plugin) for plugin in client.plugins] == [on_dask.OneFold]


def test_workers_offer_one_fold_also_those_that_join_later():
    with (
        _cluster(n_workers=1, threads_per_worker=4, processes=False) as cluster,
        on_dask.connected(cluster.scheduler_address) as client,
        on_dask.connected(cluster.scheduler_address),
    ):
        cluster.scale(2)
        client.wait_for_workers(2)
        offered = client.run(lambda dask_worker: dict(dask_worker.state.total_resources))
    assert list(offered.values()) == [{"fold": 1}] * 2


def test_the_fold_of_a_worker_that_died_goes_to_another_and_no_other_fold_is_blamed(give):
    def ending(fold, worker, sent):
        return None if worker == "a" else {"fold": fold}

    client = Client([{"a", "b"}, {"a", "b"}, {"b"}], ending)
    assert sorted(give(client, [0, 1, 2])) == [0, 1, 2]
    assert client.sent.count((0, "a")) == 1 and (0, "b") in client.sent
    assert sorted(fold for fold, _ in client.sent) == [0, 0, 1, 2]


def test_a_fold_that_kills_every_worker_is_named(give):
    looks = [{name} for name in "aabcdefgh"]
    with pytest.raises(
        SettingsError, match=r"^fold 7: 4 workers died while they trained it; see to their memory, then"
    ):
        give(Client(looks, lambda *_: None), [7])


def test_a_folder_that_the_workers_do_not_share_is_named(give):
    with pytest.raises(
        SettingsError, match=r"a worker trained fold 5, but its files are not here; give --work a folder"
    ):
        give(Client([{"a"}]), [5], finished=[])


def test_a_cluster_without_workers_is_refused(give):
    with pytest.raises(
        SettingsError, match=rf"^{ADDRESS}: this cluster has no worker; start one with `dask worker`$"
    ):
        give(Client([set()]), [0])


EARMARK = "the scheduler or a worker does not have earmark installed as here"


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        (distributed.KilledWorker("fold", None, 3), "fold 2: 4 workers died while they trained it; see to"),
        (ModuleNotFoundError("No module named 'train'"), EARMARK),
        (RuntimeError("Error during deserialization of the task graph. This frequently occurs if ..."), EARMARK),
        ("lost", "fold 2: the connection to the scheduler was lost; finished folds and epochs are kept"),
        (RuntimeError("shapes differ"), "^shapes differ$"),
    ],
)
def test_a_fold_that_the_cluster_lost_is_named(give, ending, message):
    with pytest.raises(RuntimeError if "shapes" in message else SettingsError, match=message):
        give(Client([{"a"}], lambda *_: ending), [2])


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
    monkeypatch.setattr(on_dask, "Client", Interrupted)
    monkeypatch.setattr(on_dask, "LOOK_S", 0.01)
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
