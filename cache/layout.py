"""Where things lie in a cache: groups, slots, chunks, and the files of a store. Pure functions, nothing is read.

A group is one job. Its number is the number of its first chunk, the same in every store. Groups lie one after
another; a group of more than `GROUP_SECONDS` (one long clip) takes as many chunks as it needs. Inside its group a
slot starts where the capacities of the slots before it end.

Layout of a store (Zarr v3, uncompressed, unsharded, little-endian):

    zarr.json                        group: attributes with format, generation, specification, versions, receipts
    features/zarr.json, c/I[/0]      raw: int16 or float32 [time]; mfcc, logmel: float32 [time, coefficient];
                                     attributes: format and specification again, should the root's be damaged
    start/ length/ status/ VALUE/    [slot]; VALUE is scale (raw) or silence (mfcc, logmel)

Zarr v3 specification: https://zarr-specs.readthedocs.io/en/latest/v3/core/index.html
"""

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd

from cache.receipts import Receipts
from cache.specification import GROUP_SECONDS, GROUP_SLOTS, Specification
from cache.storage import CacheError

FORMAT = "earmark-store"
VERSION = 2
SLOTS_PER_CHUNK = 4096
PLAN_COLUMNS = {
    "file": "str",
    "size": "int64",
    "mtime_ns": "int64",
    "digest": "str",
    "native_rate": "int64",
    "native_samples": "int64",
    "group": "int64",
}
_GROUP_US = GROUP_SECONDS * 1_000_000


def empty_plan() -> pd.DataFrame:
    """A plan without slots."""
    return pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in PLAN_COLUMNS.items()})


def pack(native_samples: np.ndarray, native_rate: np.ndarray, first_group: int) -> np.ndarray:
    """Pack new slots, in their order, into groups of at most 256 s and 1,024 slots.

    Args:
        native_samples, native_rate: int64 [slots]; a rate of 0 has no duration.
        first_group: the first chunk that is free.
    Returns:
        int64 [slots], each slot's group. A clip of more than 256 s has its group, and the chunks that follow
        it, to itself.
    """
    durations = _durations_us(native_samples, native_rate)
    ends = np.cumsum(durations)
    groups = np.empty(len(durations), np.int64)
    slot, group = 0, first_group
    while slot < len(durations):
        before = ends[slot] - durations[slot]
        fits = int(np.searchsorted(ends, before + _GROUP_US, side="right"))
        stop = max(slot + 1, min(fits, slot + GROUP_SLOTS))
        groups[slot:stop] = group
        group += int(_chunks(durations[slot]))
        slot = stop
    return groups


def chunks_per_slot(plan: pd.DataFrame) -> np.ndarray:
    """Chunks that each slot's group takes because of this slot: 1, or more for a long clip. int64 [slots]."""
    return _chunks(_durations_us(plan["native_samples"].to_numpy(), plan["native_rate"].to_numpy()))


def n_chunks(plan: pd.DataFrame) -> int:
    """Chunks of every store that the plan covers."""
    return int((plan["group"].to_numpy() + chunks_per_slot(plan)).max(initial=0))


def slot_starts(plan: pd.DataFrame, specification: Specification) -> np.ndarray:
    """Where each slot starts in the store of a specification: samples or frames, int64 [slots]."""
    group = plan["group"].to_numpy()
    capacity = specification.capacity(plan["native_samples"].to_numpy(), plan["native_rate"].to_numpy())
    before = np.cumsum(capacity) - capacity
    first_of_group = np.searchsorted(group, group, side="left")  # groups ascend
    return group * specification.chunk_length + before - before[first_of_group]


def plan_of(receipts: Sequence[Receipts], n_slots: int = 0) -> pd.DataFrame:
    """The plan that the receipts of a cache's stores give; at least n_slots rows.

    A slot that no receipt knows becomes a row whose file is "", without samples.

    Raises:
        CacheError: the receipts contradict each other.
    """
    names = list(PLAN_COLUMNS)
    frames = [
        pd.DataFrame(
            {
                name: (each.texts(name).to_pandas() if dtype == "str" else each.column(name))
                for name, dtype in {"slot": "int64", **PLAN_COLUMNS}.items()
            }
        )
        for each in receipts
    ]
    known = pd.concat([empty_plan().assign(slot=0), *frames]).sort_values(["slot", "digest"], kind="stable")
    fixed = ["slot", "file", "native_rate", "native_samples", "group"]
    known = known.drop_duplicates("slot", keep="last") if len(known) else known
    contradicts = sum(len(frame) for frame in frames) and len(
        pd.concat([frame[fixed] for frame in frames]).drop_duplicates()
    ) != len(known)
    n_slots = max(n_slots, int(known["slot"].max()) + 1 if len(known) else 0)
    if contradicts or n_slots > 1000 * (len(known) + 1000) or not known["group"].is_monotonic_increasing:
        raise CacheError(
            "the receipts of the stores contradict each other; move the cache away, run featurize again"
        )
    plan = known.set_index("slot")[names].reindex(range(n_slots))
    plan = plan.assign(group=plan["group"].ffill().fillna(0))
    numbers = {name: 0 for name, dtype in PLAN_COLUMNS.items() if dtype != "str"}
    plan = plan.fillna({**numbers, "file": "", "digest": ""}).astype(PLAN_COLUMNS)
    return plan.reset_index(drop=True)


