import json
import mmap
import warnings

import numpy as np
import pytest
import tensorstore
import xarray
import zarr

from cache.errors import CacheError, DamagedError
from cache.fold import bring_up_to_date, store_files
from cache.plan import slot_starts
from cache.receipts import Status
from cache.specification import MfccSpecification, RawSpecification
from cache.store import Store, known_specification, read_attributes

RAW = RawSpecification(100)
FLOAT = RawSpecification(100, "float32")
MFCC = MfccSpecification(4, 2000)
SPECIFICATIONS = (RAW, FLOAT, MFCC)
each_kind = pytest.mark.parametrize("specification", SPECIFICATIONS, ids=lambda s: s.name)


@pytest.fixture
def made(make_cache):
    return make_cache(specifications=SPECIFICATIONS)


@each_kind
def test_a_store_knows_its_slots(made, specification):
    store = Store(made.path / specification.name)
    assert store.name == specification.name and store.specification == specification
    native = made.plan["native_samples"].to_numpy(), made.plan["native_rate"].to_numpy()
    assert store.start.tolist() == slot_starts(made.plan, specification).tolist()
    assert store.length.tolist() == specification.capacity(*native).tolist()
    assert store.status.tolist() == [Status.OK, Status.EMPTY] + [Status.OK] * 4
    value = store.silence if specification.kind == "mfcc" else store.scale
    np.testing.assert_array_equal(value, np.float32([0.001, 0.002, 0.003, 0.004, 0.005, 0.006]))
    assert store.n_chunks == 6


@each_kind
def test_every_clip_reads_as_it_was_written(made, specification):
    store = Store(made.path / specification.name)
    for start, length in zip(store.start.tolist(), store.length.tolist(), strict=True):
        read = store.read(start, start + length)
        assert read.dtype == specification.dtype and read.shape == (length, *specification.item_shape)
        np.testing.assert_array_equal(read, made.features[store.name][start : start + length])


@each_kind
def test_a_read_inside_a_chunk_is_a_read_only_view_of_the_map(made, specification):
    store = Store(made.path / specification.name)
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
    store = Store(made.path / specification.name)
    length, start, n = specification.chunk_length, int(store.start[4]), int(store.length[4])
    assert n > length * (2 if specification.kind == "raw" else 1)
    edge, stop = start + length, start + n
    for first, last in [(edge - 1, edge + 1), (edge - 7, edge), (edge, edge + 7), (start, stop), (edge - 3, stop)]:
        np.testing.assert_array_equal(store.read(first, last), made.features[store.name][first:last])


@each_kind
def test_reads_at_random_equal_the_array(made, specification):
    store = Store(made.path / specification.name)
    features = made.features[store.name]
    bounds = np.sort(np.random.default_rng(0).integers(0, len(features) + 1, (100, 2)))
    for start, stop in bounds.tolist():
        np.testing.assert_array_equal(store.read(start, stop), features[start:stop])


@each_kind
def test_an_empty_read_has_no_elements(made, specification):
    store = Store(made.path / specification.name)
    start = int(store.start[1])
    assert store.length[1] == 0
    assert store.read(start, start).shape == (0, *specification.item_shape)


@each_kind
def test_a_chunk_files_bytes_are_the_arrays(made, specification):
    store = Store(made.path / specification.name)
    features = zarr.open_group(store.path, mode="r")["features"][:]
    for chunk in range(store.n_chunks):
        length = specification.chunk_length
        assert store.chunk_path(chunk).read_bytes() == features[chunk * length : (chunk + 1) * length].tobytes()


