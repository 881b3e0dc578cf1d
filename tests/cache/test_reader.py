import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
import zarr.storage
from obstore.store import from_url

from cache import Cache, CacheError, DamagedError, Status, Store, open_cache
from cache.receipts import Receipts, read_receipts, withdraw
from cache.specification import LogmelSpecification, MfccSpecification, RawSpecification
from cache.storage import LocalStorage
from cache.tables import read_tables, write_tables

ROOT = Path(__file__).parents[2]
RAW = RawSpecification(100)
FLOAT = RawSpecification(100, "float32")
MFCC = MfccSpecification(4, 2000)
LOGMEL = LogmelSpecification(3, 2000)
SPECIFICATIONS = (RAW, FLOAT, MFCC, LOGMEL)
each_kind = pytest.mark.parametrize("specification", SPECIFICATIONS, ids=lambda s: s.name)


def test_the_tables_are_read_when_the_cache_is_opened(make_cache, make_plan):
    made = make_cache()
    cache = open_cache(str(made.path))
    write_tables(cache.storage, cache.clips.head(2), cache.plan, 1)
    assert cache.clips["clip"].tolist() == [f"clip {i}.wav" for i in range(6)]
    assert list(cache.clips) == ["clip", "split", "label", "manually_verified", "slot"]
    assert cache.plan["group"].tolist() == [0, 0, 0, 1, 2, 5] and cache.generation == 0


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_no_cache_is_said(tmp_path, make):
    make(tmp_path / "cache")
    with pytest.raises(CacheError, match=r"/cache: no cache here; run `python -m featurize` first"):
        open_cache(tmp_path / "cache")


def test_tables_read_before_a_compaction_are_not_used_with_a_store_of_after(make_cache):
    made = make_cache()
    cache = open_cache(made.path)
    tables = read_tables(cache.storage)
    write_tables(cache.storage, tables.clips, tables.plan, 1)
    root = made.path / RAW.name / "zarr.json"
    metadata = json.loads(root.read_text())
    metadata["attributes"]["generation"] = 1
    root.write_text(json.dumps(metadata))
    message = r"raw-100\.zarr: is of generation 1, but the tables read are of generation 0; the cache was compacted"
    for ask in (
        lambda: cache.open_store("raw"),
        lambda: cache.store("raw-100"),
        lambda: cache.open_store("raw", RAW.name),
    ):
        with pytest.raises(CacheError, match=message):
            ask()
    assert open_cache(made.path).store(RAW.name).generation == 1
    with pytest.raises(CacheError, match=r"mfcc-4-2000\.zarr: is of generation 0, but the tables read are of .* 1"):
        open_cache(made.path).open_store("mfcc")


def test_a_store_that_was_replaced_is_not_mixed_into_the_one_that_was_opened(make_cache):
    """Chunks that were not mapped yet come from the folder that was opened, or from none."""
    made, other = make_cache(), make_cache("other", seconds=[200.0, 100.0, 7.0])
    cache = open_cache(made.path)
    store, mapped = cache.open_store("raw"), cache.open_store("raw").chunk(0)
    (made.path / RAW.name).rename(made.path / "aside")
    (other.path / RAW.name).rename(made.path / RAW.name)
    for change in (lambda: None, lambda: shutil.rmtree(made.path / "aside"), lambda: shutil.rmtree(made.path)):
        change()
        for ask in (lambda: store.read(0, 10), lambda: cache.missing(store)):
            with pytest.raises(
                CacheError, match=r"raw-100\.zarr: was replaced or removed while it was read; start"
            ):
                ask()
    np.testing.assert_array_equal(mapped, made.features[RAW.name][: RAW.chunk_length])


def test_slots_that_start_elsewhere_than_the_plan_says_are_damage(make_cache):
    made = make_cache()
    path = made.path / RAW.name / "start" / "c" / "0"
    starts = np.fromfile(path, np.int64)
    starts[3] += 1
    path.write_bytes(starts.tobytes())
    with pytest.raises(
        DamagedError, match=r"raw-100\.zarr: its slots do not start where the plan says; run featurize"
    ):
        open_cache(made.path).open_store("raw")


