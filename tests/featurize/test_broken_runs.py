"""A run that is stopped, or that its disk fails, ends with one line; the next one ends with an unbroken run's bytes."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import common.files
from cache.specification import MfccSpecification, RawSpecification
from featurize.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
QUICK = ["--features", "raw", "mfcc", "--sr", "100", "--mfcc", "4", "--mfcc-sr", "2000"]
STORES = (RawSpecification(100).name, MfccSpecification(n_mfcc=4, sample_rate=2000).name)
RESUME = "finished work is kept: rerun the command to resume"
# What a process of ours does before it runs the command; its last job is the one of the last group.
KILL_A_WORKER = """
import os, signal
import featurize.run as run
whole = run.run_job
def die_in_the_last(job, **options):
    if job.group == {last}:
        os.kill(os.getpid(), signal.SIGKILL)
    whole(job, **options)
run.run_job = die_in_the_last
"""
STOP_AFTER_A_JOB = """
import os, signal
import featurize.run as run
whole = run.run_job
def stop(job, **options):
    os.kill(os.getpid(), signal.{name}) if job.group == {last} else whole(job, **options)
run.run_job = stop
"""
READ_ONLY_AFTER_A_JOB = """
import subprocess
import featurize.run as run
whole = run.run_job
def then_read_only(job, **options):
    whole(job, **options)
    subprocess.run(["mount", "-o", "remount,ro", "{folder}"], check=True)
run.run_job = then_read_only
"""


def can_mount() -> bool:
    script = 'mount -t tmpfs tmpfs "$0"'
    command = ["unshare", "--mount", "sh", "-c", script, str(ROOT / "tests")]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


needs_mounts = pytest.mark.skipif(not can_mount(), reason="needs the right to mount a file system of its own")


def slow(*values):
    return pytest.param(*values, marks=(pytest.mark.slow, pytest.mark.long))


@pytest.fixture
def unbroken(every_kind, tmp_path, featurize, file_bytes):
    """The bytes of an unbroken run, by name, and the last group's number."""
    work = featurize(every_kind, tmp_path / "unbroken")
    assert len(work.jobs) > 2
    return file_bytes(tmp_path / "unbroken"), list(work.jobs)[-1].group


def command_of(tmp_path, *arguments, before="") -> list[str]:
    """The command, in a process that first does something else."""
    code = f"import runpy\n{before}\nrunpy.run_module('featurize', run_name='__main__')"
    given = ["--data", str(tmp_path / "data"), "--work", str(tmp_path / "work"), *QUICK, *arguments]
    return [sys.executable, "-c", code, *given]


def start(command: list[str]) -> subprocess.CompletedProcess:
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)


def in_own_mounts(script: str, *commands: list[str]) -> list[str]:
    """Run a shell script that runs commands, $1 and $2, with mounts that end with it; its lines, exit codes among them."""
    quoted = [" ".join("'" + word.replace("'", "'\\''") + "'" for word in command) for command in commands]
    done = start(["unshare", "--mount", "sh", "-c", script, "sh", *quoted])
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr.splitlines()


def run_again(tmp_path):
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        return main(["--data", str(tmp_path / "data"), "--work", str(tmp_path / "work"), *QUICK])
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def check(code, err, expected_code, line):
    """One line at the end says what happened, and none is a traceback's."""
    last = err.splitlines()[-1]
    assert code == expected_code and line in last and RESUME in last, err
    assert "Traceback" not in err and "Error" not in err


@pytest.mark.slow
def test_a_worker_process_killed_alone(unbroken, tmp_path, file_bytes):
    expected, last = unbroken
    before = KILL_A_WORKER.format(last=last)
    done = start(command_of(tmp_path, "--jobs", "2", "--engine", "processes", before=before))
    check(done.returncode, done.stderr, 2, "a worker process was killed, by the system if memory ran out")
    receipts = list((tmp_path / "work").rglob("*.receipts/*.json"))
    assert receipts and not [path for path in receipts if path.stem == f"{last:06d}"]  # what was committed counts
    assert start(command_of(tmp_path)).returncode == 1 and file_bytes(tmp_path / "work" / "cache") == expected


