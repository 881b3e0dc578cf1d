"""Runs with the cache, the dataset or both in a bucket: the bytes are those of a cache on a disk."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cache.storage import BucketStorage, open_storage
from featurize.__main__ import main
from featurize.datasets import DatasetError, read_dataset
from featurize.scan import ABSENT, UNREADABLE, Recordings
from featurize.summary import summarize

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def object_bytes():
    """A function that reads every object of a cache in a bucket, but for the lock."""
    return lambda cache: {
        file.key: cache.read(file.key) for file in cache.files() if not file.key.startswith("writer.")
    }


@pytest.fixture
def reads(monkeypatch):
    """What is read of objects: (key, bytes asked for)."""
    reads, read = [], BucketStorage.read_with_look

    def noted(storage, key, n_bytes=None):
        reads.append((f"{storage}/{key}", n_bytes))
        return read(storage, key, n_bytes)

    monkeypatch.setattr(BucketStorage, "read_with_look", noted)
    return reads


@pytest.fixture
def data(every_kind, bucket, upload):
    """A dataset with every kind of clip, in a bucket."""
    return upload(every_kind, bucket / "deep" / "data")


def test_recordings_are_seen_as_those_of_a_disk(every_kind, data):
    here, there = read_dataset(open_storage(every_kind)), read_dataset(data)
    assert there.clips.equals(here.clips)
    files = pd.concat([here.clips["file"], pd.Series(["audio_train/none.wav", "audio_train/none.ogg"])])
    on_disk, in_bucket = Recordings(here.folder), Recordings(data)
    assert np.array_equal(in_bucket.look(files)[0], on_disk.look(files)[0])
    assert np.array_equal(in_bucket.headers(files), on_disk.headers(files))
    assert in_bucket.headers(files)[0, -1] == UNREADABLE and in_bucket.look(files)[1, -1] == ABSENT
    assert [in_bucket.digest(file) for file in files] == [on_disk.digest(file) for file in files]


def test_a_path_may_have_other_forms(data):
    looks = Recordings(data).look(pd.Series(["audio_train/1.wav", "audio_train/.//1.wav"]))
    assert looks[0, 0] == looks[0, 1] > 0


def test_of_a_plain_wav_only_the_head_is_read(data, reads):
    rates, samples = Recordings(data).headers(pd.Series(["audio_train/3.wav", "audio_train/streamed.wav"]))
    assert rates.tolist() == [2000, 2000] and samples.tolist() == [43000, 6000]
    assert [n for key, n in reads if key.endswith("3.wav")] == [512]
    assert [n for key, n in reads if key.endswith("streamed.wav")] == [512, None]


def test_what_a_dataset_lacks_is_said(bucket, data):
    with pytest.raises(
        DatasetError, match=rf"^{bucket}/none: dataset folder must exist, got none; name yours with"
    ):
        read_dataset(bucket / "none")
    for file in data.files("audio_test"):
        data.remove(file.key)
    with pytest.raises(DatasetError, match=rf"^{data}/audio_test: must be the folder of the clips of sample_sub"):
        read_dataset(data)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [{"jobs": 3}, {"jobs": 2, "engine": "processes"}])
def test_a_cache_in_a_bucket_has_the_bytes_of_one_on_disk(
    every_kind, featurize, tmp_path, bucket, file_bytes, object_bytes, jobs
):
    featurize(every_kind, tmp_path / "cache")
    featurize(every_kind, bucket / "cache", **jobs)
    assert object_bytes(bucket / "cache") == file_bytes(tmp_path / "cache")


@pytest.mark.slow
def test_recordings_in_a_bucket_give_the_features_of_those_on_disk(
    every_kind, featurize, tmp_path, data, file_bytes
):
    """Their times alone differ: they are in the tables and the receipts."""
    featurize(every_kind, tmp_path / "here")
    featurize(data, tmp_path / "there")
    here, there = file_bytes(tmp_path / "here"), file_bytes(tmp_path / "there")
    differing = {name for name in here | there if here.get(name) != there.get(name)}
    assert "plan.parquet" in differing and not any(".zarr/" in name for name in differing)


@pytest.mark.slow
def test_a_second_run_decodes_nothing(featurize, bucket, data, reads):
    featurize(data, bucket / "cache")
    reads.clear()
    assert len(featurize(data, bucket / "cache").jobs) == 0
    assert not any("audio_" in key or "/features/c/" in key for key, _ in reads)


@pytest.mark.slow
def test_a_recording_that_was_put_again_is_computed_again_where_it_differs(featurize, bucket, data):
    featurize(data, bucket / "cache")
    data.write("audio_train/1.wav", data.read("audio_train/1.wav"))
    data.write("audio_train/2.wav", data.read("audio_train/3.wav"))
    work = featurize(data, bucket / "cache")
    assert (work.scan.n_new, work.scan.n_changed) == (0, 1)


@pytest.mark.slow
def test_a_recording_that_left_fails_alone(featurize, bucket, data):
    data.remove("audio_train/1.wav")
    work = featurize(data, bucket / "cache")
    clips = work.clips["clip"].iloc[summarize(work).failed].tolist()
    assert clips == ["1.wav", "text.wav"]


@pytest.mark.slow
def test_a_damaged_chunk_is_made_again_once_its_receipt_is_withdrawn(every_kind, featurize, bucket, object_bytes):
    featurize(every_kind, bucket / "cache")
    expected = object_bytes(bucket / "cache")
    key = "raw-100.zarr/features/c/0"
    (bucket / "cache").write(key, b"\7" + expected[key][1:])
    (bucket / "cache").remove("raw-100.receipts/000000.json")
    featurize(every_kind, bucket / "cache")
    assert object_bytes(bucket / "cache") == expected


_KILLED = """
import os, signal, sys
from cache.specification import MfccSpecification, RawSpecification
from cache.storage import BucketStorage, open_storage
from featurize.datasets import read_dataset
from featurize.run import run
from featurize.settings import Options

