"""Verification: every byte of a cache against what it should be, and repair as far as the cache itself allows it.

Chunks are read again and compared with the checksums in their receipts, receipts with their own, metadata and
arrays by slot with what plan and receipts give; every other file is named. Where a chunk is not what its receipt
counts, the checksums of its clips show which of them are damaged, and only these are named.

Nothing is changed while findings are collected. `repair` takes the writer's lock, looks at each group again, and
acts on what is still bad: the chunk is written again without the damaged clips, whose results leave the receipt, so
that the next featurize makes just these clips again. Metadata and tables are repaired by the next featurize.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from cache.layout import feature_chunk_key, slot_starts, store_files
from cache.reader import known_specification, read_attributes, store_names
from cache.receipts import (
    Receipt,
    Receipts,
    SlotResult,
    begun_with,
    checksum,
    done_groups,
    read_receipts,
    receipts_folder,
    withdraw,
)
from cache.specification import KINDS, from_dict
from cache.storage import CacheError, DamagedError, Storage, each
from cache.switch import is_switching
from cache.tables import Tables, read_manifest
from cache.writer import CacheWriter, GroupWriter, load_tables, writing
from common.files import is_temporary

_AT_A_TIME = 8  # chunks of a bucket that are in memory
_AGAIN = "the next featurize writes it again"
Progress = Callable[[int], None]  # takes the bytes that were read since the last call


class Kind(Enum):
    """What a finding means: data is damaged, a run was interrupted, or a file is there that does no harm."""

    DAMAGED = 1
    INCOMPLETE = 2
    EXTRA = 3


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be: where, what, and the clips it concerns, each as SPLIT/CLIP.

    path: "" where `what` says it. group: the one that `repair` looks at again; None where only featurize repairs.
    """

    path: str
    what: str
    clips: tuple[str, ...] = ()
    kind: Kind = Kind.DAMAGED
    group: int | None = None


def removed_stores(storage: Storage) -> list[str]:
    """The names of stores whose folder was removed by hand, so that only their receipts are left."""
    there = storage.names()
    names = (f"{name.removesuffix('.receipts')}.zarr" for name in there if name.endswith(".receipts"))
    return [name for name in names if name not in there and name.partition("-")[0] in KINDS]


def verify_tables(storage: Storage) -> tuple[Tables, list[Finding]]:
    """The tables of a cache, damaged ones made anew in memory as far as that goes, and what is damaged.

    Raises:
        CacheError: there is no cache, or an older or a newer one, or one that a compaction left half old, half new.
    """
    try:
        read_manifest(storage)
    except DamagedError:
        pass
    except CacheError:
        if not store_names(storage) or (storage.is_local and is_switching(storage.path())):
            raise
    tables, lines = load_tables(storage)
    return tables, [
        Finding("", line.replace("; made anew", "; the next featurize makes it anew")) for line in lines
    ]


def verify_store(
    storage: Storage, tables: Tables, name: str, on_bytes: Progress = lambda n_bytes: None
) -> list[Finding]:
    """What is not as it should be in one store; nothing is changed.

    Args:
        tables: as `verify_tables` gives them.
    Raises:
        CacheError: the store is foreign, of another version, or without sound metadata.
    """
    if name in removed_stores(storage):
        what = f"is missing, only its receipts are left; featurize makes it again, `cache rm {name}` removes them"
        return [Finding(str(storage / name), what, kind=Kind.INCOMPLETE)]
    return list(_Check(storage / name, tables).findings(on_bytes))


