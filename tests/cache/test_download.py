"""Copies of stores in a bucket: downloaded once, checked, brought up to date, and never half trusted."""

import json
import os
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from cache import CacheError, DamagedError, open_cache
from cache.download import local_store
from cache.layout import feature_chunk_key
from cache.receipts import begun_with, checksum, done_groups, read_receipt, read_receipts, write_receipt
from cache.specification import MfccSpecification, RawSpecification
from cache.storage import BucketStorage, LocalStorage
from cache.verify import verify_store, verify_tables
from cache.writer import writing
from common import EarmarkError

RAW, MFCC = RawSpecification(sample_rate=100), MfccSpecification(n_mfcc=4, sample_rate=2000)
GROUPS = {0, 1, 2, 5}
pytestmark = pytest.mark.slow


@pytest.fixture
def made(make_cache, bucket, upload):
    """A cache on disk and, at `place`, in a bucket."""
    made = make_cache()
    upload(made.path, bucket / "deep" / "cache").remove("writer.lock")
    return made


@pytest.fixture
def place(made, bucket):
    return bucket / "deep" / "cache"


@pytest.fixture
def read(monkeypatch):
    """The keys of the objects that are read, as they are."""
    keys, read = [], BucketStorage.read_with_look
    monkeypatch.setattr(
        BucketStorage,
        "read_with_look",
        lambda self, key, *n: keys.append(f"{self.name}/{key}") or read(self, key, *n),
    )
    return keys


def _copy(place, folder, kind="raw"):
    source = open_cache(place)
    return local_store(source, source.open_store(kind), folder)


def _chunks(keys):
    return sorted(int(key.split("/c/")[1].split("/")[0]) for key in keys if "/features/c/" in key)


def _change_group(place, group: int, value: int) -> None:
    """Write a raw group of one chunk anew, as `featurize --force` would, with other content."""
    store = place / RAW.name
    receipt = read_receipt(store, group)
    data = np.full(RAW.chunk_length, value, np.int16).tobytes()
    store.write(feature_chunk_key(RAW, group), data)
    slots = tuple(replace(s, digest="f" * 32, checksum=checksum(data[: 2 * s.length])) for s in receipt.slots)
    write_receipt(
        store, replace(receipt, checksums=(checksum(data),), slots=slots, versions={"numpy": "2.1 or so"})
    )
    with writing(place) as writer:
        receipts = read_receipts(store)
        writer.update_store(RAW, writer.tables.plan, receipts, begun_with(receipts))


def _local(folder, place) -> LocalStorage:
    return LocalStorage(folder / str(place).removeprefix("s3://"))


@pytest.mark.parametrize("kind", ["raw", "mfcc"])
def test_a_copy_is_the_store(made, place, tmp_path, kind):
    copy, original = _copy(place, tmp_path / "copies", kind), open_cache(made.path).open_store(kind)
    assert copy.storage.path() == _local(tmp_path / "copies", place).path(original.name)
    assert copy.identity == original.identity and copy.generation == original.generation
    length = original.n_chunks * original.specification.chunk_length
    assert np.array_equal(copy.read(0, length), made.features[original.name])
    assert np.array_equal(copy.start, original.start) and np.array_equal(copy.status, original.status)


def test_a_copy_is_a_cache_that_verifies(place, tmp_path):
    _copy(place, tmp_path)
    copy = _local(tmp_path, place)
    tables, findings = verify_tables(copy)
    assert findings == [] and verify_store(copy, tables, RAW.name) == []
    assert open_cache(copy).stores() == [RAW.name]
    assert tables.clips.equals(open_cache(place).clips)


def test_a_second_run_downloads_no_chunk(place, tmp_path, read):
    _copy(place, tmp_path)
    assert _chunks(read) == [0, 1, 2, 3, 4, 5]
    read.clear()
    _copy(place, tmp_path)
    assert _chunks(read) == [] and not any(".receipts/" in key for key in read)


def test_only_what_changed_is_downloaded(place, tmp_path, read):
    _copy(place, tmp_path)
    _change_group(place, 1, 7)
    read.clear()
    copy = _copy(place, tmp_path)
    assert _chunks(read) == [1]
    assert set(copy.read(RAW.chunk_length, 2 * RAW.chunk_length).tolist()) == {7}
    assert read_receipt(copy.storage, 1).slots[0].digest == "f" * 32