left, put = [int(sys.argv[3])], BucketStorage.write

def write(storage, key, *arguments, **options):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return put(storage, key, *arguments, **options)

BucketStorage.write = write
specifications = RawSpecification(sample_rate=100), MfccSpecification(n_mfcc=4, sample_rate=2000)
run(read_dataset(open_storage(sys.argv[1])), open_storage(sys.argv[2]), specifications, Options(jobs=2))
"""


@pytest.mark.slow
@pytest.mark.parametrize("n_writes", [1, 9, 18, 30])
def test_a_run_that_was_killed_is_resumed_and_ends_with_the_same_bytes(
    every_kind, featurize, tmp_path, bucket, file_bytes, object_bytes, n_writes
):
    cache = bucket / "cache"
    command = [sys.executable, "-c", _KILLED, every_kind, str(cache), str(n_writes)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert cache.look("writer.lock")
    cache.remove("writer.lock")  # as if its time were up
    featurize(every_kind, cache)
    featurize(every_kind, tmp_path / "unbroken")
    assert object_bytes(cache) == file_bytes(tmp_path / "unbroken")


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """A function that runs `python -m featurize` in this process, in tmp_path: exit code, stdout, stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            return main(list(map(str, arguments))), *capsys.readouterr()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    return call


SMALL = ("--features", "raw", "--sr", "100", "--jobs", "1")


def test_the_command_takes_places_in_a_bucket(bucket, tmp_path, write_dataset, noise, upload, command):
    upload(write_dataset(tmp_path / "data", {"a.wav": noise(1, 2000)}), bucket / "data")
    code, out, err = command("--data", bucket / "data", "--cache", bucket / "cache", *SMALL)
    assert code == 0 and f"store: {bucket}/cache/raw-100.zarr" in out
    assert f"featurize: {bucket}/cache: " in err and err.rstrip().endswith("MB to write")


def test_a_bucket_that_is_not_there_is_one_line(every_kind, bucket, command):
    for arguments in (
        ("--data", "s3://no-such-bucket/x"),
        ("--data", every_kind, "--cache", "s3://no-such-bucket/x"),
    ):
        code, out, err = command(*arguments, *SMALL)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert err.startswith("featurize: s3://no-such-bucket/x: there is no such bucket; make it, or")


def test_the_demo_needs_a_disk(bucket, command):
    code, out, err = command("--demo", "--data", bucket / "data", *SMALL)
    assert (code, out) == (2, "")
    assert err == f"featurize: {bucket}/data: must be on a disk, got a place in a bucket; name a folder\n"