def repair(storage: Storage, name: str, generation: int, groups: set[int]) -> list[str]:
    """Take the writer's lock, look at groups of a store again, and take damaged results back.

    A damaged chunk is written again with what is sound in it and silence elsewhere, and its receipt without the
    results of damaged clips; where nothing is sound, or the receipt itself is damaged, the receipt is removed.

    Args:
        generation: of the tables that the groups were found by.
    Returns:
        lines that say what could not be done.
    Raises:
        CacheError: another process writes the cache.
    """
    with writing(storage) as writer:
        if writer.tables.generation != generation:
            return [f"{storage}: was compacted meanwhile, nothing was changed; run verify again"]
        check = _Check(storage / name, writer.tables)
        there = check.receipts
        sound = {group: check.sound_results(group) for group in sorted(groups & there.keys())}
        sound = {group: results for group, results in sound.items() if results is not None}
        lost = {group: () for group in groups & done_groups(check.store) - there.keys()}
        kept = (replace(receipt, slots=sound.get(group, receipt.slots)) for group, receipt in there.items())
        check.update(writer, Receipts(receipt for receipt in kept if receipt.slots))  # first readers learn of it
        lines = [line for group, results in (lost | sound).items() for line in check.repair(group, results)]
        check.update(writer, read_receipts(check.store))
    return lines


