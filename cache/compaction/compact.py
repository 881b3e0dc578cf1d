"""Compaction: the slots that clips refer to, packed anew, densely and in the clip table's order.

Features are copied, nothing is decoded, and the recordings need not be there. The result is, byte for byte, what
featurizing the same dataset into a new cache gives; where receipts of several versions meet in one group, its
receipt names them all. The new form is built beside the old one and takes its place at the end: see
`cache.compaction.switch`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from cache.clips import write_clips
from cache.compaction.waste import dense_plan
from cache.errors import CacheError
from cache.files import folder_bytes, write_atomic
from cache.fold import begun_with, bring_up_to_date, read_receipts, store_files
from cache.folder import Cache
from cache.plan import chunks_per_slot, n_chunks, slot_starts, write_plan
from cache.receipts import Receipt, checksum, write_receipt
from cache.sound import check_chunk
from cache.store import Store
from cache.zarr_files import feature_chunk_key

_RECEIPTS = 256  # receipts to keep while their groups are being copied


@dataclass(frozen=True)
class Compaction:
    """What a compaction is about to do: the new plan, the stores, bytes of chunks before and after."""

    cache: Cache
    plan: pd.DataFrame
    stores: list[Store]
    bytes_before: int
    bytes_after: int


def plan_compaction(cache: Cache) -> Compaction:
    """Say what a compaction would do; nothing is written.

    Raises:
        CacheError: a table or a store is damaged, foreign, newer or incomplete.
    """
    stores = [Store(path) for path in cache.store_paths()]
    for store in stores:
        if len(missing := cache.missing(store)):
            raise CacheError(
                f"{store.path}: must be complete, got {len(missing)} of {len(cache.clips)} clips missing; "
                "run featurize first"
            )
    plan, size = dense_plan(cache), sum(store.specification.chunk_bytes for store in stores)
    before = sum(folder_bytes(store.path / "features" / "c") for store in stores)
    return Compaction(cache, plan, stores, before, size * n_chunks(plan))


def compact(compaction: Compaction, folder: Path, on_bytes: Callable[[int], None] = lambda n_bytes: None) -> None:
    """Build the cache's new form in a folder.

    Args:
        on_bytes: called after each chunk with the bytes written so far.
    Raises:
        DamagedError: a chunk is not what its receipt counts; run verify, then featurize.
    """
    plan, clips = compaction.plan, compaction.cache.clips
    digests, n_bytes = plan["digest"].to_numpy(dtype=object, copy=True), 0
    for store in compaction.stores:
        path = folder / store.name
        for receipt in _groups(store, compaction, path):
            write_receipt(path, receipt)
            digests[[result.slot for result in receipt.slots]] = [result.digest for result in receipt.slots]
            n_bytes += store.specification.chunk_bytes * len(receipt.checksums)
            on_bytes(n_bytes)
        receipts = read_receipts(path)
        bring_up_to_date(path, store_files(plan, store.specification, receipts, begun_with(receipts)))
    write_plan(folder, plan.assign(digest=digests))
    write_clips(folder, clips.assign(slot=np.arange(len(clips))))


def _groups(store: Store, compaction: Compaction, path: Path) -> Iterator[Receipt]:
    """Write the chunks of each new group; yields the receipts to write."""
    plan, source = compaction.plan, _Source(store, compaction.cache.plan)
    before = compaction.cache.clips["slot"].to_numpy()
    starts, widths = slot_starts(plan, store.specification), chunks_per_slot(plan)
    groups, firsts = np.unique(plan["group"].to_numpy(), return_index=True)
    for group, slots in zip(groups.tolist(), np.split(np.arange(len(plan)), firsts[1:]), strict=True):
        results = [source.result(int(slot)) for slot in before[slots]]
        pieces = [
            (int(starts[slot]), result.length, int(source.starts[result.slot]))
            for slot, result in zip(slots, results, strict=True)
        ]
        sums = []
        for chunk in range(group, group + int(widths[slots].max())):
            data = memoryview(source.chunk(chunk * store.specification.chunk_length, pieces)).cast("B")
            write_atomic(path / feature_chunk_key(store.specification, chunk), data)
            sums.append(checksum(data))
        moved = tuple(replace(result, slot=int(slot)) for slot, result in zip(slots, results, strict=True))
        yield Receipt(group, tuple(sums), moved, source.versions(before[slots]))


class _Source:
    """The store to copy from: results by slot, and features from chunks that were checked."""

    def __init__(self, store: Store, plan: pd.DataFrame):
        self._store, self._group = store, plan["group"].to_numpy()
        self.starts = slot_starts(plan, store.specification)
        self._receipts, self._checked = read_receipts(store.path), set()
        self._results = lru_cache(_RECEIPTS)(self._group_results)

    def result(self, slot: int):
        """A slot's result."""
        return self._results(int(self._group[slot]))[slot]

    def versions(self, slots: np.ndarray) -> dict[str, str]:
        """The versions that computed some slots: where they differ, each of them."""
        found = [self._receipts[group].versions for group in np.unique(self._group[slots]).tolist()]
        names = dict.fromkeys(name for versions in found for name in versions)
        return {
            name: ", ".join(dict.fromkeys(versions[name] for versions in found if name in versions))
            for name in names
        }

    def chunk(self, begin: int, pieces: list[tuple[int, int, int]]) -> np.ndarray:
        """A new chunk that begins at `begin`: pieces are (new start, length, old start), zeros elsewhere."""
        specification = self._store.specification
        end = begin + specification.chunk_length
        features = np.zeros((specification.chunk_length, *specification.item_shape), specification.dtype)
        for start, length, old in pieces:
            first, last = max(start, begin), min(start + length, end)
            if first < last:
                features[first - begin : last - begin] = self._read(old + first - start, old + last - start)
        return features

    def _read(self, start: int, stop: int) -> np.ndarray:
        length = self._store.specification.chunk_length
        for chunk in range(start // length, (stop - 1) // length + 1):
            if chunk not in self._checked:
                self._check(chunk)
        return self._store.read(start, stop)

    def _check(self, chunk: int) -> None:
        length = self._store.specification.chunk_length
        data = memoryview(self._store.read(chunk * length, (chunk + 1) * length)).cast("B")
        group = int(self._group[np.searchsorted(self._group, chunk, side="right") - 1])
        check_chunk(self._store.chunk_path(chunk), data, self._receipts[group], chunk)
        self._checked.add(chunk)

    def _group_results(self, group: int) -> dict:
        return {result.slot: result for result in self._receipts[group].slots}