def test_stores_are_listed_by_name(make_cache):
    made = make_cache(specifications=[RAW, MFCC, RawSpecification(50)])
    (made.path / "raw-7.zarr").write_text("a file")
    (made.path / "mine.zarr").mkdir()
    cache = open_cache(made.path)
    assert cache.stores() == ["mfcc-4-2000.zarr", "raw-100.zarr", "raw-50.zarr"] and cache.kinds == {"raw", "mfcc"}


def test_nothing_needs_to_be_said_where_one_store_fits(make_cache):
    cache = open_cache(make_cache().path)
    assert cache.open_store("raw").name == "raw-100.zarr"
    assert cache.open_store("mfcc", sample_rate=2000, n_mfcc=4).specification == MFCC
    assert cache.store("raw-100").name == cache.store("raw-100.zarr").name == "raw-100.zarr"


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (
            {"kind": "raw", "sample_rate": 50},
            r"must hold raw features for --sr 50, got mfcc-4-2000\.zarr, raw-100\.zarr; "
            "run `python -m featurize --sr 50`$",
        ),
        (
            {"kind": "mfcc", "sample_rate": 44100, "n_mfcc": 4},
            r"for --mfcc-sr 44100 --mfcc 4, got .*; run `python -m featurize --mfcc-sr 44100 --mfcc 4`$",
        ),
        ({"kind": "mfcc", "n_mfcc": 5}, r"for --mfcc 5, got .*; run `python -m featurize --mfcc 5`$"),
        ({"kind": "logmel", "n_mels": 9}, r"for --n-mels 9, got .*; run `python -m featurize --n-mels 9`$"),
        ({"kind": "logmel"}, r"must hold logmel features, got .*; run `python -m featurize`$"),
    ],
)
def test_a_store_that_is_not_there_is_asked_for_with_its_flags(make_cache, asked, says):
    with pytest.raises(CacheError, match=says):
        open_cache(make_cache().path).open_store(**asked)


def test_a_cache_without_stores_says_so(make_cache):
    cache = open_cache(make_cache(specifications=[]).path)
    with pytest.raises(CacheError, match=r"must hold raw features, got no store; run `python -m featurize`$"):
        cache.open_store("raw")
    with pytest.raises(CacheError, match=r"/cache: has no store '\.\./raw-100\.zarr'; it has no store$"):
        cache.store("../raw-100.zarr")


def test_several_stores_that_fit_are_chosen_from_by_their_flags(make_cache):
    cache = open_cache(
        make_cache(specifications=[RAW, RawSpecification(50), MFCC, MfccSpecification(2, 1000)]).path
    )
    message = r"one raw store must fit, got raw-100\.zarr and raw-50\.zarr; choose with --sr or --store NAME$"
    with pytest.raises(CacheError, match=message):
        cache.open_store("raw")
    with pytest.raises(
        CacheError, match=r"one mfcc store must fit, .*; choose with --mfcc-sr or --mfcc or --store"
    ):
        cache.open_store("mfcc")
    assert cache.open_store("raw", sample_rate=50).name == "raw-50.zarr"


def test_stores_that_no_number_tells_apart_are_chosen_by_name(make_cache):
    cache = open_cache(make_cache(specifications=[RAW, FLOAT]).path)
    message = r"got raw-100-.*\.zarr and raw-100\.zarr; choose with --store NAME$"
    with pytest.raises(CacheError, match=message):
        cache.open_store("raw", sample_rate=100)
    for name in (RAW.name, FLOAT.name, FLOAT.name.removesuffix(".zarr")):
        assert cache.open_store("raw", store=name).name.startswith(name)
    with pytest.raises(CacheError, match=r"raw-100\.zarr: must hold mfcc features, got raw"):
        cache.open_store("mfcc", store=RAW.name)


def test_the_fewest_coefficients_that_serve_are_taken(make_cache):
    cache = open_cache(make_cache(specifications=[MFCC, MfccSpecification(2, 2000)]).path)
    assert cache.open_store("mfcc", n_mfcc=2).name == "mfcc-2-2000.zarr"
    assert cache.open_store("mfcc", n_mfcc=3).name == "mfcc-4-2000.zarr"
    assert cache.open_store("mfcc", n_mfcc=1).name == "mfcc-2-2000.zarr"
    with pytest.raises(CacheError, match=r"one mfcc store must fit, got .*; choose with --mfcc or --store NAME$"):
        cache.open_store("mfcc")


