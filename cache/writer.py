"""All that writes a cache: the tables, a store's metadata and arrays by slot, and the chunks of a group.

Chunks and receipts need no repair of their own: a run makes again what has no sound receipt, and writes metadata
and arrays by slot from plan and receipts.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import xxhash

from cache import layout, tables
from cache.layout import feature_chunk_key, slot_starts, store_files
from cache.lock import HOLDER, LOCK, Hold, holding
from cache.metadata import known_specification, read_attributes
from cache.reader import all_names, store_names
from cache.receipts import (
    Receipt,
    Receipts,
    SlotResult,
    checksum,
    read_receipts,
    receipts_folder,
    withdraw,
    write_receipt,
)
from cache.specification import Specification
from cache.storage import CacheError, DamagedError, Storage, open_storage
from cache.store import Store
from cache.switch import finish_switch, is_switching
from cache.tables import CLIPS, MANIFEST, PLAN, Manifest, Tables
from common.files import is_temporary, make_folder
from common.text import listed


class CacheWriter:
    """A cache that this process holds for writing; made by `writing`.

    tables: as they are now; without clips where there is no sound clip table, with an empty plan where there is no
    cache yet. rebuilt: lines that say which table was damaged, and of what it is made anew. hold: checks, in any
    process, that the cache is still held.
    """

    def __init__(self, storage: Storage, hold: Hold, found: Tables, rebuilt: list[str]):
        self.storage, self.hold, self.tables, self.rebuilt = storage, hold, found, rebuilt

    def write_tables(self, clips: pd.DataFrame, plan: pd.DataFrame, durable: bool = False) -> None:
        """Replace the tables; durable: as in `Storage.write`."""
        self.hold.check()
        tables.write_tables(self.storage, clips, plan, self.tables.generation, durable)
        self.tables = replace(self.tables, clips=clips, plan=plan)

    def update_store(
        self,
        specification: Specification,
        plan: pd.DataFrame,
        receipts: Receipts,
        versions: dict[str, str],
        durable: bool = False,
    ) -> None:
        """Write those files of a store, all but chunks and receipts, that differ from what plan and receipts give.

        Args:
            versions: of the libraries that the store was begun with. durable: as in `Storage.write`.
        """
        self.hold.check()
        store = self.storage / specification.name
        if durable and store.is_local:  # else a job could find a folder that another has made and not synced yet
            for folder in (store / "features" / "c", receipts_folder(store)):
                make_folder(folder.path(), durable)
        files = store_files(plan, specification, receipts, versions, self.tables.generation)
        changed = store.differing(files)
        for key in [key for key in changed if key.startswith("status/c/") and store.look(key)]:
            before = store.read(key)
            lowered = bytes(map(min, before, files[key]))
            if lowered != before:  # what is taken back is pending before its numbers go
                store.write(key, lowered, durable)
        for key in changed:
            store.write(key, files[key], durable)


@contextmanager
def writing(place: "str | Path | Storage", wait: bool = False) -> Iterator[CacheWriter]:
    """Hold a cache for writing and make it ready: finish what was interrupted, remove our temporary files, read the
    tables, and make damaged ones anew.

    Args:
        wait: on a disk, until another writer ends.
    Raises:
        CacheError: another process writes it, the folder is neither empty nor a cache, the cache is older or newer,
            or one of its stores is of another generation.
    """
    storage = open_storage(place)
    check_is_cache(storage)
    with holding(storage, wait) as hold:
        if storage.is_local:
            finish_switch(storage.path())
        for store in [storage / name for name in all_names(storage)]:
            store.sweep()
            receipts_folder(store).sweep()
        found, rebuilt = load_tables(storage)
        if rebuilt:
            _withdraw_misplaced(storage, found.plan)
        if rebuilt and found.clips is not None:
            tables.write_tables(storage, found.clips, found.plan, found.generation, durable=True)
        yield CacheWriter(storage, hold, found, rebuilt)


def check_is_cache(storage: Storage) -> None:
    """Refuse a folder that is neither empty nor a cache of this version, before anything is written to it.

    Raises:
        CacheError: says what is there.
    """
    if storage.is_local and storage.path().exists() and not storage.exists():
        raise CacheError(f"{storage}: must be a folder, got a file; give another --cache")
    there = [name for name in storage.names() if name not in {LOCK, HOLDER} and not is_temporary(name)]
    there = [name for name in there if not name.startswith("writer.clock-")]
    if not there or (storage.is_local and is_switching(storage.path())):
        return
    try:
        tables.read_manifest(storage)
        return
    except DamagedError:
        is_ours = bool(store_names(storage) or {CLIPS, PLAN} & set(there))
    except CacheError:
        if MANIFEST in there or tables.is_older(storage):
            raise
        is_ours = any(known_specification(storage / name) for name in store_names(storage))
    if not is_ours:
        what = f"is neither empty nor a cache, it holds {listed(there, 3)}"
        raise CacheError(f"{storage}: {what}; give an empty folder, or a cache, with --cache")


def load_tables(storage: Storage) -> tuple[Tables, list[str]]:
    """The tables as a writer needs them, damaged ones made anew as far as the cache allows; nothing is written.

    Returns:
        the tables, and lines that say what was damaged.
    Raises:
        CacheError: the cache is older or newer, a store is of another generation, or the receipts contradict each
            other.
    """
    lines, found = [], {CLIPS: None, PLAN: None}
    try:
        manifest = tables.read_manifest(storage)
    except CacheError as error:
        is_missing = MANIFEST not in storage.names() and not tables.is_older(storage)
        if not isinstance(error, DamagedError) and not is_missing:
            raise
        if is_missing and not store_names(storage):
            return Tables(None, layout.empty_plan()), []
        lines.append(_first_half(f"{storage}/{MANIFEST}: missing" if is_missing else error) + "; made anew")
        manifest = _manifest_by_hand(storage)
    generation = _generation(storage, None if lines else manifest.generation)
    sources = {CLIPS: "the dataset; clips that it does not list are left out", PLAN: "the receipts"}
    for name in found:
        try:
            found[name] = tables.read_table(storage, name, manifest)
        except DamagedError as error:
            lines.append(f"{_first_half(error)}; made anew from {sources[name]}")
        except CacheError:  # not made yet: the first run was interrupted
            pass
    clips, plan = found.values()
    if plan is None:
        receipts = [read_receipts(storage / name, lost_chunks=True) for name in all_names(storage)]
        try:
            plan = layout.plan_of(receipts, 0 if clips is None else int(clips["slot"].max()) + 1)
        except CacheError as error:
            raise CacheError(f"{storage}/{PLAN}: damaged, and {error}") from error
    return Tables(clips, plan, generation), lines


class GroupWriter:
    """The chunks of one group in one store, filled slot by slot in the order of their offsets.

    One chunk is in memory at a time. Earlier ones are written under temporary names, and all get their own names in
    `commit`, which writes the receipt last: until then nothing counts, and what was there stays. As a context
    manager it removes its temporary files where no commit came.

    kept: earlier results by slot whose bytes on disk still have their checksum; they stay where nothing is written.
    """

    def __init__(
        self,
        store: Storage,
        specification: Specification,
        group: int,
        n_chunks: int,
        offsets: Mapping[int, int],
        earlier: Receipt | None = None,
        durable: bool = False,
        check: Callable[[], None] = lambda: None,
        memory: np.ndarray | None = None,
    ):
        """Begin a group.

        Args:
            n_chunks: that the group takes. offsets: where each of its slots begins, in samples or frames from the
                group's start. earlier: the group's receipt of an earlier run, or a part of it, for what is to stay.
            durable: as in `Storage.write`. check: called before anything gets its name; what it raises keeps all
                as it was. memory: an array of a chunk's shape, to hold the one in memory.
        """
        self._store, self._specification, self._durable, self._check = store, specification, durable, check
        self._group, self._n_chunks, self._offsets, self._earlier = group, n_chunks, offsets, earlier
        ordered = sorted(offsets.items())
        limits = [offset for _, offset in ordered[1:]] + [n_chunks * specification.chunk_length]
        self._ends = {slot: end for (slot, _), end in zip(ordered, limits, strict=True)}
        self._old_chunk = lru_cache(1)(partial(_old_chunk, store, specification, group))
        shape = (specification.chunk_length, *specification.item_shape)
        self._features = np.empty(shape, specification.dtype) if memory is None else memory
        self._staged: list[tuple[str, str]] = []  # temporary key and checksum of the chunks that are filled
        results = earlier.slots if earlier else ()
        self.kept = {each.slot: each for each in results if each.slot in offsets and self._still_holds(each)}
        self._laid = dict(self.kept)
        self._begin(0)

    def __enter__(self) -> "GroupWriter":
        return self

    def __exit__(self, *_) -> None:
        self._discard()

    def write(self, slot: int, blocks: Iterable[np.ndarray]) -> tuple[int, str]:
        """Write a slot's features in place of what was there; returns their length and checksum.

        Where the blocks raise, the slot is blank again, and what they raise goes on.

        Args:
            blocks: [time, ...], the pieces of the features along time; each is copied before the next is asked for.
        """
        self.begin(slot)
        try:
            for block in blocks:
                self.append(block)
        except BaseException:
            self.blank(slot)
            raise
        return self.end()

    def begin(self, slot: int) -> None:
        """Begin a slot in place of what was there. With `append` and `end`: `write`, for stores filled by turns."""
        self.blank(slot)
        self._slot, self._position, self._hashed = slot, self._offsets[slot], xxhash.xxh3_64()

    def append(self, block: np.ndarray) -> None:
        """Write the next piece, [time, ...], of the slot that was begun; it is copied."""
        length, room = self._specification.chunk_length, self._ends[self._slot] - self._position
        block = np.ascontiguousarray(block, self._specification.dtype)
        if len(block) > room:
            raise ValueError(f"slot {self._slot} has room for {room} more elements, got {len(block)}")
        self._hashed.update(block)  # xxhash takes an array without elements, memoryview.cast does not
        while len(block):
            self._advance(self._position // length)
            part = self._features[self._position % length :][: len(block)]
            part[:] = block[: len(part)]
            block, self._position = block[len(part) :], self._position + len(part)

    def end(self) -> tuple[int, str]:
        """The length and checksum of the slot that was begun."""
        length = self._position - self._offsets[self._slot]
        return length, self._hashed.hexdigest() if length else ""

    def blank(self, slot: int) -> None:
        """Leave silence where a slot lies. No later slot may have been written."""
        self._laid.pop(slot, None)
        self._lay(slot)

    def restore(self, slot: int) -> SlotResult:
        """Put back what `kept` has of a slot, and return that. No later slot may have been written."""
        self._laid[slot] = self.kept[slot]
        self._lay(slot)
        return self.kept[slot]

    def commit(self, results: Iterable[SlotResult], versions: dict[str, str]) -> Receipt:
        """Give the chunks their names, then write the receipt that makes them count.

        Args:
            results: one for each slot, new or kept; their checksums as `write` gave them.
        Raises:
            OSError: something could not be written. What check raises.
        """
        results = tuple(sorted(results, key=lambda result: result.slot))
        self._advance(self._n_chunks - 1)
        last = memoryview(self._features).cast("B")
        checksums = (*(digits for _, digits in self._staged), checksum(last))
        receipt = Receipt(self._group, checksums, results, versions)
        self._check()
        staying = tuple(result for result in results if result.slot in self._laid)
        if self._earlier and staying:  # their recordings may be gone: a kill from here on must not lose them
            write_receipt(self._store, replace(self._earlier, slots=staying), self._durable)
        else:
            withdraw(self._store, self._group)
        for number, (staged, _) in enumerate(self._staged):
            self._store.publish(staged, self._key(number), self._durable)
        self._staged = []
        self._store.write(self._key(self._n_chunks - 1), last, self._durable)
        self._check()
        write_receipt(self._store, receipt, self._durable)
        return receipt

    def _key(self, number: int) -> str:
        return feature_chunk_key(self._specification, self._group + number)

    def _advance(self, number: int) -> None:
        """Have a chunk of the group in memory, the ones before it staged."""
        while self._chunk < number:
            data = memoryview(self._features).cast("B")
            staged = self._store.stage(self._key(self._chunk), data, self._durable)
            self._staged.append((staged, checksum(data)))
            self._begin(self._chunk + 1)

    def _begin(self, number: int) -> None:
        """Have a chunk in memory that holds the results that stay, and silence elsewhere."""
        self._chunk = number
        self._features[:] = 0
        for slot in self._laid:
            self._copy(slot)

    def _lay(self, slot: int) -> None:
        """Have the first chunk in memory, where every slot begins, and there the result that stays, or silence."""
        if self._chunk:  # a long clip, which has the group to itself
            self._discard()
            self._begin(0)
        self._features[self._offsets[slot] : self._ends[slot]] = 0
        if slot in self._laid:
            self._copy(slot)

    def _copy(self, slot: int) -> None:
        """Copy what the chunk in memory has of an earlier result."""
        begin = self._chunk * self._specification.chunk_length
        start = max(0, self._offsets[slot] - begin)
        stop = min(len(self._features), self._offsets[slot] + self._laid[slot].length - begin)
        if start < stop:
            self._features[start:stop] = self._old_chunk(self._chunk)[start:stop]

    def _discard(self) -> None:
        """Remove what is staged."""
        for staged, _ in self._staged:
            self._store.remove(staged)
        self._staged = []

    def _still_holds(self, result: SlotResult) -> bool:
        hashed, length = xxhash.xxh3_64(), self._specification.chunk_length
        start = self._offsets[result.slot]
        stop = start + result.length
        while start < stop <= self._n_chunks * length:
            part = self._old_chunk(start // length)[start % length :][: stop - start]
            hashed.update(part)
            start += len(part)
        return start == stop and (not result.length or hashed.hexdigest() == result.checksum)


def _old_chunk(store: Storage, specification: Specification, group: int, number: int) -> np.ndarray:
    """A chunk of a group as it is on disk; what is missing of it is zeros."""
    try:
        data = store.read(feature_chunk_key(specification, group + number), specification.chunk_bytes)
    except OSError:
        data = b""
    features = np.frombuffer(data.ljust(specification.chunk_bytes, b"\0"), specification.dtype)
    return features.reshape(specification.chunk_length, *specification.item_shape)


def _first_half(text: object) -> str:
    """What an error says has happened, without its advice."""
    return f"{text}".partition(";")[0]


def _manifest_by_hand(storage: Storage) -> Manifest:
    """What a damaged manifest still proves: a table whose checksum stands in it is sound."""
    text = storage.read(MANIFEST, 1 << 16) if storage.look(MANIFEST) else b""
    sums = {digits.decode() for digits in re.findall(rb"[0-9a-f]{16}", text)}
    return Manifest(0, {CLIPS: sums, PLAN: sums})


def _generation(storage: Storage, expected: int | None) -> int:
    """The generation of a cache, by its manifest (expected), or by its stores where that is damaged."""
    for name in store_names(storage):
        try:
            found = read_attributes(storage / name)["generation"]
        except CacheError:
            continue  # damaged, which is repaired when it is asked for, or foreign
        if expected is not None and found != expected:
            raise CacheError(
                f"{storage / name}: is of generation {found}, but the cache is of generation {expected}; the store "
                "was copied here from before or after a compaction; move it away"
            )
        expected = found
    return expected or 0


def _withdraw_misplaced(storage: Storage, plan: pd.DataFrame) -> None:
    """Withdraw receipts whose slots do not start where a rebuilt plan says, as a slot before them is lost."""
    for path in [storage / name for name in store_names(storage)]:
        try:
            store = Store(path)
        except CacheError:
            continue
        receipts = read_receipts(path)
        slots, groups = receipts.column("slot"), receipts.column("group")
        known = slots < len(store.start)
        starts = slot_starts(plan, store.specification)
        wrong = starts[slots[known]] != store.start[slots[known]]
        for group in np.unique(groups[known][wrong]).tolist():
            withdraw(path, group)
