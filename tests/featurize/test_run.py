"""A cache follows its dataset: resumed, extended, repaired, and the same bytes however it came about."""

import os
import shutil
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from cache import CacheError, LogmelSpecification, MfccSpecification, RawSpecification, Status, open_cache
from cache.receipts import done_groups
from cache.receipts import withdraw as withdraw_receipt
from cache.storage import open_storage
from cache.writer import writing
from featurize.job import StoppedError
from featurize.run import WorkerKilledError, run_jobs
from featurize.summary import plan_lines, summarize, summary_lines

RAW, MFCC = RawSpecification(sample_rate=100), MfccSpecification(n_mfcc=4, sample_rate=2000)


@pytest.fixture
def small(tmp_path, write_dataset, noise):
    clips = {f"{i}.wav": noise(1 + i, 2000, seed=i) for i in range(4)}
    return write_dataset(tmp_path / "data", clips, {"t.wav": noise(2, 2000, seed=8)})


def withdraw(store, group):
    withdraw_receipt(open_storage(store), group)


def raw_of(cache, clip):
    """A clip's waveform as the cache has it."""
    store = cache.open_store("raw")
    slot = cache.clips.set_index("clip").at[clip, "slot"]
    return store.read(store.start[slot], store.start[slot] + store.length[slot]) * store.scale[slot]


def missing(work):
    return work.dataset.clips["clip"].iloc[work.scan.missing].tolist()


def statuses(cache, kind="raw"):
    store = cache.open_store(kind)
    clips = cache.clips
    return {clip: Status(store.status[slot]) for clip, slot in zip(clips["clip"], clips["slot"], strict=True)}


def test_every_kind_of_clip_has_its_status(every_kind, tmp_path, featurize):
    featurize(every_kind, tmp_path / "cache")
    found = statuses(open_cache(tmp_path / "cache"))
    assert {found.pop("text.wav")} == {Status.FAILED}
    assert {found.pop("cut.wav")} == {Status.TRUNCATED}
    assert {found.pop(name) for name in ("zero.wav", "empty.wav", "one.wav")} == {Status.EMPTY}  # one: 100 Hz
    assert set(found.values()) == {Status.OK}
    assert statuses(open_cache(tmp_path / "cache"), "mfcc")["silent.wav"] == Status.OK


@pytest.mark.parametrize(
    "options", [{"jobs": 4}, pytest.param({"jobs": 2, "engine": "processes"}, marks=pytest.mark.slow)]
)
def test_bytes_do_not_depend_on_jobs_or_engine(every_kind, tmp_path, featurize, file_bytes, options):
    featurize(every_kind, tmp_path / "one")
    featurize(every_kind, tmp_path / "other", **options)
    assert file_bytes(tmp_path / "one") == file_bytes(tmp_path / "other")


def test_a_second_run_has_nothing_to_do_and_changes_nothing(every_kind, tmp_path, featurize, file_bytes):
    featurize(every_kind, tmp_path / "cache")
    before = file_bytes(tmp_path / "cache")
    assert not featurize(every_kind, tmp_path / "cache").jobs
    assert file_bytes(tmp_path / "cache") == before


def test_a_long_clip_takes_consecutive_chunks_and_reads_as_one(every_kind, tmp_path, featurize):
    featurize(every_kind, tmp_path / "cache")
    cache = open_cache(tmp_path / "cache")
    samples = raw_of(cache, "long.flac")
    assert len(samples) == 60_000 > RAW.chunk_length * 2
    alone = tmp_path / "alone"
    featurize(every_kind, alone, specifications=[RawSpecification(100, "float32"), MFCC])
    np.testing.assert_allclose(samples, raw_of(open_cache(alone), "long.flac"), atol=np.abs(samples).max() / 65000)


def test_another_store_leaves_those_there_untouched(small, tmp_path, featurize, file_bytes):
    featurize(small, tmp_path / "cache", [RAW])
    before = {name: data for name, data in file_bytes(tmp_path / "cache").items() if name.startswith("raw-100.")}
    work = featurize(small, tmp_path / "cache", [RawSpecification(sample_rate=200)])
    after = file_bytes(tmp_path / "cache")
    assert {name: after[name] for name in before} == before
    assert [target.store.name for job in work.jobs for target in job.targets] == ["raw-200.zarr"]