def by_slot(receipts: Receipts, name: str, n_slots: int, dtype: type) -> np.ndarray:
    """A numeric field of the results by slot, [slots]; 0 for slots without a result, which are so PENDING."""
    array, slots = np.zeros(n_slots, dtype), receipts.column("slot")
    known = slots < n_slots
    array[slots[known]] = receipts.column(name)[known]
    return array


def store_files(
    plan: pd.DataFrame, specification: Specification, receipts: Receipts, versions: dict[str, str], generation: int
) -> dict[str, bytes]:
    """All files of a store but its feature chunks, by key, in the order to write them in: the root's metadata last.

    Args:
        versions: of the libraries that the store was begun with, see `cache.receipts.begun_with`.
    """
    ours = {"format": FORMAT, "format_version": VERSION, "specification": specification.to_dict()}
    attributes = {
        **ours,
        "generation": generation,
        "versions": versions,
        "receipts": {"n": len(receipts), "checksum": receipts.checksum},
    }
    fields = {"length": "length", specification.slot_value: "value", "status": "status"}
    arrays, files = {"start": slot_starts(plan, specification)}, {}
    for name, field in fields.items():
        arrays[name] = by_slot(receipts, field, len(plan), slot_array_names(specification)[name])
    for name, values in arrays.items():
        n_bytes = SLOTS_PER_CHUNK * values.itemsize
        for number in range(-(-len(values) // SLOTS_PER_CHUNK)):  # the last chunk is padded with zeros
            part = values[number * SLOTS_PER_CHUNK : (number + 1) * SLOTS_PER_CHUNK].tobytes()
            files[f"{name}/c/{number}"] = part.ljust(n_bytes, b"\0")
    for name, values in arrays.items():
        files[f"{name}/zarr.json"] = _json(slot_array_metadata(values.dtype.name, len(values)))
    files["features/zarr.json"] = _json(features_metadata(specification, n_chunks(plan), ours))
    files["zarr.json"] = _json({"attributes": attributes, "zarr_format": 3, "node_type": "group"})
    return files


def features_metadata(specification: Specification, n_chunks: int, attributes: dict) -> dict:
    """The Zarr metadata of the feature array."""
    length, item = specification.chunk_length, list(specification.item_shape)
    shape, names = [n_chunks * length, *item], specification.dimension_names
    return _array_metadata(shape, [length, *item], specification.dtype, names, attributes)


def slot_array_metadata(dtype: str, n_slots: int) -> dict:
    """The Zarr metadata of an array by slot."""
    return _array_metadata([n_slots], [SLOTS_PER_CHUNK], dtype, ["slot"], {})


def slot_array_names(specification: Specification) -> dict[str, str]:
    """The arrays by slot of a store: name and dtype."""
    return {"start": "int64", "length": "int64", "status": "uint8", specification.slot_value: "float32"}


def feature_chunk_key(specification: Specification, chunk: int) -> str:
    """The key of a feature chunk.

    >>> from cache import MfccSpecification
    >>> feature_chunk_key(MfccSpecification(), 7)
    'features/c/7/0'
    """
    return "/".join(["features/c", str(chunk), *("0" for _ in specification.item_shape)])


def _array_metadata(shape: list, chunk: list, dtype: str, names: Sequence[str], attributes: dict) -> dict:
    endian = {} if dtype == "uint8" else {"configuration": {"endian": "little"}}
    return {
        "shape": shape,
        "data_type": dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0 if "int" in dtype else 0.0,
        "codecs": [{"name": "bytes", **endian}],
        "attributes": attributes,
        "dimension_names": list(names),
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }


def _json(metadata: dict) -> bytes:
    return json.dumps(metadata, indent=2).encode()


def _durations_us(native_samples: np.ndarray, native_rate: np.ndarray) -> np.ndarray:
    """Microseconds, rounded up, so that no group holds more than its seconds."""
    rate = np.maximum(native_rate, 1)
    return np.where(native_rate > 0, -(-native_samples * 1_000_000 // rate), 0)


def _chunks(durations_us):
    return np.maximum(1, -(-durations_us // _GROUP_US))