def test_featurized_silence_and_the_last_chunk_are_whole_files(tmp_path, write_dataset, noise, featurize):
    """Two groups of silence (zeros equal the fill value), then one clip in a chunk that it leaves mostly empty."""
    clips = {f"{i}.wav": (np.zeros(25600), 100) for i in range(2)}
    data = write_dataset(tmp_path / "data", {**clips, "last.wav": noise(1, 100)})
    featurize(data, tmp_path / "cache", [RAW, FLOAT])
    for specification in (RAW, FLOAT):
        store = Store(tmp_path / "cache" / specification.name)
        features = zarr.open_group(store.path, mode="r")["features"][:]
        assert store.n_chunks == 3 and len(features) == 3 * specification.chunk_length
        for chunk, part in enumerate(np.split(features, 3)):
            assert store.chunk_path(chunk).read_bytes() == part.tobytes()
        assert not features[: store.start[2]].any() and features[store.start[2] :].any()


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
    store = Store(made.path / specification.name)
    for name, expected in _arrays(made, store).items():
        kvstore = {"driver": "file", "path": f"{store.path}/{name}/"}
        opened = tensorstore.open({"driver": "zarr3", "kvstore": kvstore}, read=True).result()
        read = opened.read().result()
        assert read.dtype == expected.dtype
        np.testing.assert_array_equal(read, expected)
    assert opened.domain.labels == ("slot",)


@each_kind
def test_xarray_reads_the_same_numbers(made, specification):
    store = Store(made.path / specification.name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = xarray.open_zarr(store.path, consolidated=False, chunks=None).load()
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
    store = Store(made.path / RAW.name)
    assert store.identity == {
        "name": RAW.name,
        "specification": RAW.to_dict(),
        "checksum": store.attributes["receipts"]["checksum"],
    }
    assert json.loads(json.dumps(store.identity)) == store.identity


def test_no_store_is_said(tmp_path):
    with pytest.raises(CacheError, match=r"raw-1\.zarr: no store here; `python -m cache ls` lists those there are"):
        Store(tmp_path / "raw-1.zarr")


def test_a_store_without_its_metadata_is_broken_off(made):
    (made.path / RAW.name / "zarr.json").unlink()
    with pytest.raises(DamagedError, match=r"zarr\.json: missing, .*; run featurize to mend it"):
        Store(made.path / RAW.name)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"zarr_format": 3}', '{"attributes": 1}', "\xff\xfe"])
def test_metadata_that_are_not_ours_to_read_are_refused(made, text):
    (made.path / RAW.name / "zarr.json").write_text(text, encoding="latin-1")
    with pytest.raises(DamagedError, match=r"zarr\.json: damaged or foreign metadata; run featurize to mend it"):
        Store(made.path / RAW.name)


def test_a_foreign_store_is_refused(tmp_path):
    zarr.create_group(tmp_path / "raw-1.zarr", zarr_format=3, attributes={"format": "other"})
    with pytest.raises(
        CacheError, match=r"raw-1\.zarr: must be a store of earmark, got a foreign one; move it away"
    ):
        Store(tmp_path / "raw-1.zarr")


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
        {"specification": None},
    ],
    ids=str,
)
def test_what_the_root_alone_claims_is_damage(made, attributes):
    _edit(made.path / RAW.name, ["zarr.json"], **attributes)
    with pytest.raises(DamagedError, match=r"raw-100\.zarr/zarr\.json: damaged metadata; run featurize to mend it"):
        Store(made.path / RAW.name)
    assert known_specification(made.path / RAW.name) == RAW


@pytest.mark.parametrize("key", ["zarr.json", "features/zarr.json"])
def test_a_specification_is_known_from_either_place(made, key):
    (made.path / RAW.name / key).unlink()
    assert known_specification(made.path / RAW.name) == RAW


def test_a_specification_is_not_known_where_the_name_does_not_prove_it(made):
    (made.path / RAW.name).rename(made.path / "raw-101.zarr")
    assert known_specification(made.path / "raw-101.zarr") is None
    assert known_specification(made.path / "raw-102.zarr") is None


@pytest.mark.parametrize("version", [2, 0, None, "1"])
def test_another_format_version_is_refused(made, version):
    _edit(made.path / RAW.name, format_version=version)
    with pytest.raises(CacheError, match=rf"raw-100\.zarr: store format version must be 1, got {version}; update"):
        Store(made.path / RAW.name)


