import json
import mmap
import os
import pickle
import re
import resource
import shutil
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tensorstore
import xarray
import zarr
import zarr.storage

from cache import CacheError, DamagedError, Status, Store, open_cache
from cache.layout import feature_chunk_key, slot_starts
from cache.metadata import known_specification, read_attributes
from cache.specification import LogmelSpecification, MfccSpecification, RawSpecification
from cache.storage import LocalStorage
from cache.store import map_limit

ROOT = Path(__file__).parents[2]
RAW = RawSpecification(100)
FLOAT = RawSpecification(100, "float32")
MFCC = MfccSpecification(4, 2000)
LOGMEL = LogmelSpecification(3, 2000)
SPECIFICATIONS = (RAW, FLOAT, MFCC, LOGMEL)
each_kind = pytest.mark.parametrize("specification", SPECIFICATIONS, ids=lambda s: s.name)


@pytest.fixture
def made(make_cache):
    return make_cache(specifications=SPECIFICATIONS)


@pytest.fixture
def small(make_cache):
    """A cache of one raw store."""
    return make_cache(specifications=[RAW])


def _store(made, name) -> Store:
    return Store(LocalStorage(made.path / name))


@each_kind
def test_a_store_knows_its_slots(made, specification):
    store = _store(made, specification.name)
    assert store.name == specification.name and store.specification == specification
    native = made.plan["native_samples"].to_numpy(), made.plan["native_rate"].to_numpy()
    assert store.start.tolist() == slot_starts(made.plan, specification).tolist()
    assert store.length.tolist() == specification.capacity(*native).tolist()
    assert store.status.tolist() == [Status.OK, Status.EMPTY] + [Status.OK] * 4
    value = store.scale if specification.kind == "raw" else store.silence
    np.testing.assert_array_equal(value, np.float32([0.001, 0.002, 0.003, 0.004, 0.005, 0.006]))
    assert store.n_chunks == 6


@each_kind
def test_every_clip_reads_as_it_was_written(made, specification):
    store = _store(made, specification.name)
    for start, length in zip(store.start.tolist(), store.length.tolist(), strict=True):
        read = store.read(start, start + length)
        assert read.dtype == specification.dtype and read.shape == (length, *specification.item_shape)
        np.testing.assert_array_equal(read, made.features[store.name][start : start + length])


@each_kind
def test_a_read_inside_a_chunk_is_a_read_only_view_of_the_map(made, specification):
    store = _store(made, specification.name)
    start = int(store.start[3])
    read, again = store.read(start + 5, start + 50), store.read(start, start + 20)
    assert np.shares_memory(read, again)
    assert not read.flags.writeable
    base = read
    while isinstance(base, np.ndarray):
        base = base.base
    assert isinstance(base.obj if isinstance(base, memoryview) else base, mmap.mmap)


@each_kind
def test_reads_that_straddle_files_are_put_together(made, specification):
    store = _store(made, specification.name)
    length, start, n = specification.chunk_length, int(store.start[4]), int(store.length[4])
    assert n > length
    edge, stop = start + length, start + n
    for first, last in [(edge - 1, edge + 1), (edge - 7, edge), (edge, edge + 7), (start, stop), (edge - 3, stop)]:
        np.testing.assert_array_equal(store.read(first, last), made.features[store.name][first:last])


@each_kind
def test_reads_at_random_equal_the_array(made, specification):
    store = _store(made, specification.name)
    features = made.features[store.name]
    bounds = np.sort(np.random.default_rng(0).integers(0, len(features) + 1, (100, 2)))
    for start, stop in bounds.tolist():
        np.testing.assert_array_equal(store.read(start, stop), features[start:stop])


@each_kind
def test_an_empty_read_has_no_elements(made, specification):
    store = _store(made, specification.name)
    start = int(store.start[1])
    assert store.length[1] == 0
    assert store.read(start, start).shape == (0, *specification.item_shape)


@each_kind
def test_a_chunk_files_bytes_are_the_arrays(made, specification):
    store = _store(made, specification.name)
    features = zarr.open_group(store.storage.path(), mode="r")["features"][:]
    for chunk in range(store.n_chunks):
        length = specification.chunk_length
        path = store.storage.path(feature_chunk_key(specification, chunk))
        assert path.read_bytes() == features[chunk * length : (chunk + 1) * length].tobytes()


