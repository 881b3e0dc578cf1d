import logging
import pickle
import threading
import warnings

import pytest

distributed = pytest.importorskip("distributed")
on_dask = pytest.importorskip("common.on_dask")
ADDRESS = "tcp://127.0.0.1:1"


@pytest.mark.parametrize("address", ["nowhere", "carrier-pigeon://127.0.0.1:1", ADDRESS])
def test_a_scheduler_that_does_not_answer_is_named(address, monkeypatch):
    monkeypatch.setattr(on_dask, "CONNECT_S", 0.1)
    message = (
        rf"--scheduler must be the address of a running Dask scheduler, got no answer from {address} .*; start one"
    )
    with pytest.raises(on_dask.ClusterError, match=message):
        on_dask.Cluster(address)


def test_an_address_without_a_port_opens_no_client(monkeypatch):
    monkeypatch.setattr(on_dask, "Client", lambda *_, **__: pytest.fail("a client was opened"))
    message = r"got no answer from nowhere \(missing port number"
    with pytest.raises(on_dask.ClusterError, match=message):
        on_dask.Cluster("nowhere")


class Future:
    """A task's future, which ends at once as it is told to, or never."""

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

    def exception(self):
        return self._ending if isinstance(self._ending, Exception) else None

    def result(self):
        return self._ending

    def release(self):
        pass


class Client:
    """A client of a cluster that is not there, of workers of one thread each.

    workers: sets of the workers' addresses, a look each; the last stays. ending: of a task, from the task, its
    worker and what was sent before.
    """

    def __init__(self, workers, ending=lambda task, worker, sent: f"done {task}"):
        self.workers, self._ending, self.sent, self.options = list(workers), ending, [], []
        self.bare, self.asked = (
            set(),
            [],
        )  # workers that offer nothing; those that were asked to, and after how many tasks

    def __call__(self, address, **options):
        return self

    def scheduler_info(self, n_workers):
        there = self.workers.pop(0) if len(self.workers) > 1 else self.workers[0]
        return {
            "workers": {
                address: {"nthreads": 1, "resources": {} if address in self.bare else {"fold": 1}}
                for address in there
            }
        }

    def run(self, function, workers, **options):
        self.asked += [(sorted(workers), len(self.sent))]
        self.bare -= set(workers)

    def submit(self, function, packed, workers, **options):
        (_, task), (worker,) = pickle.loads(packed), workers
        future = Future(self._ending(task, worker, list(self.sent)))
        self.sent.append((task, worker))
        self.options.append(options)
        return future

    def close(self, timeout):
        pass


@pytest.fixture
def give(monkeypatch):
    """A function that gives tasks to a client's workers; the tasks as they end."""
    monkeypatch.setattr(on_dask, "LOOK_S", 0)

    def give(client, tasks, resource="fold"):
        monkeypatch.setattr(on_dask, "Client", client)
        with on_dask.Cluster(ADDRESS) as cluster:
            results = list(cluster.run(print, tasks, "fold {}".format, "rerun to resume", resource))
        assert [result for _, result in results] == [f"done {task}" for task, _ in results]
        return [task for task, _ in results]

    return give


def test_a_worker_is_given_one_task_of_a_resource_at_a_time(give, monkeypatch):
    monkeypatch.setattr(on_dask, "NO_WORKERS_S", 0)
    looks = [{"a", "b"}] * 9 + [set()]
    client = Client(looks, lambda task, worker, sent: None if worker == "b" else f"done {task}")
    message = f"^{ADDRESS}: there was no worker for 0 s; start some with `dask worker {ADDRESS}`; rerun to resume$"
    with pytest.raises(on_dask.ClusterError, match=message):  # b never ends, and then both are gone
        give(client, [0, 1, 2, 3])
    assert client.sent == [(0, "a"), (1, "b"), (2, "a"), (3, "a")]


def test_without_a_resource_a_worker_has_two_tasks_a_thread_dealt_out_evenly(give):
    looks = [{"a", "b"}, {"a", "b"}, {"a", "b", "c"}]
    client = Client(looks, lambda task, worker, sent: f"done {task}" if len(sent) > 3 or worker == "c" else None)
    client.workers += [{"c"}]
    assert sorted(give(client, range(6), resource=None)) == list(range(6))
    assert client.sent[:4] == [(0, "a"), (1, "b"), (2, "a"), (3, "b")]
    assert client.options[0] == {"pure": False}


