"""Compaction: the slots that clips refer to, packed anew, densely and in the clip table's order.

Features are copied, nothing is decoded, and the recordings need not be there. The result is, byte for byte, what
featurizing the same dataset into a new cache gives, but for the generation, which is one higher: slots get other
numbers, so tables and stores of before and after must never be mixed. Where receipts of several versions meet in
one group, its receipt names them all. The new form is built beside the old one: see `cache.switch`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pandas as pd

from cache.layout import chunks_per_slot, n_chunks, pack, slot_starts, store_files
from cache.reader import Cache, removed_stores
from cache.receipts import (
    Receipt,
    Receipts,
    SlotResult,
    begun_with,
    chunk_files,
    done_groups,
    read_receipts,
    withdraw,
)
from cache.storage import DamagedError, LocalStorage, Storage
from cache.store import Store
from cache.switch import require_space, switching
from cache.tables import write_tables
from cache.writer import GroupWriter
from common.progress import progress

_RECEIPTS = 256  # receipts that are in memory as objects while their groups are copied
_BLOCK = 1 << 20  # samples or frames that are copied at a time
_OF_RECORDING = ["file", "size", "mtime_ns", "native_rate", "native_samples"]


@dataclass(frozen=True)
class Compaction:
    """What a compaction is about to do: the new plan, the stores, bytes of chunks before and after."""

    cache: Cache
    plan: pd.DataFrame
    stores: list[Store]
    bytes_before: int
    bytes_after: int


def waste(cache: Cache, store: Store, receipts: Receipts) -> dict[str, int]:
    """What a store wastes by its receipts: slots that no clip refers to, their bytes, the bytes of padding, and
    the bytes that compacting wins back."""
    length = receipts.column("length")
    dead = ~np.isin(receipts.column("slot"), cache.clips["slot"].to_numpy())
    there, item = sum(chunk_files(store.storage).values()), store.specification.item_bytes
    return {
        "slots": int(dead.sum()),
        "slot_bytes": item * int(length[dead].sum()),
        "padding_bytes": there - item * int(length.sum()),
        "compact_wins_bytes": max(0, there - store.specification.chunk_bytes * n_chunks(_dense_plan(cache))),
    }


def plan_compaction(cache: Cache) -> Compaction:
    """Say what a compaction would do; nothing is written.

    Raises:
        CacheError: a store is damaged, foreign or incomplete.
    """
    stores = [cache.open_store(name.partition("-")[0], store=name) for name in cache.stores()]
    plan, chunk_bytes = _dense_plan(cache), sum(store.specification.chunk_bytes for store in stores)
    before = sum(sum(chunk_files(store.storage).values()) for store in stores)
    return Compaction(cache, plan, stores, before, chunk_bytes * n_chunks(plan))


def compact(compaction: Compaction) -> None:
    """Build the cache's new form and switch to it; the writer's lock must be held.

    Raises:
        CacheError: features are not what their receipts count; run verify, then featurize.
        EarmarkError: the disk is too small.
    """
    cache, plan, n_bytes = compaction.cache, compaction.plan, compaction.bytes_after
    folder = cache.storage.path()
    require_space(folder, n_bytes, "free some; the old form is removed when the new one is whole")
    with switching(folder) as built, progress("compact", n_bytes, "MB", 1e6) as steps:
        new = LocalStorage(built)
        for store in compaction.stores:
            specification, receipts = store.specification, Receipts(_copied(store, compaction, new, steps.advance))
            files = store_files(plan, specification, receipts, begun_with(receipts), cache.generation + 1)
            for key, data in files.items():
                (new / store.name).write(key, data)
        write_tables(new, cache.clips.assign(slot=np.arange(len(cache.clips))), plan, cache.generation + 1)
        for name in removed_stores(cache.storage):  # their receipts count slots by their old numbers
            for group in done_groups(cache.storage / name):
                withdraw(cache.storage / name, group)


def _dense_plan(cache: Cache) -> pd.DataFrame:
    """The plan that a new cache would have: the clips' slots alone, packed in the clip table's order."""
    plan = cache.plan.iloc[cache.clips["slot"].to_numpy()].reset_index(drop=True)
    return plan.assign(group=pack(plan["native_samples"].to_numpy(), plan["native_rate"].to_numpy(), 0))


def _copied(
    store: Store, compaction: Compaction, new: Storage, on_bytes: Callable[[int], None]
) -> Iterator[Receipt]:
    """Write each new group; yields its receipt."""
    plan, specification, receipts = compaction.plan, store.specification, read_receipts(store.storage)
    old_slots = compaction.cache.clips["slot"].to_numpy()  # by new slot
    old_groups = compaction.cache.plan["group"].to_numpy()[old_slots]
    results_of = lru_cache(_RECEIPTS)(lambda group: {result.slot: result for result in receipts[group].slots})
    starts, widths = slot_starts(plan, specification), chunks_per_slot(plan)
    for group, slots in plan.groupby("group").indices.items():
        offsets = {int(slot): int(starts[slot] - group * specification.chunk_length) for slot in slots}
        recordings, results, n_chunks = (
            plan.iloc[slots][_OF_RECORDING].to_dict("records"),
            [],
            int(widths[slots].max()),
        )
        with GroupWriter(new / store.name, specification, int(group), n_chunks, offsets) as writer:
            for slot, recording in zip(offsets, recordings, strict=True):
                result = results_of(int(old_groups[slot]))[int(old_slots[slot])]
                if writer.write(slot, _blocks(store, result)) != (result.length, result.checksum):
                    advice = "run `python -m cache verify`, then featurize"
                    raise DamagedError(f"{store.storage}: has damaged features; {advice}")
                results.append(replace(result, slot=slot, **recording))
            versions = [receipts[old].versions for old in np.unique(old_groups[slots]).tolist()]
            yield writer.commit(results, _merged(versions))
        on_bytes(n_chunks * specification.chunk_bytes)


def _blocks(store: Store, result: SlotResult) -> Iterator[np.ndarray]:
    """A slot's features, piece by piece."""
    start = int(store.start[result.slot])
    stop = start + result.length
    return (store.read(first, min(first + _BLOCK, stop)) for first in range(start, stop, _BLOCK))


def _merged(versions: list[dict[str, str]]) -> dict[str, str]:
    """Versions of several groups as those of one: where they differ, each of them."""
    names = dict.fromkeys(name for each in versions for name in each)
    return {name: ", ".join(dict.fromkeys(each[name] for each in versions if name in each)) for name in names}
