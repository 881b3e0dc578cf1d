"""Whole runs with the cache, the dataset or both in a bucket: the bytes are those of a cache on disk."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import featurize.__main__
from cache.bucket.objects import ObjectPath

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def object_bytes():
    """A function that reads every object of a cache in a bucket, but for the lock."""
    return lambda cache: {
        path.key.removeprefix(cache.key).lstrip("/"): path.read_bytes()
        for path, _ in cache.objects()
        if not path.name.startswith("writer.")
    }


@pytest.mark.parametrize(
    "jobs", [{"n_jobs": 3}, pytest.param({"n_jobs": 2, "engine": "processes"}, marks=pytest.mark.slow)]
)
def test_a_cache_in_a_bucket_has_the_bytes_of_one_on_disk(
    every_kind, featurize, tmp_path, bucket, file_bytes, object_bytes, jobs
):
    featurize(every_kind, tmp_path / "cache")
    featurize(every_kind, bucket / "cache", **jobs)
    assert object_bytes(bucket / "cache") == file_bytes(tmp_path / "cache")
    assert not (bucket / "cache" / "writer.lock").exists()


def test_recordings_in_a_bucket_give_the_bytes_of_those_on_disk(
    every_kind, featurize, tmp_path, bucket, upload, file_bytes
):
    featurize(every_kind, tmp_path / "here")
    featurize(upload(every_kind, bucket / "data"), tmp_path / "there")
    here, there = file_bytes(tmp_path / "here"), file_bytes(tmp_path / "there")
    assert {name for name in here | there if here.get(name) != there.get(name)} == {
        "plan.parquet",
        "copies/plan.parquet",
    }


def test_a_second_run_decodes_nothing(every_kind, featurize, bucket, upload, monkeypatch):
    data = upload(every_kind, bucket / "data")
    featurize(data, bucket / "cache")
    reads = []
    read = ObjectPath.read
    monkeypatch.setattr(ObjectPath, "read", lambda path, *n: reads.append(path.key) or read(path, *n))
    assert len(featurize(data, bucket / "cache").jobs) == 0
    assert not any("audio_" in key or "/features/c/" in key for key in reads)


def test_a_recording_that_was_put_again_is_computed_again_where_it_differs(every_kind, featurize, bucket, upload):
    data = upload(every_kind, bucket / "data")
    featurize(data, bucket / "cache")
    same, other = (data / "audio_train" / name for name in ("1.wav", "2.wav"))
    same.write_bytes(same.read_bytes())
    other.write_bytes((data / "audio_train" / "3.wav").read_bytes())
    work = featurize(data, bucket / "cache")
    assert (work.scan.n_new, work.scan.n_changed) == (0, 1)


def test_a_damaged_chunk_is_made_again_once_its_receipt_is_withdrawn(
    every_kind, featurize, bucket, tmp_path, file_bytes, object_bytes
):
    featurize(every_kind, bucket / "cache")
    expected = object_bytes(bucket / "cache")
    chunk = bucket / "cache" / "raw-100.zarr" / "features" / "c" / "0"
    chunk.write_bytes(b"\7" + chunk.read_bytes()[1:])
    (bucket / "cache" / "raw-100.receipts" / "000000.json").unlink()
    featurize(every_kind, bucket / "cache")
    assert object_bytes(bucket / "cache") == expected


_KILLED = """
import os, signal, sys
from pathlib import Path
from cache.bucket.objects import ObjectPath
from cache.places import place
from cache.specification import MfccSpecification, RawSpecification
from featurize.dataset import read_dataset
from featurize.run import Options, run

left, put = [int(sys.argv[3])], ObjectPath.write_bytes

def write_bytes(path, data, **condition):
    if not path.name.startswith("writer."):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    return put(path, data, **condition)

ObjectPath.write_bytes = write_bytes
specifications = RawSpecification(sample_rate=100), MfccSpecification(n_mfcc=4, sample_rate=2000)
run(read_dataset(Path(sys.argv[1])), place(sys.argv[2]), specifications, Options(n_jobs=2))
"""


@pytest.mark.parametrize("n_puts", [1, 9, 18, 30])
def test_a_run_that_was_killed_goes_on_and_ends_with_the_same_bytes(
    every_kind, featurize, tmp_path, bucket, file_bytes, object_bytes, n_puts
):
    cache = bucket / "cache"
    command = [sys.executable, "-c", _KILLED, every_kind, str(cache), str(n_puts)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (cache / "writer.lock").exists()
    (cache / "writer.lock").unlink()  # as if its time were up
    featurize(every_kind, cache)
    featurize(every_kind, tmp_path / "unbroken")
    assert object_bytes(cache) == file_bytes(tmp_path / "unbroken")


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """A function that runs `python -m featurize` in this process, in tmp_path: exit code, stdout, stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["featurize", *map(str, arguments)])
        return featurize.__main__.main(), *capsys.readouterr()

    return call


SMALL = ("--sr", "100", "--mfcc", "4", "--mfcc-sr", "2000", "--jobs", "1")


def test_the_command_takes_places_in_a_bucket(every_kind, bucket, upload, command):
    upload(every_kind, bucket / "data")
    code, out, err = command("--data", bucket / "data", "--cache", bucket / "cache", *SMALL)
    assert code == 1 and f"store: {bucket}/cache/raw-100.zarr" in out  # one clip is no sound
    assert f"featurize: {bucket}/cache: " in err and err.rstrip().endswith("MB to write")


def test_a_bucket_that_is_not_there_is_one_line(every_kind, bucket, command):
    for arguments in (
        ("--data", "s3://no-such-bucket/x"),
        ("--data", every_kind, "--cache", "s3://no-such-bucket/x"),
    ):
        code, out, err = command(*arguments, *SMALL)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert err.startswith("featurize: s3://no-such-bucket/x: bucket must exist, got none (")


def test_the_demo_needs_a_disk(bucket, command):
    code, out, err = command("--demo", "--data", bucket / "data", *SMALL)
    assert (code, out) == (2, "")
    assert (
        err
        == f"featurize: {bucket}/data: must be on a disk to hold what --demo makes, got a place in a bucket; name a folder\n"
    )