def test_log_mel_frames_are_a_kind_like_the_others(small, tmp_path, featurize):
    featurize(small, tmp_path / "cache", [RAW, LogmelSpecification(8, 2000)])
    cache = open_cache(tmp_path / "cache")
    store = cache.open_store("logmel", n_mels=8)
    assert store.name == "logmel-8-2000.zarr" and store.read(store.start[0], store.start[0] + 4).shape == (4, 8)
    with pytest.raises(
        CacheError, match=r"must hold logmel features for --n-mels 9, got .*; run `python -m featurize --n-mels 9`"
    ):
        cache.open_store("logmel", n_mels=9)


def test_fewer_coefficients_are_served_by_more(small, tmp_path, featurize):
    featurize(small, tmp_path / "cache", [MFCC])
    work = featurize(small, tmp_path / "cache", [MfccSpecification(n_mfcc=3, sample_rate=2000)])
    assert not work.jobs and [store.storage.name for store in work.stores] == ["mfcc-4-2000.zarr"]


def test_new_clips_are_appended_and_old_ones_not_decoded(small, tmp_path, featurize, write_dataset, noise):
    featurize(small, tmp_path / "cache")
    before = raw_of(open_cache(tmp_path / "cache"), "3.wav").copy()
    names = ["new.wav", "0.wav", "1.wav", "2.wav", "3.wav"]
    write_dataset(small, {"new.wav": noise(1, 2000, seed=50)})
    (small / "train.csv").write_text("fname,label\n" + "".join(f"{name},Bell\n" for name in names))
    work = featurize(small, tmp_path / "cache")
    assert [slot.file for job in work.jobs for slot in job.slots] == ["audio_train/new.wav"]
    cache = open_cache(tmp_path / "cache")
    assert cache.clips["clip"].tolist() == [*names, "t.wav"]
    np.testing.assert_array_equal(raw_of(cache, "3.wav"), before)


def test_labels_and_order_change_without_computing(small, tmp_path, featurize):
    featurize(small, tmp_path / "cache")
    (small / "train.csv").write_text("fname,label\n3.wav,X\n2.wav,Y\n1.wav,X\n0.wav,Y\n")
    assert not featurize(small, tmp_path / "cache").jobs
    clips = open_cache(tmp_path / "cache").clips
    assert clips["clip"].tolist()[:4] == ["3.wav", "2.wav", "1.wav", "0.wav"]
    assert clips["label"].tolist() == ["X", "Y", "X", "Y", ""]


def test_a_changed_recording_gets_a_new_slot(small, tmp_path, featurize, noise):
    featurize(small, tmp_path / "cache")
    sf.write(small / "audio_train" / "1.wav", *noise(9, 2000, seed=77))
    work = featurize(small, tmp_path / "cache")
    assert work.scan.n_changed == 1 and [slot.file for job in work.jobs for slot in job.slots] == [
        "audio_train/1.wav"
    ]
    assert len(raw_of(open_cache(tmp_path / "cache"), "1.wav")) == 900


def test_a_recording_only_touched_is_not_computed_again(small, tmp_path, featurize):
    featurize(small, tmp_path / "cache")
    os.utime(small / "audio_train" / "1.wav", ns=(1, 1))
    assert not featurize(small, tmp_path / "cache").jobs
    assert open_cache(tmp_path / "cache").plan["mtime_ns"].tolist()[1] == 1


def test_unlisted_clips_stay_until_pruned(small, tmp_path, featurize):
    featurize(small, tmp_path / "cache")
    assert featurize(small, tmp_path / "cache", limit=2).unlisted["clip"].tolist() == ["2.wav", "3.wav"]
    assert open_cache(tmp_path / "cache").clips["clip"].tolist() == [*(f"{i}.wav" for i in range(4)), "t.wav"]
    featurize(small, tmp_path / "cache", limit=2, prune=True)
    assert open_cache(tmp_path / "cache").clips["clip"].tolist() == ["0.wav", "1.wav", "t.wav"]
    assert not featurize(small, tmp_path / "cache").jobs  # the slots are still there


