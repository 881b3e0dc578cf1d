"""A job decodes each clip once for every store, trusts no file that is not the planned one, and loses nothing."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import soundfile as sf
import soxr
import xxhash

import featurize.job
from cache import LogmelSpecification, MfccSpecification, RawSpecification, Status
from cache.layout import feature_chunk_key
from cache.receipts import checksum, read_receipt
from cache.storage import open_storage
from featurize.decode import HELD_BYTES, Header, Recording, read_header
from featurize.features.logmel import logmel
from featurize.features.mfcc import mfcc
from featurize.job import Job, Slot, StoppedError, Target, computed_by, run_job

RAW, MFCC, LOGMEL = RawSpecification(100), MfccSpecification(4, 2000), LogmelSpecification(8, 2000)
ALL = (RAW, MFCC, LOGMEL)


@pytest.fixture
def data(tmp_path):
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture
def clips(data, noise):
    """Three short clips: paths."""
    paths = [data / f"{i}.wav" for i in range(3)]
    for i, path in enumerate(paths):
        sf.write(path, *noise(1 + i / 2, 2000, seed=i))
    return paths


def digest(path):
    return xxhash.xxh3_128_hexdigest(path.read_bytes())


def job_of(paths, cache, specifications=(RAW, MFCC), n_chunks=1, stop_on_error=False, targets=None, **changes):
    """A job of these recordings as they are now, one after another in group 3."""
    slots, ends, offsets = [], [0] * len(specifications), [{} for _ in specifications]
    for number, path in enumerate(paths, start=7):
        stat, header = os.stat(path), read_header(path)
        slot = Slot(
            number=number,
            file=path.name,
            size=stat.st_size,
            mtime_ns=stat.st_mtime_ns,
            digest="",
            header=header,
        )
        slots.append(replace(slot, **changes))
        for i, specification in enumerate(specifications):
            offsets[i][number] = ends[i]
            ends[i] += int(specification.capacity(header.native_samples, header.native_rate))
    stores = [open_storage(cache / specification.name) for specification in specifications]
    targets = targets or map(Target, stores, specifications, offsets)
    return Job(3, n_chunks, open_storage(paths[0].parent), tuple(slots), tuple(targets), stop_on_error)


def features_of(target, n_chunks=1):
    """All that a group's chunks hold, [time, ...]."""
    keys = [feature_chunk_key(target.specification, chunk) for chunk in range(3, 3 + n_chunks)]
    joined = b"".join(target.store.read(key) for key in keys)
    return np.frombuffer(joined, target.specification.dtype).reshape(-1, *target.specification.item_shape)


def again(job, receipts, **changes):
    """The job once more, after what it wrote: `again` by the targets' order, if given."""
    numbers = changes.pop("again", frozenset())
    targets = tuple(
        replace(target, earlier=receipt, again=frozenset(numbers))
        for target, receipt in zip(job.targets, receipts, strict=True)
    )
    return replace(job, targets=targets, **changes)


@pytest.fixture
def decoded(monkeypatch):
    """The digests of the recordings that jobs open."""
    opened, enter = [], Recording.__enter__
    monkeypatch.setattr(Recording, "__enter__", lambda self: opened.append(self.digest) or enter(self))
    return opened


def test_one_decode_fills_every_store(clips, tmp_path, decoded):
    job = job_of(clips, tmp_path, ALL)
    receipts = run_job(job)
    assert decoded == [digest(path) for path in clips]
    for target, receipt in zip(job.targets, receipts, strict=True):
        assert receipt == read_receipt(target.store, 3) and receipt.versions == computed_by()
        assert receipt.checksums == (checksum(target.store.read(feature_chunk_key(target.specification, 3))),)
        assert [result.status for result in receipt.slots] == [Status.OK] * 3
        for slot, result in zip(job.slots, receipt.slots, strict=True):
            assert (result.file, result.size, result.mtime_ns) == (slot.file, slot.size, slot.mtime_ns)
            assert Header(result.native_rate, result.native_samples) == slot.header