def test_tasks_ask_for_the_resource_that_every_worker_offers_once(give):
    client = Client([{"a"}])
    assert give(client, [3, 1]) == [3, 1]
    assert client.options == [{"resources": {"fold": 1}, "pure": False}] * 2


def test_a_worker_is_given_nothing_before_it_offers_the_resource(give):
    client = Client([{"a", "b"}])
    client.bare = {"a", "b"}
    assert give(client, [1, 2]) == [1, 2]
    assert client.asked == [(["a", "b"], 0)]


def test_the_task_of_a_worker_that_started_again_and_offers_nothing_is_given_anew(give):
    client = Client([{"a"}])

    def ending(task, worker, sent):
        if not sent:
            client.bare = {"a"}
            return None
        return f"done {task}"

    client._ending = ending
    assert give(client, [5]) == [5]
    assert client.sent == [(5, "a")] * 2 and client.asked == [(["a"], 1)]


meeting = threading.Barrier(2, timeout=60)


def meet(task):
    """Wait until another worker has begun a task too."""
    meeting.wait()
    return distributed.get_worker().address


def test_workers_offer_one_of_a_resource_also_one_that_joins_later():
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = {"protocol": "tcp", "dashboard_address": None, "processes": False}
        with (
            distributed.LocalCluster(n_workers=1, threads_per_worker=4, **options) as scheduler,
            on_dask.Cluster(scheduler.scheduler_address) as cluster,
        ):
            assert list(cluster.run(abs, [-1, -2], str, resource="fold")) == [(-1, 1), (-2, 2)]
            scheduler.scale(2)
            places = dict(cluster.run(meet, range(4), str, resource="fold")).values()
            assert sorted(places) == sorted([*cluster.workers()] * 2)
            offered = [worker["resources"] for worker in cluster.workers().values()]
    assert offered == [{"fold": 1}] * 2


def test_the_task_of_a_worker_that_died_goes_to_another_and_no_other_task_is_blamed(give):
    client = Client(
        [{"a", "b"}, {"a", "b"}, {"b"}], lambda task, worker, sent: None if worker == "a" else f"done {task}"
    )
    assert sorted(give(client, [0, 1, 2])) == [0, 1, 2]
    assert client.sent.count((0, "a")) == 1 and (0, "b") in client.sent
    assert sorted(task for task, _ in client.sent) == [0, 0, 1, 2]


def test_the_tasks_of_a_worker_that_died_are_tried_alone_and_the_one_that_kills_is_named_at_the_end(give):
    looks, ended = [{"a"}, *({name} for name in "bbcdefghij")], []

    def ending(task, worker, sent):
        if task == 7 or worker == "a":
            return None
        ended.append(task)
        return f"done {task}"

    with pytest.raises(on_dask.ClusterError, match=r"^fold 7: 4 workers were killed at this job, by memory"):
        give(client := Client(looks, ending), [7, 8, 9], resource=None)
    assert sorted(ended) == [8, 9]
    assert [task for task, worker in client.sent if worker == "a"] == [7, 8]


def test_a_task_that_kills_every_worker_is_named(give):
    looks = [{name} for name in "aabcdefgh"]
    message = r"^fold 7: 4 workers were killed at this job, by memory that ran out or a crash; rerun to resume$"
    with pytest.raises(on_dask.ClusterError, match=message):
        give(Client(looks, lambda *_: None), [7])


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        (distributed.KilledWorker("fold", None, 3), "^fold 2: 4 workers were killed at this job"),
        (
            ModuleNotFoundError("No module named 'train'"),
            "^a worker must have earmark installed as here, got: No module named 'train'; install it there$",
        ),
        ("lost", f"^{ADDRESS}: the connection to the scheduler was lost; rerun to resume$"),
        (RuntimeError("shapes differ"), "^shapes differ$"),
    ],
)
def test_what_ends_a_task_is_said_in_one_line(give, ending, message):
    with pytest.raises(RuntimeError if "shapes" in message else on_dask.ClusterError, match=message):
        give(Client([{"a"}], lambda *_: ending), [2])
