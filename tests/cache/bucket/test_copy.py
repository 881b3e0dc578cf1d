"""Copies of stores in a bucket: brought once, checked, brought up to date, and never half trusted."""

import json
import os
import re
import shutil

import numpy as np
import pytest

import cache.bucket.copy
from cache import Cache, CacheError, open_cache
from cache.bucket.copy import local_store
from cache.bucket.objects import ObjectPath
from cache.errors import DamagedError
from cache.fold import bring_up_to_date, read_receipts, store_files
from cache.receipts import Receipt, SlotResult, Status, checksum, done_groups, read_receipt, write_receipt
from cache.specification import MfccSpecification, RawSpecification
from cache.verification.stores import verify_store
from cache.verification.tables import verify_tables
from cache.zarr_files import feature_chunk_key

RAW, MFCC = RawSpecification(100), MfccSpecification(4, 2000)
GROUPS = {0, 1, 2, 5}


@pytest.fixture
def made(make_cache, bucket, upload):
    """A cache on disk and, at `place`, in a bucket."""
    made = make_cache()
    upload(made.path, bucket / "deep" / "cache")
    return made


@pytest.fixture
def place(made, bucket):
    return bucket / "deep" / "cache"


@pytest.fixture
def read(monkeypatch):
    """The keys of the objects that are read, as they are."""
    keys = []
    read = ObjectPath.read
    monkeypatch.setattr(ObjectPath, "read", lambda path, *n: keys.append(path.key) or read(path, *n))
    return keys


def _copy(place, folder, kind="raw"):
    source = open_cache(place)
    return local_store(source, source.open_store(kind), folder)


def _chunks(keys):
    return sorted(int(key.split("/c/")[1].split("/")[0]) for key in keys if "/features/c/" in key)


def _change_group(store, group: int, value: int) -> None:
    """Write a group of one chunk anew, as `featurize --force` would, with other content."""
    receipt = read_receipt(store, group)
    data = np.full(RAW.chunk_length, value, np.int16).tobytes()
    (store / feature_chunk_key(RAW, group)).write_bytes(data)
    results = tuple(SlotResult(s.slot, "other", Status.OK, s.length, s.value) for s in receipt.slots)
    write_receipt(store, Receipt(group, (checksum(data),), results, {"numpy": "2.1 or so"}))
    cache = Cache(store.parent)
    bring_up_to_date(store, store_files(cache.plan, RAW, read_receipts(store), {"numpy": "2.0"}))


@pytest.mark.parametrize("kind", ["raw", "mfcc"])
def test_a_copy_is_the_store(made, place, tmp_path, kind):
    copy, original = _copy(place, tmp_path / "copies", kind), open_cache(made.path).open_store(kind)
    assert copy.path == tmp_path / "copies" / place.bucket / "deep" / "cache" / original.name
    assert copy.identity == original.identity
    length = original.n_chunks * original.specification.chunk_length
    assert np.array_equal(copy.read(0, length), made.features[original.name])
    assert np.array_equal(copy.start, original.start) and np.array_equal(copy.status, original.status)


def test_a_copy_is_a_cache_that_verifies(place, tmp_path):
    copy = open_cache(_copy(place, tmp_path).path.parent)
    assert [path.name for path in copy.store_paths()] == [RAW.name]
    assert [found for found in verify_store(copy, copy.store_paths()[0]) if not isinstance(found, int)] == []
    assert list(verify_tables(copy.path)) == []
    assert copy.clips.equals(open_cache(place).clips)


def test_a_second_run_brings_no_chunk(place, tmp_path, read):
    _copy(place, tmp_path)
    assert _chunks(read) == [0, 1, 2, 3, 4, 5]
    read.clear()
    _copy(place, tmp_path)
    assert _chunks(read) == [] and not any(".receipts/" in key for key in read)


def test_only_what_changed_is_brought(place, tmp_path, read):
    _copy(place, tmp_path)
    _change_group(place / RAW.name, 1, 7)
    read.clear()
    copy = _copy(place, tmp_path)
    assert _chunks(read) == [1]
    assert set(copy.read(RAW.chunk_length, 2 * RAW.chunk_length).tolist()) == {7}
    assert read_receipt(copy.path, 1).slots[0].digest == "other"


@pytest.mark.parametrize("harm", [lambda path: path.unlink(), lambda path: path.write_bytes(b"short")])
def test_a_chunk_that_is_missing_or_short_is_brought_again(place, tmp_path, read, harm):
    harm(_copy(place, tmp_path).chunk_path(2))
    read.clear()
    copy = _copy(place, tmp_path)
    assert _chunks(read) == [2, 3, 4]  # its whole group
    assert copy.chunk_path(2).stat().st_size == copy.specification.chunk_bytes