def test_a_store_that_cannot_be_opened_is_only_in_the_way_where_no_other_fits(make_cache):
    cache = open_cache(make_cache().path)
    cache.storage.path("raw-50.zarr").mkdir()
    assert cache.open_store("raw").name == "raw-100.zarr"
    with pytest.raises(CacheError, match=r"raw-50\.zarr/zarr\.json: missing; run featurize to repair it"):
        cache.open_store("raw", sample_rate=50)


def test_an_incomplete_store_is_refused_by_name(make_cache):
    cache = open_cache(make_cache(without=[1, 5]).path)
    message = r"/raw-100\.zarr: incomplete store, 2 of 6 clips are missing, 'clip 3\.wav' for one; rerun featurize to resume"
    with pytest.raises(CacheError, match=message):
        cache.open_store("raw")


def test_a_withdrawn_receipt_makes_a_store_incomplete(make_cache):
    made = make_cache()
    withdraw(LocalStorage(made.path / RAW.name), 2)
    with pytest.raises(
        CacheError, match=r"raw-100\.zarr: incomplete store, 1 of 6 clips are missing, 'clip 4\.wav'"
    ):
        open_cache(made.path).open_store("raw")
    assert open_cache(made.path).open_store("mfcc")


def test_a_receipt_that_is_not_in_the_arrays_yet_does_not_count(make_cache):
    whole, broken = make_cache("whole"), make_cache("broken", without=[1])
    for kind in ("raw-100", "mfcc-4-2000"):
        shutil.copytree(whole.path / f"{kind}.receipts", broken.path / f"{kind}.receipts", dirs_exist_ok=True)
        shutil.copytree(
            whole.path / f"{kind}.zarr/features", broken.path / f"{kind}.zarr/features", dirs_exist_ok=True
        )
    with pytest.raises(CacheError, match="incomplete store, 1 of 6 clips are missing"):
        open_cache(broken.path).open_store("raw")


def test_clips_that_the_store_does_not_know_yet_are_missing(make_cache):
    small, large = make_cache("small", seconds=[3, 3]), make_cache("large", seconds=[3, 3, 3])
    for name in ("clips.parquet", "plan.parquet", "manifest.json"):
        shutil.copy(large.path / name, small.path / name)
    with pytest.raises(CacheError, match=r"incomplete store, 1 of 3 clips are missing, 'clip 2\.wav' for one"):
        open_cache(small.path).open_store("raw")


@pytest.mark.parametrize(
    "harm", [Path.unlink, lambda path: path.write_bytes(b"short"), lambda path: (path.unlink(), os.mkfifo(path))]
)
def test_a_store_whose_chunks_are_gone_is_incomplete_although_its_receipts_stay(make_cache, harm):
    made = make_cache()
    harm(made.path / RAW.name / "features" / "c" / "3")
    cache = open_cache(made.path)
    assert cache.missing(cache.store(RAW.name)).tolist() == ["clip 4.wav"]
    with pytest.raises(CacheError, match=r"raw-100\.zarr: incomplete store, 1 of 6 clips are missing"):
        cache.open_store("raw")


@pytest.mark.parametrize("what", ["features", "."])
def test_a_store_that_was_removed_by_hand_is_not_complete(make_cache, what):
    made = make_cache()
    shutil.rmtree(made.path / RAW.name / what)
    cache = open_cache(made.path)
    assert dict(read_receipts(cache.storage / RAW.name)) == {}
    with pytest.raises(
        CacheError, match=r"raw-100\.zarr: damaged|must hold raw features, got mfcc-4-2000\.zarr; run"
    ):
        cache.open_store("raw")


def test_what_became_of_each_clip_is_said_by_the_receipts(make_cache):
    cache = open_cache(make_cache(without=[1]).path)
    status = cache.status(read_receipts(cache.storage / RAW.name))
    assert status.tolist() == [Status.OK, Status.EMPTY, Status.OK, Status.PENDING, Status.OK, Status.OK]
    assert cache.status(Receipts([])).tolist() == [Status.PENDING] * 6


