"""The plan: one row a slot, append-only; where each version of each recording lies in every store.

Columns: file (relative to the dataset's folder), size (bytes), mtime_ns, digest (xxh3-128 of the file's bytes,
"" until a job has read it), native_rate (Hz), native_samples (per channel, by the header), group.

A group is one job. Its number is the number of its first chunk, the same in every store: groups lie one after
another, a group of more than `GROUP_SECONDS` (one long clip) taking as many chunks as it needs. Inside its
group a slot starts where the capacities of the slots before it end.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from cache.errors import DamagedError
from cache.receipts import done_groups
from cache.specification import GROUP_SECONDS, GROUP_SLOTS, Specification
from cache.tables import read_table, write_table

FILE_NAME = "plan.parquet"
SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("size", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("digest", pa.string()),
        ("native_rate", pa.int64()),
        ("native_samples", pa.int64()),
        ("group", pa.int64()),
    ]
)
_GROUP_US = GROUP_SECONDS * 1_000_000


def empty_plan() -> pd.DataFrame:
    """A plan without slots."""
    return SCHEMA.empty_table().to_pandas()


def write_plan(folder: Path, plan: pd.DataFrame, durable: bool = False) -> None:
    """Persist the plan, whole; durable: as in `write_atomic`."""
    write_table(folder / FILE_NAME, plan, SCHEMA, "plan", durable)


def read_plan(folder: Path) -> pd.DataFrame:
    """The plan, [slots]; empty where the cache has none yet.

    Raises:
        CacheError: damaged, foreign, newer, lost, or older than a store.
    """
    path = folder / FILE_NAME
    plan = read_table(path, "plan") if path.exists() else empty_plan()
    _check_not_older(path, plan)
    return plan


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


def _check_not_older(path: Path, plan: pd.DataFrame) -> None:
    """Refuse a plan without the groups of some receipts: it would give their numbers to other recordings."""
    n_groups = n_chunks(plan)
    for receipts in sorted(path.parent.glob("*.receipts")):
        last = max(done_groups(receipts.with_suffix(".zarr")), default=-1)
        if last >= n_groups:
            raise DamagedError(
                f"{path}: must have group {last}, as {receipts.name} has, got those below {n_groups}; "
                "restore the newest one, or move the cache away and run featurize again"
            )


def _durations_us(native_samples: np.ndarray, native_rate: np.ndarray) -> np.ndarray:
    """Microseconds, rounded up, so that no group holds more than its seconds."""
    rate = np.maximum(native_rate, 1)
    return np.where(native_rate > 0, -(-native_samples * 1_000_000 // rate), 0)


def _chunks(durations_us):
    return np.maximum(1, -(-durations_us // _GROUP_US))