def test_the_features_are_those_of_the_functions_on_arrays(clips, tmp_path):
    job = job_of(clips, tmp_path, ALL)
    raw, mfccs, logmels = run_job(job)
    for number, path in enumerate(clips):
        samples, rate = sf.read(path, dtype="float32")
        begins = [target.offsets[job.slots[number].number] for target in job.targets]
        results = [receipt.slots[number] for receipt in (raw, mfccs, logmels)]
        parts = [
            features_of(target)[begin : begin + result.length]
            for target, begin, result in zip(job.targets, begins, results, strict=True)
        ]
        np.testing.assert_array_equal(parts[1], mfcc(samples, rate, 4))
        np.testing.assert_array_equal(parts[2], logmel(samples, rate, 8))
        at_100 = soxr.resample(samples, rate, 100, "HQ")
        np.testing.assert_allclose(parts[0] * np.float64(results[0].value), at_100, atol=0.501 * results[0].value)
        assert [result.checksum for result in results] == [checksum(part.tobytes()) for part in parts]


def test_a_stores_bytes_do_not_depend_on_which_stores_are_computed_with_it(clips, tmp_path):
    more = (
        *ALL,
        MfccSpecification(4, 2000, n_mels=40),
        LogmelSpecification(16, 2000),
        RawSpecification(100, "float32"),
    )
    together = job_of(clips, tmp_path / "together", more)
    for target, receipt in zip(together.targets, run_job(together), strict=True):
        alone = run_job(job_of(clips, tmp_path / "alone", (target.specification,)))[0]
        assert alone == receipt


@pytest.mark.parametrize("changes", [{"mtime_ns": 1}, {"size": 1}, {"digest": "0" * 32}])
def test_a_file_that_is_not_the_planned_one_fails_and_is_tried_again(clips, tmp_path, changes):
    result = run_job(job_of(clips[:1], tmp_path, **changes))[0].slots[0]
    assert result.status == Status.FAILED and result.retry
    assert result.reason.startswith("changed since it was planned; touch it and run featurize again")


def test_a_touched_file_with_the_planned_digest_is_the_planned_one(clips, tmp_path):
    job = job_of(clips[:1], tmp_path, digest=digest(clips[0]), mtime_ns=1)
    assert run_job(job)[0].slots[0].status == Status.OK


def test_a_recording_that_cannot_be_read_or_decoded_fails_alone(data, clips, tmp_path):
    (data / "text.raw").write_text("no sound")
    (data / "gone.wav").write_bytes(clips[0].read_bytes())
    job = job_of([clips[0], data / "text.raw", data / "gone.wav", clips[2]], tmp_path)
    (data / "gone.wav").unlink()
    slots = (*job.slots, replace(job.slots[0], number=20, file="a" * 300))
    targets = tuple(replace(target, offsets={**target.offsets, 20: 3000}) for target in job.targets)
    for receipt in run_job(replace(job, slots=slots, targets=targets)):
        assert [result.status for result in receipt.slots] == [
            Status.OK,
            *[Status.FAILED] * 2,
            Status.OK,
            Status.FAILED,
        ]
        assert (
            receipt.slots[1].reason.startswith("not a recording that libsndfile can decode")
            and not receipt.slots[1].retry
        )
        assert (receipt.slots[2].reason, receipt.slots[2].retry) == ("No such file or directory", True)
        assert (receipt.slots[4].reason, receipt.slots[4].retry) == ("File name too long", True)


def test_a_failed_slot_leaves_silence(data, tmp_path):
    (data / "text.wav").write_text("no sound")
    job = job_of([data / "text.wav"], tmp_path, ALL)
    values = [receipt.slots[0].value for receipt in run_job(job)]
    assert values == pytest.approx([0, -100 * np.sqrt(128), -100])
    assert not any(features_of(target).any() for target in job.targets)


def test_a_clip_too_loud_for_one_kind_of_features_has_the_others(data, tmp_path):
    sf.write(data / "loud.wav", np.full(5000, 1e30), 2000, subtype="FLOAT")
    raw, mfccs, _ = run_job(job_of([data / "loud.wav"], tmp_path, ALL))
    assert raw.slots[0].status == Status.OK and mfccs.slots[0].status == Status.FAILED
    assert mfccs.slots[0].reason == "cannot be featurized (its power is not finite: its samples are too large)"


def test_a_clip_too_short_for_one_sample_is_empty(data, tmp_path):
    sf.write(data / "short.wav", np.ones(1), 44100)
    assert run_job(job_of([data / "short.wav"], tmp_path, (RAW,)))[0].slots[0].status == Status.EMPTY


def test_stop_on_error_writes_nothing(clips, tmp_path):
    clips[1].write_text("no sound")
    with pytest.raises(StoppedError, match=r"1\.wav: not a recording .*; stopped, as --on-error stop asks"):
        run_job(job_of(clips, tmp_path, stop_on_error=True))
    assert not list(tmp_path.glob("*.zarr"))


