"""Recordings in a bucket: the same looks, headers, digests and features as those of a disk."""

import os
import struct
import tempfile
from threading import Barrier

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from cache.bucket.objects import ObjectPath
from cache.plan import empty_plan
from cache.receipts import Status
from cache.specification import MfccSpecification, RawSpecification
from featurize.bucket import BucketRecordings, local_files, recordings_of
from featurize.dataset import DatasetError, read_dataset
from featurize.decode import read_header
from featurize.job import Job, Slot, run_job
from featurize.page import Target
from featurize.recordings import ABSENT, UNREADABLE, Recordings
from featurize.scan import scan

RAW, MFCC = RawSpecification(100), MfccSpecification(4, 2000)


@pytest.fixture
def dataset(every_kind, bucket, upload):
    """A dataset with every kind of clip, in a bucket."""
    return upload(every_kind, bucket / "deep" / "data")


@pytest.fixture
def read(monkeypatch):
    """What is read of objects: (key, bytes asked for)."""
    reads = []
    read = ObjectPath.read
    monkeypatch.setattr(ObjectPath, "read", lambda path, *n: reads.append((path.name, *n)) or read(path, *n))
    return reads


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder that temporary files are made in; it must be empty in the end."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    yield tmp_path / "temporary"
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_dataset_in_a_bucket_is_read(every_kind, dataset):
    assert read_dataset(dataset).clips.equals(read_dataset(every_kind).clips)
    assert read_dataset(dataset).folder == dataset


def test_what_a_dataset_in_a_bucket_lacks_is_said(bucket, dataset):
    with pytest.raises(
        DatasetError, match=rf"^{bucket}/none: dataset folder must exist, got none; name yours with"
    ):
        read_dataset(bucket / "none")
    for path in list((dataset / "audio_test").rglob("*")):
        path.unlink()
    with pytest.raises(
        DatasetError, match=rf"^{dataset}/audio_test: must be the folder of the clips of sample_sub"
    ):
        read_dataset(dataset)


@pytest.mark.parametrize("name", ["../x.wav", "/x.wav", "a/../../x.wav", "."])
def test_a_name_cannot_leave_the_folder_of_its_clips(dataset, name):
    (dataset / "train.csv").write_bytes(f"fname,label\n{name},a\n".encode())
    with pytest.raises(DatasetError, match=r"train\.csv: fname must be a path inside the folder of its clips, got"):
        read_dataset(dataset)


def test_a_place_has_the_recordings_of_its_kind(every_kind, dataset):
    assert type(recordings_of(every_kind)) is Recordings
    assert type(recordings_of(dataset)) is BucketRecordings


def test_headers_and_digests_are_those_of_a_disk(every_kind, dataset, temporary):
    files = read_dataset(every_kind).clips["file"]
    here, there = Recordings(every_kind), BucketRecordings(dataset)
    assert np.array_equal(there.headers(files), here.headers(files))
    assert [there.digest(file) for file in files] == [here.digest(file) for file in files]
    assert np.array_equal(there.look(files)[0], here.look(files)[0])
    assert there.headers(files.iloc[:0]).shape == there.look(files.iloc[:0]).shape == (2, 0)


def test_looks_take_one_listing_a_folder_and_no_more(dataset, monkeypatch):
    asked = []
    page = ObjectPath._page
    monkeypatch.setattr(ObjectPath, "_page", lambda path, **o: asked.append(path.name) or page(path, **o))
    files, recordings = read_dataset(dataset).clips["file"], BucketRecordings(dataset)
    monkeypatch.setattr(ObjectPath, "stat", None)
    asked.clear()
    recordings.look(files)
    recordings.look(files.iloc[:3])
    assert asked == ["audio_train", "audio_test"]


def test_looks_at_what_is_not_there_and_at_other_forms_of_a_path(dataset, bucket):
    recordings = BucketRecordings(dataset)
    looks = recordings.look(pd.Series(["audio_train/1.wav", "audio_train/.//1.wav", "audio_train/none.wav"]))
    assert looks[0, 0] == looks[0, 1] > 0 and looks[0, 2] == looks[1, 2] == ABSENT
    stat = (dataset / "audio_train" / "1.wav").stat()
    assert looks[:, 0].tolist() == [stat.st_size, stat.st_mtime_ns]
    (bucket / "audio_train" / "1.wav").write_bytes(b"12")
    assert BucketRecordings(bucket).look(pd.Series(["audio_train/1.wav"]))[0, 0] == 2


def test_a_file_that_cannot_be_read_has_no_header(dataset, temporary):
    found = BucketRecordings(dataset).headers(pd.Series(["audio_train/none.wav", "audio_train/none.ogg"]))
    assert found.tolist() == [[UNREADABLE, UNREADABLE], [0, 0]]


