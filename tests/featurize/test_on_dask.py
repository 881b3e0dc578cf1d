"""Jobs on a real Dask cluster: a scheduler and workers as processes on loopback, some of which are killed."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cache.storage import open_storage
from cache.writer import writing
from common.on_dask import ClusterError
from featurize import on_dask
from featurize.job import StoppedError, run_job
from featurize.on_dask import Terms, bytes_depend_on

ROOT = Path(__file__).resolve().parents[2]
SCHEDULER = ("--port", "0", "--dashboard-address", ":0", "--idle-timeout", "120")  # should the tests be killed
WORKER = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--death-timeout", "10")


class Processes:
    """A scheduler and workers of one thread each."""

    def __init__(self, folder: Path):
        self.folder, self.workers = folder, []
        self.scheduler, line = self._start("scheduler", "Scheduler at:", *SCHEDULER)
        self.address = line.split()[-1]

    def have_workers(self, n: int, path: Path = ROOT) -> None:
        """Start workers until there are n, or end all; path: where they import our packages from."""
        self.workers = [process for process in self.workers if process.poll() is None]
        for _ in range(n - len(self.workers)):
            self.workers.append(self._start("worker", "Registered to:", self.address, *WORKER, path=path)[0])
        if n == 0:
            self._kill(self.workers)

    def end(self) -> None:
        self._kill([*self.workers, self.scheduler])

    def _kill(self, processes: list[subprocess.Popen]) -> None:
        for process in processes:
            process.kill()
            process.wait()

    def _start(self, kind: str, until: str, *arguments: str, path: Path = ROOT) -> tuple[subprocess.Popen, str]:
        process = subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.dask_{kind}", "--host", "127.0.0.1", *arguments],
            env={**os.environ, "PYTHONPATH": str(path), "OPENBLAS_NUM_THREADS": "2"},
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        line = next(line for line in process.stderr if until in line)
        threading.Thread(target=_drain, args=(process.stderr,), daemon=True).start()  # or it blocks on a full pipe
        return process, line


def _drain(pipe) -> None:
    with pipe:
        pipe.read()


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    processes = Processes(tmp_path_factory.mktemp("dask"))
    yield processes
    processes.end()


@pytest.fixture
def dask(processes):
    """Options of a run on a cluster of two workers."""
    processes.have_workers(2)
    return {"engine": "dask", "scheduler": processes.address}


@pytest.fixture
def meeting(tmp_path):
    """Two pipes: a job says by the first which process it is in, and waits at the second for ever."""
    says, waits = tmp_path / "says", tmp_path / "waits"
    os.mkfifo(says)
    os.mkfifo(waits)
    return str(says), str(waits)


def hold_one_job(monkeypatch, meeting):
    """Let the first job of all stay in its worker."""
    says, waits = meeting

    def hold(job, **options):  # a function in a function travels to the workers by its code
        try:
            os.rename(says, says + ".taken")
        except FileNotFoundError:
            return run_job(job, **options)
        with open(says + ".taken", "w") as pipe:
            pipe.write(str(os.getpid()))
        return open(waits).read()

    monkeypatch.setattr("featurize.run.run_job", hold)


def when_held(meeting, action):
    """Call action(pid) in a thread, once a worker has the held job."""
    says = meeting[0]
    reader = os.open(says, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    keep = os.open(says, os.O_WRONLY)  # so that reading waits for the job's first words

    def wait():
        pid = int(os.read(reader, 100))
        os.close(keep)
        action(pid)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


@pytest.mark.slow
def test_what_a_job_raises_comes_back(every_kind, tmp_path, featurize, dask):
    with pytest.raises(StoppedError, match=r"text\.wav: not a recording .*; stopped, as --on-error stop asks"):
        featurize(every_kind, tmp_path / "cache", on_error="stop", **dask)


@pytest.mark.slow
def test_a_worker_that_computes_other_bytes_is_refused(every_kind, tmp_path, featurize, dask, monkeypatch):
    found = {**bytes_depend_on(), "soxr": "0.0.1"}
    monkeypatch.setattr(on_dask, "bytes_depend_on", lambda: found)
    with pytest.raises(
        ClusterError, match=r"worker tcp://.*: computes other bytes .*, got soxr .* \(here 0\.0\.1\); use"
    ):
        featurize(every_kind, tmp_path / "cache", **dask)
    assert not list((tmp_path / "cache").rglob("*.receipts"))


@pytest.mark.slow
def test_same_bytes_as_threads_although_a_worker_is_killed_with_its_job(
    every_kind, tmp_path, featurize, file_bytes, dask, meeting, monkeypatch
):
    featurize(every_kind, tmp_path / "threads")
    hold_one_job(monkeypatch, meeting)
    killed = when_held(meeting, lambda pid: os.kill(pid, signal.SIGKILL))
    monkeypatch.chdir(tmp_path)  # the workers are elsewhere
    work = featurize(Path("data"), Path("dask"), **dask)
    killed.join()
    assert len(work.jobs) > 2 and file_bytes(tmp_path / "dask") == file_bytes(tmp_path / "threads")


@pytest.mark.slow
def test_a_job_that_kills_every_worker_is_named_and_the_others_are_done(
    every_kind, tmp_path, featurize, processes, dask, monkeypatch
):
    def die(job, **options):
        if "long.flac" in str(job.slots):
            os.kill(os.getpid(), signal.SIGKILL)
        run_job(job, **options)

    monkeypatch.setattr("featurize.run.run_job", die)
    monkeypatch.setattr("common.on_dask.DEATHS", 2)
    processes.have_workers(3)  # one dies of it beside another job, one of it alone
    with pytest.raises(
        ClusterError, match=r"long\.flac: 2 workers were killed at this job, by memory that ran out"
    ):
        featurize(every_kind, tmp_path / "cache", **dask)
    monkeypatch.undo()
    assert len(featurize(every_kind, tmp_path / "cache").jobs) == 1


@pytest.mark.slow
def test_a_worker_without_earmark_is_refused(every_kind, tmp_path, featurize, processes):
    (tmp_path / "featurize.py").write_text("")  # in the way of ours
    processes.have_workers(0)
    processes.have_workers(1, path=tmp_path)
    with pytest.raises(
        ClusterError, match="a worker must have earmark installed as here, got: .*; install it there"
    ):
        featurize(every_kind, tmp_path / "cache", engine="dask", scheduler=processes.address)
    processes.have_workers(0)


@pytest.mark.slow
def test_a_run_without_workers_ends(every_kind, tmp_path, featurize, processes, monkeypatch):
    processes.have_workers(0)
    monkeypatch.setattr("common.on_dask.NO_WORKERS_S", 0)
    with pytest.raises(ClusterError, match=r"tcp://.*: there was no worker for 0 s; start some with"):
        featurize(every_kind, tmp_path / "cache", engine="dask", scheduler=processes.address)


@pytest.mark.slow
def test_an_interrupted_run_cancels_its_jobs_and_a_late_worker_writes_nothing(
    every_kind, tmp_path, featurize, file_bytes, dask, meeting, monkeypatch
):
    """The held job goes on once the run is over, and finds that the cache is not its run's any more."""
    says, waits = meeting
    os.mkfifo(ends := str(tmp_path / "ends"))

    def late(job, **options):
        try:
            os.rename(says, says + ".taken")
        except FileNotFoundError:
            return run_job(job, **options)
        with open(says + ".taken", "w") as pipe:
            pipe.write(str(os.getpid()))
        with open(ends, "w") as pipe, open(waits) as gate:
            gate.read()
            try:
                run_job(job, **options)
                pipe.write("written")
            except ClusterError as error:
                pipe.write(str(error))

    monkeypatch.setattr("featurize.run.run_job", late)
    when_held(meeting, lambda pid: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        featurize(every_kind, tmp_path / "cache", **dask)
    before = file_bytes(tmp_path / "cache")
    with open(ends) as end:
        open(waits, "w").close()
        assert "the cache must be at" in end.read()
    assert file_bytes(tmp_path / "cache") == before


@pytest.mark.slow
def test_a_lost_scheduler_ends_the_run_and_what_is_done_is_kept(
    every_kind, tmp_path, featurize, file_bytes, meeting, monkeypatch
):
    processes = Processes(tmp_path)
    processes.have_workers(1)
    hold_one_job(monkeypatch, meeting)
    when_held(meeting, lambda pid: processes.end())
    with pytest.raises(
        ClusterError, match="tcp://.*: the connection to the scheduler was lost; finished work is kept: rerun"
    ):
        featurize(every_kind, tmp_path / "cache", engine="dask", scheduler=processes.address)
    monkeypatch.undo()
    featurize(every_kind, tmp_path / "cache")
    featurize(every_kind, tmp_path / "threads")
    assert file_bytes(tmp_path / "cache") == file_bytes(tmp_path / "threads")


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nowhere", "http://127.0.0.1:1", ""])
@pytest.mark.slow
def test_a_scheduler_that_cannot_be_reached(every_kind, tmp_path, featurize, address, monkeypatch):
    monkeypatch.setattr("common.on_dask.CONNECT_S", 0.1)
    with pytest.raises(
        ClusterError, match="--scheduler must be the address of a running Dask scheduler, got no ans"
    ):
        featurize(every_kind, tmp_path / "cache", engine="dask", scheduler=address)
    assert not (tmp_path / "cache").exists()


def test_a_worker_must_see_cache_and_dataset(tmp_path, write_dataset, noise):
    data = write_dataset(tmp_path / "data", {"a.wav": noise(1)})
    with writing(tmp_path / "cache") as writer:
        terms = Terms.of(writer.hold, open_storage(data), "audio_train/a.wav")
        terms.check("w")
        (data / "audio_train" / "a.wav").write_text("other")
        with pytest.raises(ClusterError, match=r"worker w: the dataset must be at /.*data as here, got another or"):
            terms.check("w")
    with pytest.raises(ClusterError, match=r"worker w: the cache must be at /.*cache as here, got another or none"):
        terms.check("w")
    with writing(tmp_path / "cache"), pytest.raises(ClusterError, match="worker w: the cache must be at"):
        terms.check("w")  # another run's


@pytest.fixture
def terms(tmp_path, write_dataset, noise):
    """The terms of a run, while it holds its cache."""
    data = write_dataset(tmp_path / "data", {"a.wav": noise(1)})
    with writing(tmp_path / "cache") as writer:
        yield Terms.of(writer.hold, open_storage(data), "audio_train/a.wav")


def test_a_worker_with_other_libraries_is_refused_and_what_differs_is_said(terms, monkeypatch):
    found = {**bytes_depend_on(), "soxr": "0.0.1"}
    monkeypatch.setattr(on_dask, "bytes_depend_on", lambda: found)
    line = r"^worker w: computes other bytes than this process may, got soxr 0\.0\.1 \(here .*\); use workers with"
    with pytest.raises(ClusterError, match=line):
        terms.check("w")


def test_a_worker_with_another_processor_is_refused_and_what_differs_is_said(terms, monkeypatch):
    found = {**bytes_depend_on(), "processor": "z80", "sve7": "yes"}
    monkeypatch.setattr(on_dask, "bytes_depend_on", lambda: found)
    with pytest.raises(
        ClusterError, match=r"got processor z80 \(here .*\), sve7 yes \(here none\); use workers with"
    ):
        terms.check("w")


@pytest.mark.slow
def test_a_worker_has_one_blas_thread(every_kind, tmp_path, featurize, dask, monkeypatch):
    found = str(tmp_path / "found")

    def note(job, **options):
        from threadpoolctl import threadpool_info

        threads = {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}
        with open(found, "a") as file:
            file.write(f"{threads}\n")

    monkeypatch.setattr("featurize.run.run_job", note)
    featurize(every_kind, tmp_path / "cache", **dask)
    assert set(Path(found).read_text().splitlines()) == {"{1}"}
