"""A store's Zarr files, all but the feature chunks: metadata and the arrays by slot, as bytes by key.

They are a pure function of the specification, the folded receipts and the attributes, so that a store is
written file by file through `write_atomic`, and verified by making them again and comparing. zarr-python makes
the metadata, in memory; the feature chunks are never touched here. Layout (Zarr v3, uncompressed, little-endian):

    zarr.json                        group: attributes with format, specification, versions, receipts
    features/zarr.json, c/I[/0]      raw: int16 or float32 [time]; mfcc: float32 [time, coefficient];
                                     attributes: format and specification once more, should the root's be damaged
    start/ length/ status/ VALUE/    [slot]; VALUE is scale (raw) or silence (mfcc)

Zarr v3 specification: https://zarr-specs.readthedocs.io/en/latest/v3/core/index.html
"""

from dataclasses import dataclass

import numpy as np
import zarr
from zarr.codecs import BytesCodec
from zarr.storage import MemoryStore

from cache.specification import Specification

SLOTS_PER_CHUNK = 4096
IDENTITY = ("format", "format_version", "specification")  # attributes that root and features both carry


@dataclass(frozen=True)
class SlotArrays:
    """Results by slot: start and length int64 (samples or frames), status uint8, value float32; all [slots]."""

    start: np.ndarray
    length: np.ndarray
    status: np.ndarray
    value: np.ndarray


def zarr_files(
    specification: Specification, slots: SlotArrays, n_chunks: int, attributes: dict
) -> dict[str, bytes]:
    """The files of a store by their keys, in the order to write them in: the root's metadata last."""
    files: dict = {}
    root = zarr.create_group(MemoryStore(files), zarr_format=3, attributes=attributes)
    length = specification.chunk_length
    root.create_array(
        "features",
        shape=(n_chunks * length, *specification.item_shape),
        chunks=(length, *specification.item_shape),
        dtype=specification.dtype,
        dimension_names=specification.dimension_names,
        attributes={name: attributes[name] for name in IDENTITY},
        **_PLAIN,
    )
    named = {"start": slots.start, "length": slots.length, specification.slot_value: slots.value}
    chunks: dict[str, bytes] = {}
    for name, values in {**named, "status": slots.status}.items():
        root.create_array(
            name,
            shape=values.shape,
            chunks=(SLOTS_PER_CHUNK,),
            dtype=values.dtype,
            dimension_names=("slot",),
            **_PLAIN,
        )
        chunks |= _chunks(name, values)
    files = {key: data.to_bytes() for key, data in files.items()} | chunks
    return {key: files[key] for key in sorted(files, key=_order)}


def _chunks(name: str, values: np.ndarray) -> dict[str, bytes]:
    """The chunks of an array by slot, the last one padded with zeros: what Zarr writes, six times sooner."""
    n_bytes = SLOTS_PER_CHUNK * values.itemsize
    parts = (values[first : first + SLOTS_PER_CHUNK].tobytes() for first in range(0, len(values), SLOTS_PER_CHUNK))
    return {f"{name}/c/{number}": part.ljust(n_bytes, b"\0") for number, part in enumerate(parts)}


def _order(key: str) -> tuple:
    return key == "zarr.json", key.endswith("zarr.json"), "status" in key, key


def feature_chunk_key(specification: Specification, chunk: int) -> str:
    """The key of a feature chunk."""
    return "/".join(["features/c", str(chunk), *("0" for _ in specification.item_shape)])


_PLAIN = {"compressors": None, "filters": None, "fill_value": 0, "serializer": BytesCodec(endian="little")}