@each_kind
def test_zarr_python_reads_the_same_numbers(made, specification):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        group = zarr.open_group(made.path / specification.name, mode="r")
        names = set(group.array_keys())
        read = group["features"][:]
    assert names == {"features", "start", "length", "status", specification.slot_value}
    np.testing.assert_array_equal(read, made.features[specification.name])


@each_kind
def test_tensorstore_reads_the_same_numbers(made, specification):
    store = _store(made, specification.name)
    for name, expected in _arrays(made, store).items():
        kvstore = {"driver": "file", "path": f"{store.storage}/{name}/"}
        opened = tensorstore.open({"driver": "zarr3", "kvstore": kvstore}, read=True).result()
        read = opened.read().result()
        assert read.dtype == expected.dtype
        np.testing.assert_array_equal(read, expected)
    assert opened.domain.labels == ("slot",)


@each_kind
def test_xarray_reads_the_same_numbers(made, specification):
    store = _store(made, specification.name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = xarray.open_zarr(store.storage.path(), consolidated=False, chunks=None).load()
    for name, expected in _arrays(made, store).items():
        assert dataset[name].dtype == expected.dtype
        np.testing.assert_array_equal(dataset[name].to_numpy(), expected)
    assert dataset["features"].dims == specification.dimension_names
    assert dataset["start"].dims == ("slot",)
    assert dataset.attrs["specification"] == specification.to_dict()


def _arrays(made, store) -> dict[str, np.ndarray]:
    names = (store.specification.slot_value, "start", "length", "status")
    return {"features": made.features[store.name], **{name: getattr(store, name) for name in names}}


def test_identity_names_the_store_and_what_is_in_it(made):
    store = _store(made, RAW.name)
    assert store.identity == {
        "name": RAW.name,
        "specification": RAW.to_dict(),
        "checksum": store.attributes["receipts"]["checksum"],
    }
    assert json.loads(json.dumps(store.identity)) == store.identity


def test_no_store_is_said(tmp_path):
    with pytest.raises(
        CacheError, match=r"raw-1\.zarr: no store here \(No such file.*\); see `python -m cache ls`"
    ):
        Store(LocalStorage(tmp_path / "raw-1.zarr"))


def test_a_store_without_its_metadata_is_damaged(small):
    (small.path / RAW.name / "zarr.json").unlink()
    with pytest.raises(DamagedError, match=r"zarr\.json: missing; run featurize to repair it"):
        _store(small, RAW.name)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"zarr_format": 3}', '{"attributes": 1}', "\xff\xfe", '{"a": ' + "[" * 10**5],
)
@pytest.mark.parametrize("name", ["", "features", "start", "length", "status", "scale"])
def test_metadata_that_are_not_ours_to_read_are_refused(small, name, text):
    (small.path / RAW.name / name / "zarr.json").write_text(text, encoding="latin-1")
    with pytest.raises(DamagedError, match=r"raw-100\.zarr.*: damaged.*; run featurize to repair it"):
        _store(small, RAW.name)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink(path, path)])
@pytest.mark.parametrize("key", ["zarr.json", "features/zarr.json", "start/zarr.json", "status/c/0"])
def test_pipes_folders_and_endless_links_in_place_of_metadata_are_refused_at_once(small, key, make):
    (small.path / RAW.name / key).unlink()
    make(small.path / RAW.name / key)
    with pytest.raises(DamagedError, match=r"raw-100\.zarr"):
        _store(small, RAW.name)


@pytest.mark.parametrize("shape", [[7], [10**30], [-1], [True], ["6"], [6.0], [], None, [6, 6], {}], ids=str)
@pytest.mark.parametrize("name", ["features", "start", "status"])
def test_shapes_that_are_not_those_of_a_store_are_refused(small, name, shape):
    path = small.path / RAW.name / name / "zarr.json"
    metadata = json.loads(path.read_text())
    path.write_text(json.dumps({**metadata, "shape": shape}))
    with pytest.raises(DamagedError, match=r"raw-100\.zarr: damaged, cannot read its arrays; run featurize"):
        _store(small, RAW.name)


def test_a_foreign_store_is_refused(tmp_path):
    zarr.create_group(tmp_path / "raw-1.zarr", zarr_format=3, attributes={"format": "other"})
    message = r"raw-1\.zarr: must be a store of earmark, got a foreign one; move it away"
    with pytest.raises(CacheError, match=message):
        Store(LocalStorage(tmp_path / "raw-1.zarr"))