def _wav(path, n_samples: int, before_data: bytes = b"", **changes) -> bytes:
    sf.write(path, np.random.default_rng(1).uniform(-1, 1, n_samples), 8000)
    data = path.read_bytes()
    claimed = struct.pack("<I", changes["claimed"]) if "claimed" in changes else data[40:44]
    return data[:36] + before_data + data[36:40] + claimed + data[44:]


@pytest.mark.parametrize(
    ("kind", "n_samples", "reads"),
    [
        ("short", 1000, [65536]),
        ("long", 100_000, [65536]),
        ("a megabyte of notes before its data", 100_000, [65536, None]),
        ("streamed", 100_000, [65536, None]),
        ("empty by its header", 100_000, [65536, None]),
        ("cut", 100_000, [65536, None]),
    ],
)
def test_of_a_wav_only_the_head_is_brought_where_it_says_all(
    bucket, tmp_path, read, temporary, kind, n_samples, reads
):
    notes = b"LIST" + struct.pack("<I", 10**6) + bytes(10**6) if kind.startswith("a megabyte") else b""
    claimed = {"streamed": {"claimed": 0xFFFFFFFF}, "empty by its header": {"claimed": 0}}.get(kind, {})
    data = _wav(tmp_path / "a.wav", n_samples, notes, **claimed)
    data = data[:150_000] if kind == "cut" else data
    (tmp_path / "a.wav").write_bytes(data)
    (bucket / "a.wav").write_bytes(data)
    found = BucketRecordings(bucket).headers(pd.Series(["a.wav"]))
    assert np.array_equal(found, Recordings(tmp_path).headers(pd.Series(["a.wav"])))
    assert [n[0] if n else None for _, *n in read] == reads


def test_local_files_of_a_disk_are_the_files(every_kind):
    paths = [every_kind / "train.csv", every_kind / "none"]
    assert list(local_files(paths)) == paths and list(local_files([])) == []


def test_local_files_of_a_bucket_are_copies_with_its_sizes_and_times(every_kind, dataset, temporary):
    names = ["audio_train/1.wav", "audio_train/none.wav", "audio_test/t.ogg", "audio_train/zero.wav"]
    for name, file in zip(names, local_files([dataset / name for name in names]), strict=True):
        if "none" in name:
            assert isinstance(file, FileNotFoundError) and file.filename == str(dataset / name)
            continue
        assert file.read_bytes() == (every_kind / name).read_bytes() and file.suffix == name[-4:]
        found, stat = os.stat(file), (dataset / name).stat()
        assert (found.st_size, found.st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)


def test_local_files_are_removed_where_they_are_not_all_taken(dataset, temporary):
    files = local_files([dataset / "audio_train" / f"{i}.wav" for i in range(6)])
    assert next(files).exists()
    files.close()


def _job(path, header, folder) -> Job:
    """A job of one slot, for a recording as it is now."""
    stat = path.stat()
    slot = Slot(0, path, stat.st_size, stat.st_mtime_ns, "", header, (0, 0))
    targets = tuple(Target(folder / specification.name, specification) for specification in (RAW, MFCC))
    return Job(group=0, n_chunks=1, slots=(slot,), targets=targets)


@pytest.fixture
def job(every_kind, dataset, tmp_path):
    """A job of one slot, a recording in a bucket."""
    header = read_header(every_kind / "audio_train" / "1.wav")
    return _job(dataset / "audio_train" / "1.wav", header, tmp_path / "there")


def test_a_job_decodes_a_recording_of_a_bucket(job, every_kind, tmp_path, temporary):
    there = run_job(job)
    here = run_job(_job(every_kind / "audio_train" / "1.wav", job.slots[0].header, tmp_path / "here"))
    assert there == here and there[0].slots[0].status == Status.OK


def test_a_recording_that_changed_or_left_since_it_was_planned_is_to_be_tried_again(job, temporary):
    path = job.slots[0].path
    path.write_bytes(path.read_bytes() + b"more")
    result = run_job(job)[0].slots[0]
    assert (result.status, result.retry) == (
        Status.FAILED,
        True,
    ) and "changed since it was planned" in result.reason
    path.unlink()
    result = run_job(job)[0].slots[0]
    assert (result.status, result.retry) == (Status.FAILED, True) and "NoSuchKey" in result.reason


def test_recordings_that_were_only_put_again_are_looked_at_by_threads(dataset, monkeypatch):
    recordings, digest = BucketRecordings(dataset), BucketRecordings.digest
    clips = read_dataset(dataset)
    found = scan(clips, empty_plan(), recordings)
    plan = found.plan.assign(digest=[digest(recordings, file) for file in found.plan["file"]])
    plan["mtime_ns"] -= 10**9
    together = Barrier(2, timeout=30)
    monkeypatch.setattr(BucketRecordings, "digest", lambda *given: together.wait() + 1 and digest(*given))
    again = scan(clips, plan, recordings)
    assert (again.n_new, again.n_changed) == (0, 0) and again.slots.tolist() == found.slots.tolist()
    assert again.plan["mtime_ns"].equals(found.plan["mtime_ns"])
