"""Jobs run in threads or processes; a worker that is killed is reported."""

import os
import signal

import pytest

from featurize.engine import WorkerKilledError, default_jobs, run_jobs


def square(n):
    return n * n


def fail(n):
    raise OSError(28, "No space left on device")


def die(n):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("engine", ["threads", "processes"])
def test_results_of_all_jobs_come_back(engine):
    assert sorted(run_jobs(square, range(7), 2, engine)) == [0, 1, 4, 9, 16, 25, 36]


def test_no_jobs_are_no_results():
    assert list(run_jobs(square, [], 2, "threads")) == []


@pytest.mark.parametrize("engine", ["threads", "processes"])
def test_what_a_job_raises_comes_back(engine):
    with pytest.raises(OSError, match="No space left on device"):
        list(run_jobs(fail, range(3), 2, engine))


def test_a_killed_worker_is_reported():
    with pytest.raises(WorkerKilledError, match="a worker process was killed"):
        list(run_jobs(die, range(3), 2, "processes"))


def worker(n):
    return os.getpid()


def test_worker_processes_end_with_the_jobs():
    pids = set(run_jobs(worker, range(4), 2, "processes"))
    assert os.getpid() not in pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_there_is_a_processor_at_least():
    assert default_jobs() >= 1