def test_what_is_raised_before_a_commit_keeps_it_from_being_written(clips, tmp_path):
    def refuse():
        raise OSError("not this run's any more")

    with pytest.raises(OSError, match="not this run's any more"):
        run_job(job_of(clips, tmp_path), before_commit=refuse)
    assert not list(tmp_path.glob("*.zarr"))


def test_sound_results_stay_and_are_not_decoded_again(clips, tmp_path, decoded):
    job = job_of(clips, tmp_path)
    receipts = run_job(job)
    decoded.clear()
    for path in clips:
        path.unlink()
    assert run_job(again(job, receipts)) == receipts and not decoded


def damage(target, offset):
    """Flip a bit of the element at this offset."""
    path = target.store.path(feature_chunk_key(target.specification, 3))
    found = bytearray(path.read_bytes())
    found[offset * target.specification.item_bytes] ^= 1
    path.write_bytes(found)


def test_a_damaged_slot_is_computed_again_and_the_others_stay(clips, tmp_path, decoded):
    job = job_of(clips, tmp_path, ALL)
    receipts = run_job(job)
    job = replace(job, slots=tuple(replace(slot, digest=digest(clips[i])) for i, slot in enumerate(job.slots)))
    decoded.clear()
    damage(job.targets[0], job.targets[0].offsets[8] + 5)
    clips[0].unlink()
    clips[2].write_text("another recording")
    assert run_job(again(job, receipts)) == receipts and decoded == [digest(clips[1])]


@pytest.mark.parametrize(
    ("lose", "reason"),
    [
        (lambda path: path.unlink(), "No such file"),
        (lambda path: path.write_text("another"), "changed since it was"),
    ],
)
def test_a_damaged_slot_whose_recording_is_gone_or_changed_fails_alone(clips, tmp_path, lose, reason):
    job = job_of(clips, tmp_path, ALL)
    receipts = run_job(job)
    job = replace(job, slots=tuple(replace(slot, digest=digest(clips[i])) for i, slot in enumerate(job.slots)))
    before = features_of(job.targets[1]).copy()
    damage(job.targets[1], job.targets[1].offsets[8] + 1)
    lose(clips[1])
    raw, mfccs, logmels = run_job(again(job, receipts))
    assert (raw, logmels) == (receipts[0], receipts[2])
    assert mfccs.slots[::2] == receipts[1].slots[::2]
    assert (
        mfccs.slots[1].status == Status.FAILED and mfccs.slots[1].retry and mfccs.slots[1].reason.startswith(reason)
    )
    begin, end = job.targets[1].offsets[8], job.targets[1].offsets[9]
    before[begin:end] = 0
    np.testing.assert_array_equal(features_of(job.targets[1]), before)


@pytest.mark.parametrize("lose", [lambda path: path.unlink(), lambda path: path.write_text("another")])
def test_features_that_cannot_be_computed_again_stay_and_the_result_says_so(clips, tmp_path, lose):
    job = job_of(clips, tmp_path)
    receipts = run_job(job)
    before = [features_of(target) for target in job.targets]
    lose(clips[1])
    forced = run_job(again(job, receipts, again={7, 8, 9}))
    for found, receipt in zip(forced, receipts, strict=True):
        assert found.slots[::2] == receipt.slots[::2] and found.checksums == receipt.checksums
        kept = found.slots[1]
        assert kept.retry and kept.reason and replace(kept, retry=False, reason="") == receipt.slots[1]
    for target, features in zip(job.targets, before, strict=True):
        np.testing.assert_array_equal(features_of(target), features)


def test_a_failure_that_can_be_tried_again_is(clips, tmp_path):
    job = job_of(clips, tmp_path)
    sound = run_job(job_of(clips, tmp_path / "whole"))
    kept = clips[1].read_bytes()
    clips[1].unlink()
    receipts = run_job(job)
    clips[1].write_bytes(kept)
    os.utime(clips[1], ns=(0, job.slots[1].mtime_ns))
    assert run_job(again(job, receipts, again={8})) == sound


def test_results_of_slots_that_the_job_does_not_name_stay(clips, tmp_path):
    job = job_of(clips, tmp_path)
    receipts = run_job(job)
    assert run_job(again(job, receipts, again={7}, slots=job.slots[:1])) == receipts


@pytest.fixture
def streamed(monkeypatch):
    """Every clip counts as long, in blocks of a few thousand samples."""
    monkeypatch.setattr(featurize.job, "LONG_SAMPLES", 0)
    monkeypatch.setattr(featurize.job, "BLOCK_SAMPLES", 3001)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg"])