def test_a_copy_of_another_generation_is_made_anew(make_cache, place, upload, tmp_path):
    """After a compaction slots have other numbers, whatever receipts look like."""
    _copy(place, tmp_path)
    _copy(place, tmp_path, "mfcc")
    other = make_cache("other", seconds=[30.0, 40.0])
    with writing(other.path) as writer:
        writer.tables = replace(writer.tables, generation=1)
        writer.write_tables(writer.tables.clips, writer.tables.plan)
        for specification in (RAW, MFCC):
            receipts = read_receipts(writer.storage / specification.name)
            writer.update_store(specification, writer.tables.plan, receipts, begun_with(receipts))
    place.remove_all()
    upload(other.path, place).remove("writer.lock")
    copy = _copy(place, tmp_path)
    assert copy.generation == 1 and len(copy.start) == 2
    assert open_cache(_local(tmp_path, place)).stores() == [RAW.name]


@pytest.mark.parametrize("harm", [lambda path: path.unlink(), lambda path: path.write_bytes(b"short")])
def test_a_chunk_that_is_missing_or_short_is_downloaded_again(place, tmp_path, read, harm):
    harm(_copy(place, tmp_path).chunk_path(2))
    read.clear()
    copy = _copy(place, tmp_path)
    assert _chunks(read) == [2, 3, 4]  # its whole group
    assert copy.chunk_path(2).stat().st_size == RAW.chunk_bytes


def test_a_damaged_receipt_of_the_copy_is_no_receipt(place, tmp_path, read):
    path = _copy(place, tmp_path).storage.path().with_suffix(".receipts") / "000001.json"
    stat, data = path.stat(), path.read_bytes()
    path.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    os.utime(path, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
    read.clear()
    _copy(place, tmp_path)
    assert _chunks(read) == [1]


def test_a_chunk_that_is_not_what_its_receipt_says_is_refused(place, tmp_path):
    store, key = place / RAW.name, feature_chunk_key(RAW, 1)
    store.write(key, b"\1" + store.read(key)[1:])
    says = rf"^{re.escape(f'{store}/{key}')}: chunk's checksum must be \w{{16}}, got \w{{16}}; "
    with pytest.raises(
        DamagedError, match=says + rf"run `python -m cache verify --cache {place}`, then featurize$"
    ):
        _copy(place, tmp_path)
    copy = _local(tmp_path, place) / RAW.name
    assert 1 not in done_groups(copy) and copy.look("zarr.json") is None


@pytest.mark.parametrize("stopped_at", range(1, 8, 2))
def test_an_interrupted_download_resumes_and_trusts_nothing_by_halves(
    made, place, tmp_path, read, monkeypatch, stopped_at
):
    left, write = [stopped_at], LocalStorage.write

    def stop(self, key, data, durable=False):
        left[0] -= "features/c/" in key or key.startswith("0000")
        if not left[0]:
            raise KeyboardInterrupt
        write(self, key, data, durable)

    with monkeypatch.context() as patched:
        patched.setattr(LocalStorage, "write", stop)
        with pytest.raises(KeyboardInterrupt):
            _copy(place, tmp_path)
    done = done_groups(_local(tmp_path, place) / RAW.name)
    read.clear()
    copy = _copy(place, tmp_path)
    assert done < GROUPS and not any(chunk in done for chunk in _chunks(read))
    assert np.array_equal(copy.read(0, 6 * RAW.chunk_length), made.features[RAW.name])


def test_a_receipt_that_was_withdrawn_leaves_the_copy_too(place, tmp_path):
    receipts = _copy(place, tmp_path).storage.path().with_suffix(".receipts")
    shutil.copy(receipts / "000001.json", receipts / "000009.json")
    _copy(place, tmp_path)
    assert {path.name for path in receipts.iterdir()} == {f"{group:06d}.json" for group in GROUPS}


def test_a_store_that_changes_meanwhile_is_refused(place, tmp_path):
    source = open_cache(place)
    store = source.open_store("raw")
    _change_group(place, 1, 9)
    with pytest.raises(CacheError, match=r"raw-100\.zarr: was changed while it was downloaded; start again"):
        local_store(source, store, tmp_path)


def test_a_disk_that_is_too_small_is_said_before_anything_is_downloaded(place, tmp_path, monkeypatch, read):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    says = r"/deep/cache/raw-100\.zarr: free disk space must be at least 0\.3 MB, got 0\.0 MB; free some, or put"
    with pytest.raises(EarmarkError, match=says):
        _copy(place, tmp_path)
    assert _chunks(read) == []


def test_copies_of_two_caches_keep_apart(place, bucket, make_cache, upload, tmp_path):
    other = make_cache("other", seconds=[1.0, 2.0, 3.0])
    upload(other.path, bucket / "other").remove("writer.lock")
    first, second = _copy(place, tmp_path), _copy(bucket / "other", tmp_path)
    assert first.storage != second.storage and len(first.start) == 6 and len(second.start) == 3
    assert json.loads(first.storage.read("zarr.json")) == json.loads((place / RAW.name).read("zarr.json"))