def _edit(store, keys=("zarr.json", "features/zarr.json"), **attributes) -> None:
    for key in keys:
        metadata = json.loads((store / key).read_text())
        metadata["attributes"].update(attributes)
        (store / key).write_text(json.dumps(metadata))


@pytest.mark.parametrize(
    "attributes",
    [
        {"format": "earmark-stone"},
        {"format_version": 3},
        {"specification": RawSpecification(101).to_dict()},
        {"specification": {"kind": "rav"}},
        {"specification": {**RAW.to_dict(), "sample_rate": "100"}},
        {"specification": None},
        {"generation": "0"},
        {"receipts": {"n": 1.5, "checksum": "x"}},
        {"receipts": []},
        {"versions": {"numpy": 2}},
        {"versions": None},
    ],
    ids=str,
)
def test_what_the_root_alone_claims_is_damage(small, attributes):
    _edit(small.path / RAW.name, ["zarr.json"], **attributes)
    message = r"raw-100\.zarr/zarr\.json: damaged or foreign metadata; run featurize to repair it"
    with pytest.raises(DamagedError, match=message):
        _store(small, RAW.name)
    assert known_specification(LocalStorage(small.path / RAW.name)) == RAW


@pytest.mark.parametrize("key", ["zarr.json", "features/zarr.json"])
def test_a_specification_is_known_from_either_place(small, key):
    (small.path / RAW.name / key).unlink()
    assert known_specification(LocalStorage(small.path / RAW.name)) == RAW


def test_a_specification_is_not_known_where_the_name_does_not_prove_it(small):
    (small.path / RAW.name).rename(small.path / "raw-101.zarr")
    assert known_specification(LocalStorage(small.path / "raw-101.zarr")) is None
    assert known_specification(LocalStorage(small.path / "raw-102.zarr")) is None


@pytest.mark.parametrize("version", [1, 3, 0, None, "2", 10**30])
def test_another_format_version_is_refused(small, version):
    _edit(small.path / RAW.name, format_version=version)
    message = rf"raw-100\.zarr: store format version must be 2, got {version!s:.20}; update"
    with pytest.raises(CacheError, match=message):
        _store(small, RAW.name)


def test_an_unknown_specification_is_refused(small):
    _edit(small.path / RAW.name, specification={**RAW.to_dict(), "bits": 24})
    message = r"raw-100\.zarr: unknown feature specification \(.*bits.*\); update earmark"
    with pytest.raises(CacheError, match=message):
        _store(small, RAW.name)


def test_a_specification_that_is_not_its_names_is_refused(small):
    _edit(small.path / RAW.name, specification=RawSpecification(200).to_dict())
    message = r"raw-100\.zarr: specification must be the one that its name says, got that of raw-200\.zarr"
    with pytest.raises(CacheError, match=message):
        _store(small, RAW.name)


@pytest.mark.parametrize("missing", ["versions", "receipts", "specification", "generation"])
def test_attributes_that_lack_something_are_damaged(small, missing):
    path = small.path / RAW.name / "zarr.json"
    metadata = json.loads(path.read_text())
    del metadata["attributes"][missing]
    path.write_text(json.dumps(metadata))
    with pytest.raises(DamagedError, match=r"zarr\.json: damaged or foreign metadata; run featurize to repair it"):
        read_attributes(LocalStorage(small.path / RAW.name))


@pytest.mark.parametrize("name", ["start", "length", "status", "scale"])
@pytest.mark.parametrize("data", [None, b"", b"short", b"\xff" * 4096 * 8])
def test_an_array_by_slot_whose_chunk_is_gone_or_odd_is_refused(small, name, data):
    """Zarr takes a missing chunk for zeros: clips would silently be empty."""
    path = small.path / RAW.name / name / "c" / "0"
    path.unlink() if data is None else path.write_bytes(data)
    if data and len(data) > 5 and name in {"length", "scale", "status"}:
        data = b"\xff" * path.stat().st_size + b"1"
        path.write_bytes(data)
    with pytest.raises(
        DamagedError, match=r"raw-100\.zarr: (damaged, cannot read its arrays|its slots do not start)"
    ):
        open_cache(small.path).store(RAW.name)