class _Check:
    """One store at verification."""

    def __init__(self, store: Storage, tables: Tables):
        self.store, self._tables = store, tables
        self.specification = known_specification(store) or from_dict(read_attributes(store)["specification"])
        self.receipts = read_receipts(store, lost_chunks=True)
        self._starts, self._group_of = slot_starts(tables.plan, self.specification), tables.plan["group"].to_numpy()
        live = np.zeros(0, np.int64) if tables.clips is None else tables.clips["slot"].to_numpy()
        self._missing = live[~np.isin(live, self.receipts.column("slot"))]  # slots

    def findings(self, on_bytes: Progress) -> Iterator[Finding]:
        """All that is not as it should be."""
        folder, unnamed = receipts_folder(self.store), self._missing
        for group in sorted(done_groups(self.store) - self.receipts.keys()):
            of_group = self._group_of[self._missing] == group
            unnamed = np.setdiff1d(unnamed, self._missing[of_group])
            is_file = folder.look(f"{group:06d}.json") is not None
            what = f"damaged receipt; {_AGAIN}" if is_file else "damaged receipt, not a regular file; move it away"
            clips = self._named(self._missing[of_group])
            yield Finding(f"{folder}/{group:06d}.json", what, clips, group=group if is_file else None)
        if len(unnamed):
            yield Finding(str(folder), "clips without a result", self._named(unnamed), Kind.INCOMPLETE)
        yield from self._files()
        yield from self._chunks(on_bytes)

    def sound_results(self, group: int) -> tuple[SlotResult, ...] | None:
        """The results of a group whose bytes have their own checksum; None where every chunk has its own."""
        receipt = self.receipts[group]
        chunks = zip(self._keys(receipt), receipt.checksums, strict=True)
        if not any(self._look(key, expected)[0] for key, expected in chunks):
            return None
        return tuple(self._writer(receipt).kept.values())

    def update(self, writer: CacheWriter, receipts: Receipts) -> None:
        """Bring metadata and arrays by slot up to date."""
        writer.update_store(self.specification, self._tables.plan, receipts, self._versions(receipts))

    def repair(self, group: int, sound: tuple[SlotResult, ...]) -> list[str]:
        """Write a group again with its sound results alone; returns what went wrong."""
        try:
            if sound:
                with self._writer(self.receipts[group]) as writer:
                    writer.commit(sound, self.receipts[group].versions)
            else:
                withdraw(self.store, group)
        except OSError as error:
            return [f"{error.filename or self.store}: cannot be replaced ({error.strerror}); move it away"]
        return []

    def _chunks(self, on_bytes: Progress) -> Iterator[Finding]:
        chunks = [
            (group, key, expected)
            for group, receipt in self.receipts.items()
            for key, expected in zip(self._keys(receipt), receipt.checksums, strict=True)
        ]
        looks = each(lambda chunk: self._look(*chunk[1:]), chunks, self.store, threads=_AT_A_TIME)
        for (group, key, _), (what, n_bytes) in zip(chunks, looks, strict=True):
            if what:
                yield from self._bad_chunk(group, key, what)
            on_bytes(n_bytes)

    def _bad_chunk(self, group: int, key: str, what: str) -> Iterator[Finding]:
        sound = {result.slot for result in self.sound_results(group) or ()}
        bad = [result.slot for result in self.receipts[group].slots if result.slot not in sound]
        where, clips = f"{self.store}/{key}", self._named(bad)
        if bad:
            yield Finding(where, what if clips else f"{what}; holds no clip of the dataset", clips, group=group)
        elif not (self._group_of[self._missing] == group).any():
            yield Finding(where, f"{what}; every clip in it is sound", group=group)
        # Else a run that was interrupted has replaced the chunk, but not yet its receipt.

    def _look(self, key: str, expected: str) -> tuple[str, int]:
        """What is wrong with a chunk, and its bytes."""
        try:
            data = self.store.read(key, self.specification.chunk_bytes + 1)
        except FileNotFoundError:
            return "missing chunk", 0
        except OSError as error:
            return f"unreadable chunk ({error.strerror})", 0
        found = checksum(data)
        return "" if found == expected else f"damaged chunk: checksum must be {expected}, got {found}", len(data)

    def _files(self) -> Iterator[Finding]:
        """Metadata and arrays by slot, where a run has brought them up to date; and the names of all files."""
        said, versions = self._attributes().get("receipts"), self._versions(self.receipts)
        plan, generation = self._tables.plan, self._tables.generation
        expected = store_files(plan, self.specification, self.receipts, versions, generation)
        n, digits = len(self.receipts), self.receipts.checksum
        if isinstance(said, dict) and said.get("n") != n and said.get("checksum") != digits:
            if not len(self._missing):  # both differ, more than one damaged byte does
                what = f"metadata of {said.get('n')!s:.20} receipts, but there are {n}; a run was interrupted"
                yield Finding(str(self.store), what, kind=Kind.INCOMPLETE)
        elif not len(self._missing):
            same = each(lambda key: self.store.holds(key, expected[key]), list(expected), self.store)
            for key in [key for key, is_same in zip(expected, same, strict=True) if not is_same]:
                yield Finding(f"{self.store}/{key}", f"not what plan and receipts give; {_AGAIN}")
        counted = {key for receipt in self.receipts.values() for key in self._keys(receipt)}
        for file in self.store.files():
            if file.key not in counted and file.key not in expected:
                yield from self._extra(self.store, file.key)
        receipts = {f"{group:06d}.json" for group in done_groups(self.store)}
        for file in receipts_folder(self.store).files():
            if file.key not in receipts:
                yield from self._extra(receipts_folder(self.store), file.key)

    def _extra(self, folder: Storage, key: str) -> Iterator[Finding]:
        what = "extra file, none of the store's; move it away"
        if is_temporary(key.rpartition("/")[2]):
            what = "left by a run that was killed; the next featurize removes it"
        elif key.startswith("features/c/"):
            if len(self._missing):  # a run that was interrupted wrote it
                return
            what = "extra chunk, no receipt counts it; `cache compact` removes it"
        yield Finding(f"{folder}/{key}", what, kind=Kind.EXTRA)

    def _attributes(self) -> dict:
        try:
            return read_attributes(self.store)
        except CacheError:
            return {}

    def _versions(self, receipts: Receipts) -> dict[str, str]:
        return begun_with(receipts) or self._attributes().get("versions", {})

    def _writer(self, receipt: Receipt) -> GroupWriter:
        known = [result.slot for result in receipt.slots if result.slot < len(self._starts)]
        begin = receipt.group * self.specification.chunk_length
        offsets = {slot: int(self._starts[slot]) - begin for slot in known}
        n_chunks = len(receipt.checksums)
        return GroupWriter(
            self.store, self.specification, receipt.group, n_chunks, offsets, receipt, keep_retries=True
        )

    def _keys(self, receipt: Receipt) -> list[str]:
        chunks = range(receipt.group, receipt.group + len(receipt.checksums))
        return [feature_chunk_key(self.specification, chunk) for chunk in chunks]

    def _named(self, slots) -> tuple[str, ...]:
        """The clips of some slots, in the clip table's order."""
        clips = self._tables.clips
        if clips is None or not len(slots):
            return ()
        clips = clips[clips["slot"].isin(slots)]
        return tuple(clips["split"] + "/" + clips["clip"])
