"""Verification: every byte of a cache against what it should be, and repair as far as the cache itself allows it.

Chunks are compared with the checksums in their receipts, receipts with their own, metadata and arrays by slot with
what plan and receipts give; every other file is named. In a damaged chunk the checksums of its clips show which of
them are damaged, and only these are named.

Nothing is changed while findings are collected. `repair` takes the writer's lock, looks at each group again, and
acts on what is still bad: the chunk is written again without the damaged clips, whose results leave the receipt, so
that the next featurize makes just these clips again. Metadata and tables are repaired by the next featurize.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from cache.layout import counted_chunks, slot_starts, store_files
from cache.metadata import known_specification, read_attributes
from cache.reader import removed_stores, store_names
from cache.receipts import (
    Receipt,
    Receipts,
    begun_with,
    checksum,
    done_groups,
    read_receipts,
    receipts_folder,
    withdraw,
)
from cache.specification import from_dict
from cache.storage import CacheError, DamagedError, Storage, each
from cache.switch import is_switching
from cache.tables import Tables, read_manifest
from cache.writer import CacheWriter, GroupWriter, load_tables, writing
from common.files import is_temporary
from common.progress import progress

_AT_A_TIME = 8  # chunks of a bucket that are in memory
_AGAIN = "the next featurize writes it again"


class Kind(Enum):
    """What a finding means, the worst first, in the words of the verdict."""

    DAMAGED = "damaged; rerun featurize to repair it"
    INCOMPLETE = "incomplete; rerun featurize to resume"
    REPAIRED = "repaired"  # by `repair`: no clip is lost
    EXTRA = "sound, but for the extra files named"


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


def verify_tables(storage: Storage) -> tuple[Tables, list[Finding]]:
    """The tables of a cache, damaged ones made anew in memory as far as that goes, and what is damaged.

    Raises:
        CacheError: there is no cache, or an older or a newer one, or one that a compaction left half old, half new.
    """
    if not store_names(storage) or (storage.is_local and is_switching(storage.path())):
        with suppress(DamagedError):
            read_manifest(storage)  # says that there is no cache, or half of one
    tables, lines = load_tables(storage)
    lines = [line.replace("; made anew", "; the next featurize makes it anew") for line in lines]
    return tables, [Finding("", line) for line in lines]


def verify_store(storage: Storage, tables: Tables, name: str) -> list[Finding]:
    """What is not as it should be in one store; nothing is changed.

    Args:
        tables: as `verify_tables` gives them.
    Raises:
        CacheError: the store is foreign, of another version, or without sound metadata.
    """
    if name in removed_stores(storage):
        what = f"is missing, only its receipts are left; featurize makes it again, `cache rm {name}` removes them"
        return [Finding(str(storage / name), what, kind=Kind.INCOMPLETE)]
    check = _Check(storage / name, tables)
    return [*check.receipt_findings(), *check.file_findings(), *check.chunk_findings()]


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
        store, there = check.store, check.receipts
        sound = {group: () for group in groups & done_groups(store) - there.keys()}
        for group in sorted(groups & there.keys()):
            if any(check.look(*chunk) for chunk in counted_chunks(check.specification, there[group])):
                sound[group] = tuple(check.writer(there[group]).kept.values())
        kept = (replace(receipt, slots=sound.get(group, receipt.slots)) for group, receipt in there.items())
        check.update(writer, Receipts(receipt for receipt in kept if receipt.slots))  # first readers learn of it
        lines = []
        for group, results in sound.items():
            writer.hold.check()
            try:
                if results:
                    with check.writer(there[group]) as group_writer:
                        group_writer.commit(results, there[group].versions)
                else:
                    withdraw(store, group)
            except OSError as error:
                lines.append(f"{error.filename or store}: cannot be replaced ({error.strerror}); move it away")
        check.update(writer, read_receipts(store))
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
        self._attributes = {}
        with suppress(CacheError):
            self._attributes = read_attributes(store)

    def receipt_findings(self) -> Iterator[Finding]:
        """Damaged receipts, and clips that lack a result for another reason."""
        folder, unnamed = receipts_folder(self.store), self._missing
        for group in sorted(done_groups(self.store) - self.receipts.keys()):
            of_group = self._missing[self._group_of[self._missing] == group]
            unnamed = np.setdiff1d(unnamed, of_group)
            is_file = folder.look(f"{group:06d}.json") is not None
            what = f"damaged receipt; {_AGAIN}" if is_file else "damaged receipt, not a regular file; move it away"
            path = f"{folder}/{group:06d}.json"
            yield Finding(path, what, self._named(of_group), group=group if is_file else None)
        if len(unnamed):
            yield Finding(str(folder), "clips without a result", self._named(unnamed), Kind.INCOMPLETE)

    def file_findings(self) -> Iterator[Finding]:
        """Metadata and arrays by slot, where a run has brought them up to date; and files that are none of ours."""
        plan, generation = self._tables.plan, self._tables.generation
        n, versions = len(self.receipts), self._versions(self.receipts)
        expected = store_files(plan, self.specification, self.receipts, versions, generation)
        said = self._attributes.get("receipts", {"n": n})
        if len(self._missing):
            pass  # a run was interrupted, and its end writes these files
        elif said["n"] != n and said["checksum"] != self.receipts.checksum:  # both: more than a damaged byte does
            what = f"metadata of {said['n']} receipts, but there are {n}; a run was interrupted"
            yield Finding(str(self.store), what, kind=Kind.INCOMPLETE)
        else:
            for key in self.store.differing(expected):
                yield Finding(f"{self.store}/{key}", f"not what plan and receipts give; {_AGAIN}")
        chunks = {
            key for receipt in self.receipts.values() for key, _ in counted_chunks(self.specification, receipt)
        }
        receipts = {f"{group:06d}.json" for group in done_groups(self.store)}
        for folder, known in ((self.store, chunks | expected.keys()), (receipts_folder(self.store), receipts)):
            for key in [file.key for file in folder.files() if file.key not in known]:
                what = "extra file, none of the store's; move it away"
                if is_temporary(key.rpartition("/")[2]):
                    what = "left by a run that was killed; the next featurize removes it"
                elif key.startswith("features/c/"):
                    if len(self._missing):  # a run that was interrupted wrote it
                        continue
                    what = "extra chunk, no receipt counts it; `cache compact` removes it"
                yield Finding(f"{folder}/{key}", what, kind=Kind.EXTRA)

    def chunk_findings(self) -> Iterator[Finding]:
        """Chunks that are missing or damaged."""
        receipts, n_bytes = self.receipts.values(), self.specification.chunk_bytes
        chunks = [
            (receipt.group, *chunk) for receipt in receipts for chunk in counted_chunks(self.specification, receipt)
        ]
        looks = each(lambda chunk: self.look(*chunk[1:]), chunks, self.store, threads=_AT_A_TIME)
        with progress(self.store.name, n_bytes * len(chunks), "MB", 1e6) as steps:
            for (group, key, _), what in zip(chunks, looks, strict=True):
                if what:
                    yield from self._bad_chunk(group, f"{self.store}/{key}", what)
                steps.advance(n_bytes)

    def _bad_chunk(self, group: int, path: str, what: str) -> Iterator[Finding]:
        receipt = self.receipts[group]
        sound = self.writer(receipt).kept
        bad = [result.slot for result in receipt.slots if result.slot not in sound]
        clips = self._named(bad)
        if clips or (bad and self._tables.clips is None):
            yield Finding(path, what, clips, group=group)
        elif bad:
            yield Finding(path, f"{what}; holds no clip of the dataset", kind=Kind.REPAIRED, group=group)
        elif not (self._group_of[self._missing] == group).any():
            yield Finding(path, f"{what}; every clip in it is sound", kind=Kind.REPAIRED, group=group)
        # Else a run that was interrupted has replaced the chunk, but not yet its receipt.

    def look(self, key: str, expected: str) -> str:
        """What is wrong with a chunk."""
        try:
            found = checksum(self.store.read(key, self.specification.chunk_bytes + 1))
        except FileNotFoundError:
            return "missing chunk"
        except OSError as error:
            return f"unreadable chunk ({error.strerror})"
        return "" if found == expected else f"damaged chunk: checksum must be {expected}, got {found}"

    def writer(self, receipt: Receipt) -> GroupWriter:
        """A writer of a group; its `kept` are the results that are sound."""
        begin, slots = receipt.group * self.specification.chunk_length, [result.slot for result in receipt.slots]
        offsets = {slot: int(self._starts[slot]) - begin for slot in slots if slot < len(self._starts)}
        n = len(receipt.checksums)
        return GroupWriter(self.store, self.specification, receipt.group, n, offsets, receipt)

    def update(self, writer: CacheWriter, receipts: Receipts) -> None:
        """Bring metadata and arrays by slot up to date."""
        writer.update_store(self.specification, self._tables.plan, receipts, self._versions(receipts))

    def _versions(self, receipts: Receipts) -> dict[str, str]:
        return begun_with(receipts) or self._attributes.get("versions", {})

    def _named(self, slots) -> tuple[str, ...]:
        """The clips of some slots, in the clip table's order."""
        clips = self._tables.clips
        if clips is None or not len(slots):
            return ()
        clips = clips[clips["slot"].isin(slots)]
        return tuple(clips["split"] + "/" + clips["clip"])