def test_failed_and_empty_clips_are_not_missing(make_cache):
    store = open_cache(make_cache().path).open_store("raw")
    assert store.status[1] == Status.EMPTY and store.length[1] == 0


def test_reading_a_cache_writes_nothing(make_cache):
    made = make_cache()
    before = {path: path.stat().st_mtime_ns for path in made.path.rglob("*")}
    store = open_cache(made.path).open_store("raw")
    store.read(0, 100)
    assert {path: path.stat().st_mtime_ns for path in made.path.rglob("*")} == before


def test_a_cache_in_a_bucket_is_read_but_for_its_features(make_cache, bucket, upload):
    made = make_cache(specifications=[RAW])
    upload(made.path, bucket / "deep")
    cache, original = open_cache(f"{bucket}/deep"), open_cache(made.path)
    assert isinstance(cache, Cache) and cache.stores() == [RAW.name] and cache.clips.equals(original.clips)
    found, expected = cache.open_store("raw"), original.open_store("raw")
    assert found.attributes == expected.attributes and found.n_chunks == expected.n_chunks
    for name in ("start", "length", "status", "scale"):
        assert np.array_equal(getattr(found, name), getattr(expected, name))
    with pytest.raises(
        CacheError, match=r"^s3://.*/deep/raw-100\.zarr: must be on a disk, got a place in a bucket"
    ):
        found.read(0, 10)


@pytest.mark.slow
@pytest.mark.parametrize("key", ["scale/c/0", "start/zarr.json", "features/zarr.json"])
def test_a_store_in_a_bucket_that_lacks_a_file_is_damaged(make_cache, bucket, upload, key):
    upload(make_cache(specifications=[RAW]).path, bucket)
    (bucket / RAW.name).remove(key)
    with pytest.raises(
        DamagedError, match=r"raw-100\.zarr: damaged, cannot read its arrays; run featurize to repair"
    ):
        Store(bucket / RAW.name)


@pytest.mark.slow
def test_zarr_opens_a_store_in_a_bucket(make_cache, bucket, upload):
    made = make_cache()
    upload(made.path, bucket)
    objects = from_url(f"{bucket}/{RAW.name}", client_options={"allow_http": True})
    root = zarr.open_group(zarr.storage.ObjectStore(objects, read_only=True), mode="r")
    assert np.array_equal(root["features"][:], made.features[RAW.name])


# Clips by name


@pytest.fixture
def recordings(tmp_path, write_dataset, noise, featurize):
    """A cache of recordings at 2,000 Hz: "a.wav" in both splits, one that is empty, and one that is none."""
    train = {
        "a.wav": noise(0.5, 2000),
        "b.wav": noise(0.25, 2000, 1),
        "empty.wav": noise(0, 2000),
        "bad.wav": noise(1, 2000),
    }
    data = write_dataset(tmp_path / "data", train, {"a.wav": noise(0.3, 2000, 2)})
    (data / "audio_train" / "bad.wav").write_text("this is no recording")
    featurize(
        data,
        tmp_path / "cache",
        (RawSpecification(2000), FLOAT, MfccSpecification(8, 2000), LogmelSpecification(3, 2000)),
    )
    return open_cache(tmp_path / "cache")


def test_a_waveform_is_in_full_scale_whatever_the_store_holds(recordings, noise):
    samples = recordings.waveform("b.wav", sample_rate=2000)
    assert samples.dtype == np.float32 and samples.shape == (500,)
    np.testing.assert_allclose(samples, noise(0.25, 2000, 1)[0], atol=1e-4)
    assert np.array_equal(samples, recordings.waveform(1, store="raw-2000"))
    assert np.array_equal(recordings.waveform("b.wav", sample_rate=100), recordings.store(FLOAT.name)["b.wav"])


def test_frames_come_time_first_and_as_many_as_asked_for(recordings):
    n_frames = 1 + 1000 // 512
    mfcc, logmel = recordings.mfcc("a.wav", "train"), recordings.logmel(0)
    assert (
        mfcc.shape == (n_frames, 8) and logmel.shape == (n_frames, 3) and mfcc.dtype == logmel.dtype == np.float32
    )
    assert np.array_equal(recordings.mfcc(0, n_mfcc=2), mfcc[:, :2])
    mfcc[:] = 0  # a copy, so that it can be changed
    assert recordings.mfcc(0).any()