@pytest.mark.parametrize("trim_db", [None, 20.0])
def test_a_streamed_clip_has_the_bytes_of_one_in_memory(data, tmp_path, request, name, trim_db):
    samples = 0.1 * np.random.default_rng(0).standard_normal(120_000)
    samples[:30_000] *= 1e-4
    sf.write(data / name, samples, 4000)
    specifications = [
        RawSpecification(1600, trim_db=trim_db),
        RawSpecification(4000, "float32", trim_db=trim_db),
        MfccSpecification(13, 4000, trim_db=trim_db),
        MfccSpecification(13, 9000),
        LogmelSpecification(16, 4000, trim_db=trim_db),
    ]
    in_memory = run_job(job_of([data / name], tmp_path / "memory", specifications))
    request.getfixturevalue("streamed")
    assert run_job(job_of([data / name], tmp_path / "streamed", specifications)) == in_memory
    assert in_memory[0].slots[0].length > 30_000 and in_memory[0].slots[0].status == Status.OK


def test_a_streamed_clip_is_decoded_twice_for_all_stores_and_fills_several_chunks(
    data, tmp_path, streamed, monkeypatch
):
    sf.write(data / "a.wav", np.random.default_rng(0).uniform(-1, 1, 600_000), 1000)
    passes, blocks = [], Recording.blocks
    monkeypatch.setattr(Recording, "blocks", lambda self: passes.append(1) or blocks(self))
    job = job_of([data / "a.wav"], tmp_path, ALL, n_chunks=3)
    receipts = run_job(job)
    assert len(passes) == 2
    for target, receipt in zip(job.targets, receipts, strict=True):
        length = receipt.slots[0].length
        found = features_of(target, n_chunks=3)
        assert len(receipt.checksums) == 3 and len(found) > length > target.specification.chunk_length
        assert found[length - 1].any() and not found[length:].any()


@pytest.mark.parametrize("long", [False, True])
def test_sound_is_told_of_as_it_is_gone_through(data, tmp_path, request, long):
    if long:
        request.getfixturevalue("streamed")
    sf.write(data / "a.wav", np.random.default_rng(0).uniform(-1, 1, 50_000), 1000)
    told = []
    run_job(job_of([data / "a.wav"], tmp_path, ALL), on_sound=told.append)
    assert sum(told) == pytest.approx(50) and (len(told) > 1) == long


def test_a_streamed_clip_that_breaks_off_is_marked_truncated(data, tmp_path, streamed):
    sf.write(data / "a.wav", np.full(200_000, 0.5), 1000)
    (data / "a.wav").write_bytes((data / "a.wav").read_bytes()[:-1000])
    result = run_job(job_of([data / "a.wav"], tmp_path, (RAW,)))[0].slots[0]
    assert result.status == Status.TRUNCATED and result.length == 19_950


def test_a_streamed_clip_that_turns_out_not_to_be_one_fails(data, tmp_path, streamed):
    samples = np.zeros(200_000)
    samples[150_000] = np.nan
    sf.write(data / "a.wav", samples, 1000, subtype="FLOAT")
    job = job_of([data / "a.wav"], tmp_path, ALL)
    for target, receipt in zip(job.targets, run_job(job), strict=True):
        assert receipt.slots[0].reason == "samples must be finite, got NaN or infinity"
        assert not features_of(target).any()


DAY = """
import os, resource, sys
from pathlib import Path
sys.path[:0] = {path!r}
from cache import LogmelSpecification, MfccSpecification, RawSpecification
from featurize.job import run_job
from test_job import job_of
specifications = (RawSpecification(16000), MfccSpecification(40, 16000), LogmelSpecification(64, 16000))
job = job_of([Path({file!r})], Path({cache!r}), specifications, n_chunks=338)
for receipt in run_job(job):
    assert len(receipt.checksums) == 338 and receipt.slots[0].status == 1, receipt.slots
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_a_recording_of_24_hours_takes_at_most_1500_mb(data, tmp_path):
    rate = 2000
    with sf.SoundFile(data / "day.wav", "w", rate, 1, "PCM_16") as file:
        for hour in range(24):
            file.write(np.random.default_rng(hour).integers(-9999, 9999, 3600 * rate).astype(np.int16))
    assert os.path.getsize(data / "day.wav") > HELD_BYTES
    path = [os.path.dirname(__file__), os.path.dirname(os.path.dirname(featurize.__file__))]
    script = DAY.format(path=path, file=str(data / "day.wav"), cache=str(tmp_path))
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert int(said.stdout) < 1500
