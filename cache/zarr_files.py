"""A store's Zarr files, all but the feature chunks: metadata and the arrays by slot, as bytes by key.

They are a pure function of the specification, the folded receipts and the attributes, so that a store is
written file by file through `write_atomic`, and verified by making them again and comparing. zarr-python makes
them, in memory; the feature chunks are never touched here. Layout (Zarr v3, uncompressed, little-endian):

    zarr.json                        group: attributes with format, specification, versions, receipts
    features/zarr.json, c/I[/0]      raw: int16 or float32 [time]; mfcc: float32 [time, coefficient]
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
        **_PLAIN,
    )
    named = {"start": slots.start, "length": slots.length, specification.slot_value: slots.value}
    for name, values in {**named, "status": slots.status}.items():
        array = root.create_array(
            name,
            shape=values.shape,
            chunks=(SLOTS_PER_CHUNK,),
            dtype=values.dtype,
            dimension_names=("slot",),
            config={"write_empty_chunks": True},
            **_PLAIN,
        )
        array[:] = values
    ordered = sorted(files, key=lambda key: (key == "zarr.json", key.endswith("zarr.json"), "status" in key, key))
    return {key: files[key].to_bytes() for key in ordered}


def feature_chunk_key(specification: Specification, chunk: int) -> str:
    """The key of a feature chunk."""
    return "/".join(["features/c", str(chunk), *("0" for _ in specification.item_shape)])


_PLAIN = {"compressors": None, "filters": None, "fill_value": 0, "serializer": BytesCodec(endian="little")}