def test_features_outlive_their_recording(small, tmp_path, featurize):
    featurize(small, tmp_path / "cache")
    (small / "audio_train" / "1.wav").unlink()
    work = featurize(small, tmp_path / "cache")
    assert not work.jobs and missing(work) == ["1.wav"]
    assert len(raw_of(open_cache(tmp_path / "cache"), "1.wav")) == 200


def test_a_missing_recording_fails_and_is_tried_again_when_it_is_there(
    small, tmp_path, featurize, noise, file_bytes
):
    away = (small / "audio_train" / "1.wav").rename(tmp_path / "1.wav")
    featurize(small, tmp_path / "cache")
    assert statuses(open_cache(tmp_path / "cache"))["1.wav"] == Status.FAILED
    assert not featurize(small, tmp_path / "cache").jobs
    away.rename(small / "audio_train" / "1.wav")
    featurize(small, tmp_path / "cache")
    cache = open_cache(tmp_path / "cache")
    assert statuses(cache)["1.wav"] == Status.OK and len(raw_of(cache, "1.wav")) == 200


def results_of(work):
    """The results by slot; of several stores those of the last."""
    return {r.slot: r for store in work.stores for receipt in store.receipts.values() for r in receipt.slots}


def test_an_unreadable_recording_is_tried_again_and_others_are_kept(small, tmp_path, featurize, unreadable):
    with unreadable("1.wav"):
        work = featurize(small, tmp_path / "cache")
    assert results_of(work)[1].reason == "Input/output error" and results_of(work)[1].retry
    (small / "audio_train" / "2.wav").unlink()  # its features are kept although its group is written again
    featurize(small, tmp_path / "cache")
    found = statuses(open_cache(tmp_path / "cache"))
    assert found["1.wav"] == found["2.wav"] == Status.OK


def test_force_keeps_the_features_of_recordings_that_cannot_be_read(small, tmp_path, featurize, unreadable):
    featurize(small, tmp_path / "cache")
    before = raw_of(open_cache(tmp_path / "cache"), "1.wav").copy()
    with unreadable("1.wav"):
        work = featurize(small, tmp_path / "cache", force=True)
    cache = open_cache(tmp_path / "cache")
    assert statuses(cache)["1.wav"] == statuses(cache, "mfcc")["1.wav"] == Status.OK
    np.testing.assert_array_equal(raw_of(cache, "1.wav"), before)
    lines = list(summary_lines(work, summarize(work), 1.0))
    assert "could not be read, so its former features are kept: 1.wav: Input/output error" in lines
    assert not any("failed" in line or line.startswith("all ") for line in lines)


def test_features_that_were_kept_are_computed_again_once_their_recording_can_be_read(
    small, tmp_path, featurize, unreadable, file_bytes
):
    featurize(small, tmp_path / "cache")
    before = file_bytes(tmp_path / "cache")
    with unreadable("1.wav"):
        featurize(small, tmp_path / "cache", force=True)
    assert len(featurize(small, tmp_path / "cache").jobs) == 1
    assert file_bytes(tmp_path / "cache") == before


def test_repair_of_a_vanished_recording_is_refused_and_said(small, tmp_path, featurize):
    featurize(small, tmp_path / "cache", [RAW])
    withdraw(tmp_path / "cache" / RAW.name, 0)
    (small / "audio_train" / "1.wav").unlink()
    featurize(small, tmp_path / "cache", [RAW])
    found = statuses(open_cache(tmp_path / "cache"))
    assert found["1.wav"] == Status.FAILED and found["0.wav"] == Status.OK