@pytest.mark.parametrize(
    ("name", "n_jobs"), [("SIGTERM", "2"), slow("SIGINT", "2"), slow("SIGTERM", "1"), slow("SIGINT", "1")]
)
def test_a_signal(unbroken, tmp_path, file_bytes, name, n_jobs):
    expected, last = unbroken
    done = start(command_of(tmp_path, "--jobs", n_jobs, before=STOP_AFTER_A_JOB.format(last=last, name=name)))
    assert done.returncode == 130 and "Traceback" not in done.stderr and not done.stdout
    assert list((tmp_path / "work").rglob("*.receipts/*.json"))
    assert start(command_of(tmp_path)).returncode == 1 and file_bytes(tmp_path / "work" / "cache") == expected


@pytest.mark.parametrize(
    ("code", "n_before"),
    [(errno.EROFS, 15), (errno.ENOSPC, 1), (errno.EIO, 25), *(slow(errno.EROFS, n) for n in range(0, 40, 3))],
)
def test_a_disk_that_fails(unbroken, tmp_path, file_bytes, monkeypatch, capsys, n_before, code):
    """The system's refusal to put a file in its place, after so many were."""
    left, replace = [n_before], os.replace

    def fail(source, target):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(code, os.strerror(code), str(source))
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(common.files.os, "replace", fail)
        found = run_again(tmp_path)
    check(found, capsys.readouterr().err, 2, os.strerror(code))
    assert start(command_of(tmp_path)).returncode == 1 and file_bytes(tmp_path / "work" / "cache") == unbroken[0]


@needs_mounts
@pytest.mark.slow
@pytest.mark.parametrize("n_files", [40, *range(6, 70, 4)])
def test_a_full_disk(unbroken, tmp_path, file_bytes, n_files):
    """A file system with room for so many files, which is given more for the second run."""
    (tmp_path / "work").mkdir()
    command = command_of(tmp_path)
    script = f"""
        mount -t tmpfs -o nr_inodes={n_files} tmpfs '{tmp_path}/work' || exit 3
        eval "$1"; echo "code $?" >&2
        mount -o remount,nr_inodes=10000 '{tmp_path}/work' || exit 4
        eval "$1" 2>/dev/null; echo "code $?" >&2
        cp -r '{tmp_path}/work/cache' '{tmp_path}/copy'
    """
    *first, code, second_code = in_own_mounts(script, command)
    check(int(code.split()[1]), "\n".join(first), 2, "No space left on device")
    assert second_code == "code 1" and file_bytes(tmp_path / "copy") == unbroken[0]


@needs_mounts
@pytest.mark.slow
@pytest.mark.parametrize("store", STORES)
def test_a_cache_that_turns_read_only_midway(unbroken, tmp_path, file_bytes, store):
    """One store is a file system of its own, as a lock that is open keeps its own from turning."""
    folder = shutil.copytree(tmp_path / "unbroken", tmp_path / "work" / "cache") / store  # which the mount hides
    breaking = command_of(tmp_path, "--jobs", "1", before=READ_ONLY_AFTER_A_JOB.format(folder=folder))
    script = f"""
        mount -t tmpfs tmpfs '{folder}' || exit 3
        eval "$1"; echo "code $?" >&2
        mount -o remount,rw '{folder}' || exit 4
        eval "$2" 2>/dev/null; echo "code $?" >&2
        cp -r '{tmp_path}/work/cache' '{tmp_path}/copy'
    """
    *first, code, second_code = in_own_mounts(script, breaking, command_of(tmp_path))
    check(int(code.split()[1]), "\n".join(first), 2, "Read-only file system")
    assert second_code == "code 1" and file_bytes(tmp_path / "copy") == unbroken[0]