def test_a_name_in_both_splits_is_told_apart_by_the_split(recordings):
    assert len(recordings.waveform("a.wav", "train", sample_rate=2000)) == 1000
    assert len(recordings.waveform("a.wav", "test", sample_rate=2000)) == 600
    with pytest.raises(CacheError, match=r"clip 'a\.wav' is in train \(row 0\) and test \(row 4\); give the split"):
        recordings.waveform("a.wav")


def test_an_empty_clip_has_no_samples_and_no_frames(recordings):
    assert recordings.waveform("empty.wav", sample_rate=2000).shape == (0,)
    assert recordings.mfcc("empty.wav").shape == (0, 8) and recordings.logmel("empty.wav").shape == (0, 3)


def test_a_clip_that_failed_says_why(recordings):
    for ask in (
        lambda: recordings.waveform("bad.wav", sample_rate=2000),
        lambda: recordings.store("mfcc-8-2000")["bad.wav"],
    ):
        with pytest.raises(CacheError, match=r"clip 'bad\.wav' could not be decoded \(.*[Ff]ormat.*\); replace it"):
            ask()


def test_a_clip_that_is_not_featurized_yet_is_refused(make_cache):
    store = open_cache(make_cache(without=[1]).path).store(RAW.name)
    with pytest.raises(
        CacheError, match=r"raw-100\.zarr: clip 'clip 3\.wav' is not featurized yet; rerun featurize"
    ):
        store["clip 3.wav"]


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (
            lambda cache: cache.mfcc("b.wav", store="mfcc-8-2000", n_mfcc=9),
            r"mfcc-8-2000\.zarr: n_mfcc must be 1 to 8, got 9",
        ),
        (lambda cache: cache.mfcc("b.wav", n_mfcc=0), r"n_mfcc must be 1 to 8, got 0"),
        (lambda cache: cache.logmel("b.wav", store="logmel-3-2000", n_mels=4), r"n_mels must be 3, got 4"),
        (lambda cache: cache.waveform("b.wav"), r"one raw store must fit, got .*; choose with --sr"),
        (lambda cache: cache.waveform("b.wav", store="mfcc-8-2000"), r"must hold raw features, got mfcc"),
        (lambda cache: cache.open_store("mel"), r"kind must be one of raw, mfcc, logmel, got 'mel'"),
        (
            lambda cache: cache.open_store("raw", n_mels=3),
            r"numbers of raw features must be of sample_rate, got n_mels",
        ),
    ],
)
def test_numbers_that_no_store_has_are_refused(recordings, ask, says):
    with pytest.raises(CacheError, match=says):
        ask(recordings)


def test_a_store_is_opened_once_for_all_clips(recordings, monkeypatch):
    opened, before = [], LocalStorage.read
    monkeypatch.setattr(
        LocalStorage, "read", lambda storage, key, n=None: opened.append(key) or before(storage, key, n)
    )
    recordings.mfcc(0)
    n_reads = len(opened)
    assert n_reads and recordings.mfcc(1).any() and len(opened) == n_reads


def test_labels_stand_in_the_order_of_the_training_clips(recordings):
    assert recordings.labels == ["Bell", "None", "Rain drops"]
    assert recordings.names.tolist() == ["a.wav", "b.wav", "empty.wav", "bad.wav", "a.wav"]


def test_a_cache_tells_what_it_holds(recordings, make_cache):
    lines = repr(recordings).splitlines()
    assert lines[0] == f"Cache({recordings.storage})"
    assert lines[1] == "  4 training clips of 3 labels, 1 test clips, 1 s in all"
    assert lines[2].split() == [f"{name}," for name in recordings.stores()[:-1]] + recordings.stores()[-1:]
    assert repr(open_cache(make_cache("other", specifications=[]).path)).endswith("15 min 10 s in all\n  no store")


def test_a_cache_that_was_pickled_reads_the_same(recordings):
    before = recordings.mfcc("b.wav")
    again = pickle.loads(pickle.dumps(recordings))
    assert again.clips.equals(recordings.clips) and again.generation == recordings.generation
    assert np.array_equal(again.mfcc("b.wav"), before)