def test_a_recording_swapped_behind_its_time_is_not_taken_for_a_repair(small, tmp_path, featurize, noise):
    featurize(small, tmp_path / "cache", [RAW])
    withdraw(tmp_path / "cache" / RAW.name, 0)
    path = small / "audio_train" / "1.wav"
    stat = path.stat()
    sf.write(path, *noise(2, 2000, seed=99))
    os.utime(path, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
    work = featurize(small, tmp_path / "cache", [RAW])
    results = {r.slot: r for receipt in work.stores[0].receipts.values() for r in receipt.slots}
    assert results[1].status == Status.FAILED and "changed since it was planned" in results[1].reason


def test_a_withdrawn_receipt_makes_just_its_chunk_again(every_kind, tmp_path, featurize, file_bytes):
    featurize(every_kind, tmp_path / "cache")
    before = file_bytes(tmp_path / "cache")
    store = tmp_path / "cache" / RAW.name
    withdraw(store, min(done_groups(open_storage(store))))
    assert len(featurize(every_kind, tmp_path / "cache").jobs) == 1
    assert file_bytes(tmp_path / "cache") == before


def test_force_computes_again_to_the_same_bytes(small, tmp_path, featurize, file_bytes):
    featurize(small, tmp_path / "cache")
    before = file_bytes(tmp_path / "cache")
    assert len(featurize(small, tmp_path / "cache", force=True).jobs) == 1
    assert file_bytes(tmp_path / "cache") == before


def test_stop_on_error_names_the_clip_and_keeps_nothing_of_it(small, tmp_path, featurize):
    (small / "audio_train" / "1.wav").write_text("no sound")
    with pytest.raises(StoppedError, match=r"1\.wav: not a recording .*; stopped, as --on-error stop asks"):
        featurize(small, tmp_path / "cache", on_error="stop")
    with pytest.raises(CacheError, match="incomplete store, 5 of 5 clips are missing, '0.wav' for one"):
        open_cache(tmp_path / "cache").open_store("raw")


def test_a_disk_too_small_is_refused_before_anything_is_written(small, tmp_path, featurize, monkeypatch):
    monkeypatch.setattr("featurize.todo.shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(CacheError, match=r"free disk must be at least 0\.1 MB, got 0\.0 MB; free some, or put"):
        featurize(small, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.parquet"))


def test_a_second_writer_is_refused(small, tmp_path, featurize):
    with writing(tmp_path / "cache"), pytest.raises(CacheError, match=rf"process {os.getpid()} on .* is writing"):
        featurize(small, tmp_path / "cache")


def test_a_store_of_which_only_the_root_claims_a_newer_format_is_repaired(small, tmp_path, featurize, file_bytes):
    featurize(small, tmp_path / "cache", [RAW])
    before = file_bytes(tmp_path / "cache")
    metadata = tmp_path / "cache" / RAW.name / "zarr.json"
    metadata.write_text(metadata.read_text().replace('"format_version": 2', '"format_version": 9'))
    featurize(small, tmp_path / "cache", [RAW])
    assert file_bytes(tmp_path / "cache") == before


def test_a_store_of_a_newer_format_is_refused_by_name(small, tmp_path, featurize):
    featurize(small, tmp_path / "cache", [RAW])
    for key in ("zarr.json", "features/zarr.json"):
        metadata = tmp_path / "cache" / RAW.name / key
        metadata.write_text(metadata.read_text().replace('"format_version": 2', '"format_version": 3'))
    with pytest.raises(CacheError, match=r"raw-100\.zarr: store format version must be 2, got 3; update earmark"):
        featurize(small, tmp_path / "cache", [RAW])


def test_a_foreign_store_in_the_way_is_refused_by_name(small, tmp_path, featurize):
    featurize(small, tmp_path / "cache", [MFCC])
    (tmp_path / "cache" / RAW.name).mkdir(parents=True)
    (tmp_path / "cache" / RAW.name / "zarr.json").write_text('{"attributes": {}}')
    with pytest.raises(CacheError, match=r"raw-100\.zarr: must be a store of earmark, got a foreign one"):
        featurize(small, tmp_path / "cache", [RAW])


def test_a_store_that_was_removed_by_hand_is_made_again(small, tmp_path, featurize, file_bytes):
    featurize(small, tmp_path / "cache")
    before = file_bytes(tmp_path / "cache")
    shutil.rmtree(tmp_path / "cache" / RAW.name)  # its receipts are still there
    assert len(featurize(small, tmp_path / "cache").jobs) == 1
    assert file_bytes(tmp_path / "cache") == before


def test_a_folder_that_is_neither_empty_nor_a_cache_is_left_as_it_is(small, tmp_path, featurize, file_bytes):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "mine.partial").write_text("mine")
    with pytest.raises(CacheError, match=r"cache: is neither empty nor a cache, it holds mine\.partial"):
        featurize(small, tmp_path / "cache")
    assert file_bytes(tmp_path / "cache") == {"mine.partial": b"mine"}


@pytest.mark.parametrize("table", ["clips.parquet", "plan.parquet", "manifest.json"])
@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"\0" * 9)])
def test_a_damaged_table_is_made_again_and_said(small, tmp_path, featurize, planned, file_bytes, table, damage):
    featurize(small, tmp_path / "cache")
    before = file_bytes(tmp_path / "cache")
    damage(tmp_path / "cache" / table)
    line = next(plan_lines(planned(small, tmp_path / "cache")))
    assert line.startswith(f"{tmp_path}/cache/{table}: ") and "made anew" in line
    work = featurize(small, tmp_path / "cache")
    assert not work.jobs and line in work.rebuilt and file_bytes(tmp_path / "cache") == before