def test_a_damaged_receipt_of_the_copy_is_no_receipt(place, tmp_path, read):
    path = _copy(place, tmp_path).path.with_suffix(".receipts") / "000001.json"
    stat = path.stat()
    path.write_bytes(path.read_bytes().replace(b'"status": 1', b'"status": 2'))
    os.utime(path, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
    read.clear()
    _copy(place, tmp_path)
    assert _chunks(read) == [1]


def test_a_chunk_that_is_not_what_its_receipt_says_is_refused(place, tmp_path):
    chunk = place / RAW.name / "features" / "c" / "1"
    chunk.write_bytes(b"\1" + chunk.read_bytes()[1:])
    with pytest.raises(
        DamagedError,
        match=rf"^{re.escape(str(chunk))}: chunk's checksum must be \w{{16}}, got \w{{16}}; "
        rf"run `python -m cache verify --cache {place}`, then featurize$",
    ):
        _copy(place, tmp_path)
    copy = tmp_path / place.bucket / place.key / RAW.name
    assert 1 not in done_groups(copy) and not (copy / "zarr.json").exists()


@pytest.mark.parametrize("stopped_at", range(1, 9))
def test_a_copy_that_broke_off_goes_on_and_trusts_nothing_by_halves(
    made, place, tmp_path, read, monkeypatch, stopped_at
):
    left = [stopped_at]
    write = cache.bucket.copy.write_atomic

    def stop(path, data):
        left[0] -= 1
        if not left[0]:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_name(path.name + ".partial").write_bytes(data[: len(data) // 2])
            raise KeyboardInterrupt
        write(path, data)

    with monkeypatch.context() as patched:
        patched.setattr(cache.bucket.copy, "_AT_A_TIME", 1)
        patched.setattr(cache.bucket.copy, "write_atomic", stop)
        with pytest.raises(KeyboardInterrupt):
            _copy(place, tmp_path)
    folder = tmp_path / place.bucket / place.key / RAW.name
    done = done_groups(folder)
    read.clear()
    copy = _copy(place, tmp_path)
    assert done < GROUPS and not any(chunk in done for chunk in _chunks(read))
    assert np.array_equal(copy.read(0, 6 * RAW.chunk_length), made.features[RAW.name])


def test_a_group_that_is_being_brought_again_counts_as_not_there(place, tmp_path, monkeypatch):
    copy = _copy(place, tmp_path)
    _change_group(place / RAW.name, 1, 7)
    there = []
    write = cache.bucket.copy.write_atomic
    monkeypatch.setattr(
        cache.bucket.copy,
        "write_atomic",
        lambda path, data: there.append(done_groups(copy.path)) or write(path, data),
    )
    _copy(place, tmp_path)
    assert there == [GROUPS - {1}, GROUPS - {1}]  # the chunk and its receipt


def test_a_receipt_that_was_withdrawn_leaves_the_copy_too(place, tmp_path):
    copy = _copy(place, tmp_path)
    shutil.copy(
        copy.path.with_suffix(".receipts") / "000001.json", copy.path.with_suffix(".receipts") / "000009.json"
    )
    _copy(place, tmp_path)
    assert done_groups(copy.path) == GROUPS


def test_a_store_that_changes_meanwhile_is_refused(place, tmp_path, monkeypatch):
    bring = cache.bucket.copy._bring_groups

    def bring_and_change(store, copy):
        bring(store, copy)
        _change_group(place / RAW.name, 1, 9)

    monkeypatch.setattr(cache.bucket.copy, "_bring_groups", bring_and_change)
    with pytest.raises(
        CacheError, match=r"raw-100\.zarr: must stay as it is while it is brought, got a change; run"
    ):
        _copy(place, tmp_path)
    monkeypatch.undo()


def test_a_disk_that_is_too_small_is_said_before_anything_is_brought(place, tmp_path, monkeypatch, read):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(
        CacheError,
        match=r"/deep/cache/raw-100\.zarr: free disk must be at least 0\.3 MB for a copy of the store, got 0\.0 MB; free",
    ):
        _copy(place, tmp_path)
    assert _chunks(read) == []


def test_copies_of_two_caches_keep_apart(place, bucket, make_cache, upload, tmp_path):
    upload(make_cache("other", seconds=[1.0, 2.0, 3.0]).path, bucket / "other")
    first, second = _copy(place, tmp_path), _copy(bucket / "other", tmp_path)
    assert first.path != second.path and len(first.start) == 6 and len(second.start) == 3
    assert json.loads((first.path / "zarr.json").read_bytes()) == first_attributes(place)


def first_attributes(place) -> dict:
    return json.loads((place / RAW.name / "zarr.json").read_bytes())
