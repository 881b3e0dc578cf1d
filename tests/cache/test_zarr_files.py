import json

import numpy as np
import pytest
import zarr

from cache.specification import MfccSpecification, RawSpecification
from cache.zarr_files import SLOTS_PER_CHUNK, SlotArrays, feature_chunk_key, zarr_files

RAW = RawSpecification(100)
FLOAT = RawSpecification(100, "float32")
MFCC = MfccSpecification(4, 2000)
SPECIFICATIONS = (RAW, FLOAT, MFCC)
ATTRIBUTES = {"format": "x", "format_version": 1, "specification": {"kind": "y"}}


def _slots(n: int) -> SlotArrays:
    return SlotArrays(
        start=np.arange(n) * 10,
        length=np.arange(n) % 7,
        status=(np.arange(n) % 5).astype(np.uint8),
        value=np.linspace(0, 1, n, dtype=np.float32),
    )


def test_keys_of_a_raw_and_of_an_mfcc_store():
    meta = {f"{name}/zarr.json" for name in ("features", "start", "length", "status")}
    arrays = {f"{name}/c/0" for name in ("start", "length", "status")}
    assert set(zarr_files(RAW, _slots(3), 2, ATTRIBUTES)) == meta | arrays | {
        "zarr.json",
        "scale/zarr.json",
        "scale/c/0",
    }
    assert set(zarr_files(MFCC, _slots(3), 2, ATTRIBUTES)) == meta | arrays | {
        "zarr.json",
        "silence/zarr.json",
        "silence/c/0",
    }


def test_the_roots_metadata_are_written_last():
    assert list(zarr_files(RAW, _slots(3), 2, ATTRIBUTES))[-1] == "zarr.json"


def test_the_status_is_written_after_the_other_arrays_chunks():
    keys = [key for key in zarr_files(RAW, _slots(2 * SLOTS_PER_CHUNK), 2, ATTRIBUTES) if "/c/" in key]
    assert [key.split("/")[0] for key in keys[-2:]] == ["status", "status"]


@pytest.mark.parametrize("specification", SPECIFICATIONS, ids=lambda s: s.name)
def test_metadata_are_plain_zarr_v3(specification):
    files = zarr_files(specification, _slots(3), 2, ATTRIBUTES)
    root = json.loads(files["zarr.json"])
    assert root == {"zarr_format": 3, "node_type": "group", "attributes": ATTRIBUTES}
    features = json.loads(files["features/zarr.json"])
    assert features["shape"] == [2 * specification.chunk_length, *specification.item_shape]
    assert features["chunk_grid"]["configuration"]["chunk_shape"] == [
        specification.chunk_length,
        *specification.item_shape,
    ]
    assert features["data_type"] == specification.dtype
    assert features["codecs"] == [{"name": "bytes", "configuration": {"endian": "little"}}]
    assert features["dimension_names"] == list(specification.dimension_names)
    assert features["fill_value"] == 0


@pytest.mark.parametrize("n", [0, 1, SLOTS_PER_CHUNK, SLOTS_PER_CHUNK + 1])
def test_arrays_by_slot_are_their_chunks_bytes_padded_with_zeros(n):
    slots = _slots(n)
    files = zarr_files(RAW, slots, 1, ATTRIBUTES)
    named = {"start": slots.start, "length": slots.length, "status": slots.status, "scale": slots.value}
    for name, values in named.items():
        n_chunks = -(-n // SLOTS_PER_CHUNK)
        data = b"".join(files[f"{name}/c/{chunk}"] for chunk in range(n_chunks))
        assert data == values.tobytes().ljust(n_chunks * SLOTS_PER_CHUNK * values.itemsize, b"\0")
        assert f"{name}/c/{n_chunks}" not in files


def test_arrays_of_zeros_have_their_chunks_too():
    zeros = SlotArrays(*(np.zeros(5, kind) for kind in (np.int64, np.int64, np.uint8, np.float32)))
    assert zarr_files(RAW, zeros, 1, ATTRIBUTES)["scale/c/0"] == bytes(4 * SLOTS_PER_CHUNK)


def test_files_are_a_pure_function_of_what_is_given():
    attributes = {**ATTRIBUTES, "b": 1, "a": {"z": [1, 2]}}
    assert zarr_files(MFCC, _slots(9), 3, attributes) == zarr_files(MFCC, _slots(9), 3, attributes)


def test_chunk_keys_are_zarrs(tmp_path):
    for specification in (RAW, MFCC):
        for key, data in zarr_files(specification, _slots(1), 12, ATTRIBUTES).items():
            path = tmp_path / specification.name / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        length = specification.chunk_length
        array = zarr.open_group(tmp_path / specification.name, mode="r+")["features"]
        array[11 * length : 11 * length + 1] = 1
        assert (tmp_path / specification.name / feature_chunk_key(specification, 11)).is_file()


@pytest.mark.parametrize("specification", SPECIFICATIONS, ids=lambda s: s.name)
def test_zarr_reads_the_arrays_by_slot(tmp_path, specification):
    slots = _slots(2 * SLOTS_PER_CHUNK + 5)
    for key, data in zarr_files(specification, slots, 2, ATTRIBUTES).items():
        path = tmp_path / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    root = zarr.open_group(tmp_path, mode="r")
    named = {"start": slots.start, "length": slots.length, "status": slots.status}
    for name, values in {**named, specification.slot_value: slots.value}.items():
        np.testing.assert_array_equal(root[name][:], values, strict=True)
