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
from cache.reader import Cache, Store
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
from cache.specification import Specification
from cache.storage import DamagedError, LocalStorage, Storage
from cache.switch import require_space, switching
from cache.tables import write_tables
from cache.verify import removed_stores
from cache.writer import GroupWriter

_RECEIPTS = 256  # receipts that are in memory as objects while their groups are copied
_BLOCK = 1 << 20  # samples or frames that are copied at a time
_OF_RECORDING = ["file", "size", "mtime_ns", "native_rate", "native_samples"]


@dataclass(frozen=True)
class Waste:
    """Slots that no clip refers to, their bytes, the bytes of padding, and the bytes that compacting wins back."""

    slots: int
    slot_bytes: int
    padding_bytes: int
    compact_wins_bytes: int


@dataclass(frozen=True)
class Compaction:
    """What a compaction is about to do: the new plan, the stores, bytes of chunks before and after."""

    cache: Cache
    plan: pd.DataFrame
    stores: list[Store]
    bytes_before: int
    bytes_after: int


def find_waste(cache: Cache, specification: Specification, store: Storage, receipts: Receipts) -> Waste:
    """What a store wastes, by its receipts."""
    length = receipts.column("length")
    live = np.isin(receipts.column("slot"), cache.clips["slot"].to_numpy())
    there, item = sum(chunk_files(store).values()), specification.item_bytes
    return Waste(
        slots=int((~live).sum()),
        slot_bytes=item * int(length[~live].sum()),
        padding_bytes=there - item * int(length.sum()),
        compact_wins_bytes=max(0, there - specification.chunk_bytes * n_chunks(dense_plan(cache))),
    )


def dense_plan(cache: Cache) -> pd.DataFrame:
    """The plan that a new cache would have: the clips' slots alone, packed in the clip table's order."""
    plan = cache.plan.iloc[cache.clips["slot"].to_numpy()].reset_index(drop=True)
    return plan.assign(group=pack(plan["native_samples"].to_numpy(), plan["native_rate"].to_numpy(), 0))


def plan_compaction(cache: Cache) -> Compaction:
    """Say what a compaction would do; nothing is written.

    Raises:
        CacheError: a store is damaged, foreign or incomplete.
    """
    stores = [cache.open_store(name.partition("-")[0], store=name) for name in cache.stores()]
    plan, size = dense_plan(cache), sum(store.specification.chunk_bytes for store in stores)
    before = sum(sum(chunk_files(store.storage).values()) for store in stores)
    return Compaction(cache, plan, stores, before, size * n_chunks(plan))


def compact(compaction: Compaction, on_bytes: Callable[[int], None] = lambda n_bytes: None) -> None:
    """Build the cache's new form and switch to it; the writer's lock must be held.

    Args:
        on_bytes: called after each group with the bytes written since the last call.
    Raises:
        CacheError: features are not what their receipts count; run verify, then featurize.
        EarmarkError: the disk is too small.
    """
    cache, plan = compaction.cache, compaction.plan
    folder, generation = cache.storage.path(), cache.generation + 1
    require_space(folder, compaction.bytes_after, "free some; the old form is removed when the new one is whole")
    digests = plan["digest"].to_numpy(dtype=object, copy=True)
    with switching(folder) as built:
        for store in compaction.stores:
            path = LocalStorage(built) / store.name
            receipts = Receipts(_copied(store, compaction, path, on_bytes))
            found = receipts.texts("digest").to_pandas()
            digests[receipts.column("slot")[found != ""]] = found[found != ""]
            for key, data in store_files(
                plan, store.specification, receipts, begun_with(receipts), generation
            ).items():
                path.write(key, data)
        clips = cache.clips.assign(slot=np.arange(len(cache.clips)))
        write_tables(LocalStorage(built), clips, plan.assign(digest=digests), generation)
        for name in removed_stores(cache.storage):  # their receipts count slots by their old numbers
            for group in done_groups(cache.storage / name):
                withdraw(cache.storage / name, group)


def _copied(
    store: Store, compaction: Compaction, path: Storage, on_bytes: Callable[[int], None]
) -> Iterator[Receipt]:
    """Write each new group; yields its receipt."""
    plan, specification = compaction.plan, store.specification
    old = _Results(store, compaction.cache.plan)
    before = compaction.cache.clips["slot"].to_numpy()
    starts, widths = slot_starts(plan, specification), chunks_per_slot(plan)
    groups, firsts = np.unique(plan["group"].to_numpy(), return_index=True)
    for group, slots in zip(groups.tolist(), np.split(np.arange(len(plan)), firsts[1:]), strict=True):
        offsets = {int(slot): int(starts[slot] - group * specification.chunk_length) for slot in slots}
        n_chunks, results = int(widths[slots].max()), []
        recordings = plan.iloc[slots][_OF_RECORDING].to_dict("records")
        with GroupWriter(path, specification, group, n_chunks, offsets) as writer:
            for slot in offsets:
                result = old.result(int(before[slot]))
                if writer.write(slot, _blocks(store, result)) != (result.length, result.checksum):
                    raise DamagedError(
                        f"{store.storage}: has damaged features; run `python -m cache verify`, then featurize"
                    )
                results.append(replace(result, slot=slot, **recordings[len(results)]))
            yield writer.commit(results, old.versions(before[slots]))
        on_bytes(n_chunks * specification.chunk_bytes)


def _blocks(store: Store, result: SlotResult) -> Iterator[np.ndarray]:
    """A slot's features, piece by piece."""
    start = int(store.start[result.slot])
    stop = start + result.length
    return (store.read(first, min(first + _BLOCK, stop)) for first in range(start, stop, _BLOCK))


class _Results:
    """What the receipts of the old form say of its slots."""

    def __init__(self, store: Store, plan: pd.DataFrame):
        self._receipts, self._group = read_receipts(store.storage), plan["group"].to_numpy()
        self._of_group = lru_cache(_RECEIPTS)(lambda group: {r.slot: r for r in self._receipts[group].slots})

    def result(self, slot: int) -> SlotResult:
        """A slot's result."""
        return self._of_group(int(self._group[slot]))[slot]

    def versions(self, slots: np.ndarray) -> dict[str, str]:
        """The versions that computed some slots: where they differ, each of them."""
        found = [self._receipts[group].versions for group in np.unique(self._group[slots]).tolist()]
        names = dict.fromkeys(name for versions in found for name in versions)
        return {
            name: ", ".join(dict.fromkeys(versions[name] for versions in found if name in versions))
            for name in names
        }