def test_damaged_metadata_is_repaired(small, tmp_path, featurize, file_bytes):
    featurize(small, tmp_path / "cache")
    before = file_bytes(tmp_path / "cache")
    for key in ("zarr.json", "status/zarr.json", "length/c/0"):
        (tmp_path / "cache" / RAW.name / key).write_bytes(b"\0\1\2")
    assert not featurize(small, tmp_path / "cache").jobs
    assert file_bytes(tmp_path / "cache") == before


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_what_is_no_file_fails_and_does_not_make_the_cache_grow(small, tmp_path, featurize, file_bytes, make):
    clip = sorted((small / "audio_train").iterdir())[0]
    clip.unlink()
    make(clip)
    work = featurize(small, tmp_path / "cache", [RAW])
    reasons = work.stores[0].receipts.texts("reason").to_pylist()
    assert "not a regular file" in reasons
    before = file_bytes(tmp_path / "cache")
    assert not featurize(small, tmp_path / "cache", [RAW]).jobs and file_bytes(tmp_path / "cache") == before


def test_a_recording_that_becomes_a_folder_keeps_its_features(small, tmp_path, featurize, file_bytes):
    featurize(small, tmp_path / "cache", [RAW])
    before = file_bytes(tmp_path / "cache")
    clip = sorted((small / "audio_train").iterdir())[0]
    clip.unlink()
    clip.mkdir()
    work = featurize(small, tmp_path / "cache", [RAW])
    assert missing(work) == [clip.name] and file_bytes(tmp_path / "cache") == before


def test_a_recording_that_cannot_be_read_keeps_the_slot_that_it_had(small, tmp_path, featurize, monkeypatch):
    featurize(small, tmp_path / "cache", [RAW])
    clip = sorted((small / "audio_train").iterdir())[0]
    os.utime(clip, ns=(1, 1))
    clip.write_bytes(clip.read_bytes() + b"more")
    monkeypatch.setattr("featurize.scan.read_header", _unreadable)
    for _ in range(2):
        work = featurize(small, tmp_path / "cache", [RAW])
        assert missing(work) == [clip.name] and (work.scan.n_new, work.scan.n_changed) == (0, 0)


def _unreadable(path):
    raise PermissionError(13, "Permission denied", str(path))


def note(folder, n):
    (folder / f"{n} {os.getpid()}").touch()


def fail(n):
    raise OSError(28, "No space left on device")


def die(n):
    os.kill(os.getpid(), signal.SIGKILL)


def test_no_jobs_are_no_results():
    assert list(run_jobs(fail, [], 2, "threads")) == []


@pytest.mark.parametrize("engine", ["threads", pytest.param("processes", marks=pytest.mark.slow)])
def test_what_a_job_raises_comes_back(engine):
    with pytest.raises(OSError, match="No space left on device"):
        list(run_jobs(fail, range(3), 2, engine))


@pytest.mark.slow
def test_a_killed_worker_is_reported():
    with pytest.raises(WorkerKilledError, match="a worker process was killed"):
        list(run_jobs(die, range(3), 2, "processes"))


def test_worker_processes_do_every_job_and_end_with_them(tmp_path):
    assert sorted(run_jobs(partial(note, tmp_path), range(4), 2, "processes")) == [0, 1, 2, 3]
    noted = sorted(path.name.split() for path in tmp_path.iterdir())
    assert [n for n, _ in noted] == ["0", "1", "2", "3"]
    for pid in {int(pid) for _, pid in noted}:
        assert pid != os.getpid()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