def test_a_result_whose_length_is_not_written_yet_is_pending(small):
    """As while a repair takes a result back, or a run adds one: its arrays are written one after another."""
    path = small.path / RAW.name / "length" / "c" / "0"
    path.write_bytes(bytes(path.stat().st_size))
    cache = open_cache(small.path)
    store = cache.store(RAW.name)
    assert store.status.tolist() == [Status.PENDING, Status.EMPTY] + [Status.PENDING] * 4
    assert len(cache.missing(store)) == 5


def test_a_store_may_have_no_slots(make_cache):
    store = open_cache(make_cache(seconds=[], specifications=[RAW]).path).open_store("raw")
    assert store.n_chunks == 0 and len(store.start) == 0


# Maps


def _chunk_file(made, number, name=RAW.name):
    return made.path / name / "features" / "c" / str(number)


def test_a_map_is_opened_once_and_the_least_recently_used_one_is_dropped(small, monkeypatch):
    opened, before = [], LocalStorage.open
    monkeypatch.setattr(LocalStorage, "open", lambda storage, key: opened.append(key) or before(storage, key))
    monkeypatch.setattr(resource, "getrlimit", lambda which: (12, 12))
    store = _store(small, RAW.name)
    opened.clear()
    for number in (0, 1, 2, 0, 3, 0, 2, 1, 0):
        store.chunk(number)
    assert [int(key.split("/")[-1]) for key in opened] == [0, 1, 2, 3, 1]


def test_a_store_holds_as_few_maps_as_it_is_told_to(small, monkeypatch):
    opened, before = [], LocalStorage.open
    monkeypatch.setattr(LocalStorage, "open", lambda storage, key: opened.append(key) or before(storage, key))
    store = _store(small, RAW.name)
    store.hold_maps(1)
    opened.clear()
    for number in (0, 0, 1, 0):
        store.chunk(number)
    assert [int(key.split("/")[-1]) for key in opened] == [0, 1, 0]


def test_an_array_outlives_its_place_among_the_maps(small, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (4, 4))
    store = _store(small, RAW.name)
    handed_out = [store.chunk(number) for number in range(6)]
    np.testing.assert_array_equal(np.concatenate(handed_out), small.features[RAW.name])
    with pytest.raises(ValueError, match="read-only"):
        handed_out[0][0] = 1


def test_threads_share_maps(small, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (8, 8))
    store = _store(small, RAW.name)
    numbers = np.random.default_rng(1).integers(0, 6, 500).tolist()
    with ThreadPoolExecutor(8) as pool:
        sums = list(pool.map(lambda number: int(store.chunk(number).sum(dtype=np.int64)), numbers))
    expected = [int(part.sum(dtype=np.int64)) for part in np.split(small.features[RAW.name], 6)]
    assert sums == [expected[number] for number in numbers]


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda path: None, "no file"),
        (os.mkfifo, "not a regular file"),
        (os.mkdir, "not a regular file"),
        (lambda path: os.symlink(path, path), "Too many levels of symbolic links"),
        (lambda path: os.symlink("/dev/zero", path), "not a regular file"),
        (lambda path: path.write_bytes(b""), "0 bytes"),
        (lambda path: path.write_bytes(bytes(52225)), "52225 bytes"),
    ],
    ids=["missing", "pipe", "folder", "endless link", "device", "empty", "too long"],
)
def test_what_is_no_whole_chunk_is_refused_at_once_and_read_once_it_is(small, make, found):
    path = _chunk_file(small, 0)
    data = path.read_bytes()
    path.unlink()
    make(path)
    store = _store(small, RAW.name)
    message = (
        rf"/features/c/0: chunk must have 52224 bytes, got {found}; run `python -m cache verify`, then featurize"
    )
    with pytest.raises(DamagedError, match=message):
        store.read(0, 10)
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
    path.write_bytes(data)
    np.testing.assert_array_equal(store.read(0, 10), small.features[RAW.name][:10])


@pytest.mark.parametrize(
    ("files", "maps"), [(1024, 256), (256, 64), (3, 1), (10**6, 1024), (resource.RLIM_INFINITY, 1024)]
)
def test_maps_leave_most_open_files_to_others(monkeypatch, files, maps):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (files, files))
    assert map_limit() == maps


