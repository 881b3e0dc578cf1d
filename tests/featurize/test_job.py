"""A job decodes each clip once for every store, and trusts no file that is not the planned one."""

import os

import pytest
import soundfile as sf

import featurize.job
from cache import MfccSpecification, RawSpecification, Status
from featurize.decode import digest, read_header
from featurize.job import Job, Slot, StoppedError, run_job
from featurize.page import Target

RAW, MFCC = RawSpecification(100), MfccSpecification(4, 2000)


@pytest.fixture
def clip(tmp_path, noise):
    sf.write(tmp_path / "a.wav", *noise(1, 2000))
    return tmp_path / "a.wav"


def job_of(path, folder, **changes):
    stat = os.stat(path)
    slot = {"number": 0, "path": path, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "digest": ""}
    slot |= {"header": read_header(path), "offsets": (0, 0), **changes}
    targets = tuple(Target(folder / specification.name, specification) for specification in (RAW, MFCC))
    return Job(group=0, n_chunks=1, slots=(Slot(**slot),), targets=targets)


def test_one_decode_fills_every_store(clip, tmp_path, monkeypatch):
    decoded = []
    monkeypatch.setattr(
        featurize.job, "decode", lambda *a, decode=featurize.job.decode: decoded.append(a) or decode(*a)
    )
    raw, mfcc = run_job(job_of(clip, tmp_path))
    assert len(decoded) == 1
    assert (raw.slots[0].length, mfcc.slots[0].length) == (100, 4) and raw.slots[0].status == Status.OK
    assert raw.slots[0].digest == mfcc.slots[0].digest == digest(clip)


@pytest.mark.parametrize("changes", [{"mtime_ns": 1}, {"size": 1}, {"digest": "0" * 32}])
def test_a_file_that_is_not_the_planned_one_fails_and_is_tried_again(clip, tmp_path, changes):
    result = run_job(job_of(clip, tmp_path, **changes))[0].slots[0]
    assert result.status == Status.FAILED and result.retry
    assert result.reason.startswith("changed since it was planned; touch it and run featurize again")


def test_a_touched_file_with_the_planned_digest_is_the_planned_one(clip, tmp_path):
    job = job_of(clip, tmp_path, digest=digest(clip), mtime_ns=1)
    assert run_job(job)[0].slots[0].status == Status.OK


def test_a_file_that_is_gone_fails_with_the_systems_words(clip, tmp_path):
    job = job_of(clip, tmp_path)
    clip.unlink()
    result = run_job(job)[0].slots[0]
    assert (result.reason, result.retry) == ("No such file or directory", True)


def test_stop_on_error_writes_nothing(clip, tmp_path):
    job = job_of(clip, tmp_path)
    clip.write_text("no sound")
    job = Job(0, 1, job_of(clip, tmp_path).slots, job.targets, stop_on_error=True)
    with pytest.raises(StoppedError, match=r"a\.wav: not a recording .*; stopped, as --on-error stop asks"):
        run_job(job)
    assert not list(tmp_path.glob("*.zarr"))


def test_what_is_raised_before_a_commit_keeps_it_from_being_written(clip, tmp_path):
    def refuse():
        raise OSError("not this run's any more")

    with pytest.raises(OSError, match="not this run's any more"):
        run_job(job_of(clip, tmp_path), before_commit=refuse)
    assert list(tmp_path.iterdir()) == [clip]