def test_an_unknown_specification_is_refused(made):
    _edit(made.path / RAW.name, specification={**RAW.to_dict(), "bits": 24})
    with pytest.raises(
        CacheError, match=r"raw-100\.zarr: unknown feature specification \(.*bits.*\); update earmark"
    ):
        Store(made.path / RAW.name)


def test_a_specification_that_is_not_its_names_is_refused(made):
    _edit(made.path / RAW.name, specification=RawSpecification(200).to_dict())
    with pytest.raises(
        CacheError, match=r"raw-100\.zarr: specification must be the one its name says, got that of raw-200\.zarr"
    ):
        Store(made.path / RAW.name)


@pytest.mark.parametrize("missing", ["versions", "receipts", "specification"])
def test_attributes_that_lack_something_are_damaged(made, missing):
    metadata = json.loads((made.path / RAW.name / "zarr.json").read_text())
    del metadata["attributes"][missing]
    (made.path / RAW.name / "zarr.json").write_text(json.dumps(metadata))
    with pytest.raises(
        DamagedError, match=rf"zarr\.json: damaged metadata, {missing} is missing; run featurize to"
    ):
        read_attributes(made.path / RAW.name)


@pytest.mark.parametrize("name", ["start", "length", "status", "scale", "features"])
@pytest.mark.parametrize("text", [None, "", "{", "{}", "[]"])
def test_an_array_whose_metadata_are_damaged_is_refused(made, name, text):
    path = made.path / RAW.name / name / "zarr.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(
        DamagedError, match=r"raw-100\.zarr: damaged, cannot read its arrays; run featurize to mend it"
    ):
        Store(made.path / RAW.name)


@pytest.mark.parametrize("name", ["start", "length", "status", "scale"])
@pytest.mark.parametrize("data", [None, b"", b"short"])
def test_an_array_by_slot_whose_chunk_is_gone_or_short_is_refused(made, name, data):
    """Zarr takes a missing chunk for zeros: clips would silently be empty."""
    path = made.path / RAW.name / name / "c" / "0"
    path.unlink() if data is None else path.write_bytes(data)
    with pytest.raises(
        DamagedError, match=r"raw-100\.zarr: damaged, cannot read its arrays; run featurize to mend it"
    ):
        Store(made.path / RAW.name)


def test_a_store_may_have_no_slots(tmp_path, make_plan):
    bring_up_to_date(tmp_path / RAW.name, store_files(make_plan([]), RAW, {}, {}))
    store = Store(tmp_path / RAW.name)
    assert store.n_chunks == 0 and len(store.start) == 0


def test_a_store_in_a_bucket_is_read_but_for_its_features(make_cache, bucket, upload):
    made = make_cache()
    upload(made.path, bucket)
    for specification in (RAW, MFCC):
        found, original = Store(bucket / specification.name), Store(made.path / specification.name)
        assert found.attributes == original.attributes and found.n_chunks == original.n_chunks
        for name in ("start", "length", "status", specification.slot_value):
            assert np.array_equal(getattr(found, name), getattr(original, name))
        with pytest.raises(
            CacheError, match=r"^s3://.*/features/c/0.*: must be on a disk to be mapped, got a place in"
        ):
            found.read(0, 10)


@pytest.mark.parametrize("key", ["scale/c/0", "start/zarr.json", "features/zarr.json"])
def test_a_store_in_a_bucket_that_lacks_a_file_is_damaged(make_cache, bucket, upload, key):
    upload(make_cache().path, bucket)
    (bucket / RAW.name / key).unlink()
    with pytest.raises(
        DamagedError, match=r"raw-100\.zarr: damaged, cannot read its arrays; run featurize to mend it"
    ):
        Store(bucket / RAW.name)


def test_zarr_opens_a_store_in_a_bucket(make_cache, bucket, upload, s3_server):
    made = make_cache()
    upload(made.path, bucket)
    options = {"endpoint_url": s3_server, "key": "test", "secret": "test"}
    root = zarr.open_group(f"{bucket}/{RAW.name}", mode="r", storage_options=options)
    assert np.array_equal(root["features"][:], made.features[RAW.name])