_READ_ALL = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
import numpy as np
from cache import open_cache
stores = [open_cache(sys.argv[1]).open_store("raw") for _ in range(2)]
length = stores[0].specification.chunk_length
order = np.random.default_rng(0).permutation(stores[0].n_chunks)
total = 0
for chunk in np.concatenate([order, order[::-1]]).tolist():
    for store in stores:
        total += int(store.read(chunk * length, (chunk + 1) * length).sum(dtype=np.int64))
print(stores[0].n_chunks, total)
"""


def test_more_than_256_chunks_are_read_under_a_limit_of_256_open_files(make_cache):
    tiny = RawSpecification(1)
    made = make_cache(seconds=[300 * 256.0], specifications=[tiny])
    command = [sys.executable, "-c", _READ_ALL, made.path]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    expected = 4 * int(made.features[tiny.name].sum(dtype=np.int64))
    assert (result.stdout.split(), result.returncode) == (["300", str(expected)], 0), result.stderr


def test_a_store_that_is_replaced_while_it_is_opened_is_refused(make_cache, monkeypatch):
    made, other = make_cache(), make_cache("other")
    read, keys = LocalStorage.read, []

    def read_and_replace(storage, key, n_bytes=None):
        if key == "length/c/0":
            (made.path / RAW.name).rename(made.path / "aside")
            (other.path / RAW.name).rename(made.path / RAW.name)
        keys.append(key)
        return read(storage, key, n_bytes)

    monkeypatch.setattr(LocalStorage, "read", read_and_replace)
    with pytest.raises(CacheError, match=r"raw-100\.zarr: was replaced or removed while it was read; start again"):
        _store(made, RAW.name)
    assert "status/c/0" in keys


# Clips, pickling, repr


@each_kind
def test_a_store_that_a_cache_opened_finds_clips(made, specification):
    store = open_cache(made.path).store(specification.name)
    start, n = int(store.start[3]), int(store.length[3])
    for clip in ("clip 3.wav", 3, -3):
        assert np.array_equal(store[clip], made.features[store.name][start : start + n])
    assert len(store["clip 1.wav"]) == 0 and not store[0].flags.writeable
    assert [len(features) for features in store] == store.length.tolist()


def test_a_store_alone_finds_no_clip(small):
    message = r"raw-100\.zarr: must be opened by a cache to find clips, got a store alone; use open_cache\(\.\.\.\)\.store"
    with pytest.raises(CacheError, match=message):
        _store(small, RAW.name)["clip 0.wav"]


_READ_PICKLED = """
import pickle, sys
store = pickle.load(sys.stdin.buffer)
print(store["clip 4.wav"].sum(dtype="int64"))
"""


def test_another_process_reads_a_pickled_store_from_maps_of_its_own(small):
    store = open_cache(small.path).store(RAW.name)
    before = int(store["clip 4.wav"].sum(dtype=np.int64))
    pickled = pickle.dumps(store)
    assert len(pickled) < 10_000  # no features
    done = subprocess.run([sys.executable, "-c", _READ_PICKLED], input=pickled, capture_output=True, cwd=ROOT)
    assert done.stdout.decode().split() == [str(before)], done.stderr


def test_a_store_that_was_replaced_since_it_was_pickled_is_refused(small, make_cache):
    store = open_cache(small.path).store(RAW.name)
    pickled = pickle.dumps(store)
    shutil.copytree(small.path / RAW.name, small.path / "copy")
    (small.path / RAW.name).rename(small.path / "aside")
    with pytest.raises(CacheError, match=r"raw-100\.zarr: no store here"):
        pickle.loads(pickled)
    (small.path / "copy").rename(small.path / RAW.name)
    with pytest.raises(CacheError, match=r"raw-100\.zarr: was replaced or removed while it was read; start again"):
        pickle.loads(pickled)


def test_a_store_tells_what_it_holds(made):
    cache, end = open_cache(made.path), r"; 6 clips, 0\.\d MB\)"
    assert re.search(r"^Store\(/.*/raw-100\.zarr: int16 raw, sample_rate 100" + end, repr(cache.store("raw-100")))
    assert re.search(r"zarr: float32 mfcc, n_mfcc 4, sample_rate 2,000" + end, repr(cache.store("mfcc-4-2000")))
    assert "; 6 slots, " in repr(_store(made, RAW.name))
