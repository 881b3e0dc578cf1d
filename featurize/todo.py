"""What a run has to do, worked out before anything is written: dataset and cache in; clip table and jobs out.

A group is a job where a slot that the clip table names lacks a result in some store.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from cache.layout import chunks_per_slot, slot_starts
from cache.metadata import known_specification, read_attributes
from cache.reader import store_names
from cache.receipts import Receipts, begun_with, chunk_files, read_receipts, receipts_folder
from cache.specification import Specification
from cache.storage import DamagedError, Storage
from cache.tables import Tables
from featurize.datasets import Dataset
from featurize.decode import Header
from featurize.job import Job, Slot, Target, computed_by
from featurize.scan import ABSENT, Recordings, Scan, merge_clips, scan, text_array
from featurize.settings import Options

_COLUMNS = ["file", "size", "mtime_ns", "digest", "native_rate", "native_samples"]


@dataclass(eq=False)
class StoreTodo:
    """A store to bring up to date: asked for or not, and its receipts so far."""

    storage: Storage
    specification: Specification
    asked: bool
    receipts: Receipts

    @property
    def versions(self) -> dict[str, str]:
        """The versions of the libraries that it was begun with."""
        return begun_with(self.receipts) or computed_by()


@dataclass(frozen=True)
class Todo:
    """All that a run is about to do.

    clips: the new clip table. unlisted: former clips that the dataset does not list; pruned: they are left out of
    the table. free_bytes: of the cache's disk, None in a bucket. rebuilt: lines that say what was made again.
    """

    dataset: Dataset
    cache: Storage
    scan: Scan
    clips: pd.DataFrame
    unlisted: pd.DataFrame
    pruned: bool
    stores: list[StoreTodo]
    jobs: "Jobs"
    free_bytes: int | None
    rebuilt: tuple[str, ...] = ()

    def seconds(self) -> np.ndarray:
        """Duration of each clip of the table by its header, float64 [clips]."""
        samples, rates = (self.scan.plan[name].to_numpy() for name in ("native_samples", "native_rate"))
        return (samples / np.maximum(rates, 1))[self.clips["slot"]]

    def plan(self) -> pd.DataFrame:
        """The plan, with the digests that the stores' receipts add to it."""
        return with_digests(self.scan.plan, self.stores)


def work_out(
    dataset: Dataset,
    cache: Storage,
    tables: Tables,
    specifications: Sequence[Specification],
    options: Options,
    rebuilt: tuple[str, ...] = (),
    recordings: Recordings | None = None,
) -> Todo:
    """Look at the dataset and the cache and say what is to be done.

    Args:
        tables: the cache's, as its writer has them. specifications: the kinds asked for; the cache's other stores
            are brought up to date along with them.
        rebuilt: lines for the plan. recordings: those of the dataset, if not the files below its folder.
    Raises:
        CacheError: an asked store is foreign or newer.
    """
    recordings = recordings or Recordings(dataset.folder)
    stores = stores_to_update(cache, tables.plan, specifications)
    found = scan(dataset, with_digests(tables.plan, stores), recordings)
    listed = dataset.clips.drop(columns="file").assign(slot=found.slots)
    clips, unlisted = merge_clips(listed, tables.clips, options.prune)
    jobs = Jobs(found.plan, clips["slot"].to_numpy(), stores, recordings, options)
    free_bytes = _free_bytes(cache)
    return Todo(dataset, cache, found, clips, unlisted, options.prune, stores, jobs, free_bytes, rebuilt)


def with_digests(plan: pd.DataFrame, stores: Sequence[StoreTodo]) -> pd.DataFrame:
    """The plan with the digests that the receipts add to it."""
    digests = text_array(plan["digest"])
    if not pc.any(pc.equal(digests, "")).as_py():
        return plan
    for store in stores:
        results = np.full(len(plan), -1)
        results[store.receipts.column("slot")] = np.arange(len(store.receipts.column("slot")))
        found = store.receipts.texts("digest").take(pa.array(results, mask=results < 0)).combine_chunks()
        digests = pc.if_else(pc.equal(digests, ""), pc.fill_null(found, ""), digests)
    return plan.assign(digest=pa.table({"digest": digests}).to_pandas()["digest"])


def stores_to_update(
    cache: Storage, plan: pd.DataFrame, specifications: Sequence[Specification]
) -> list[StoreTodo]:
    """The stores that serve the specifications, made up where there is none, then the cache's others.

    Since a job decodes a group's clips once for every store that lacks it, the others cost little.

    Raises:
        CacheError: an asked store is foreign, newer, or not what its name says.
    """
    there = {name: known_specification(cache / name) for name in store_names(cache)}
    asked: dict[str, Specification] = {}
    for specification in specifications:
        serving = [name for name, found in there.items() if found and found.serves(specification)]
        if specification.name in there and specification.name not in serving:
            _check_repairable(cache / specification.name)
        name = specification.name if specification.name in there or not serving else serving[0]
        asked[name] = there.get(name) or specification
    others = {name: found for name, found in there.items() if found and name not in asked}
    return [
        StoreTodo(cache / name, found, name in asked, read_receipts(cache / name, plan))
        for name, found in (asked | others).items()
    ]


def _check_repairable(store: Storage) -> None:
    """A store of ours whose metadata is missing or damaged is repaired: its name says what it was."""
    try:
        read_attributes(store)
    except DamagedError:
        if store.look("zarr.json") and not receipts_folder(store).exists():
            raise


class Jobs(Sequence[Job]):
    """The jobs in the order of their groups; each is made when it is asked for.

    slots: int64, the slots that the jobs fill, ascending. n_bytes: what the jobs add: their chunks, but for those
    that they replace.
    """

    def __init__(
        self, plan: pd.DataFrame, live: np.ndarray, stores: Sequence[StoreTodo], data: Recordings, options: Options
    ):
        """live: the slots that the clip table names."""
        self._plan, self._stores, self._data = plan, stores, data.folder
        self._stop_on_error = options.on_error == "stop"
        self._stays = [_slots_that_stay(store, plan, data, options.force) for store in stores]
        self._starts = [slot_starts(plan, store.specification) for store in stores]
        is_live, groups = _mask(len(plan), live), plan["group"].to_numpy()
        lacks = is_live & ~np.array(self._stays, bool).reshape(len(stores), len(plan))
        self._groups = np.unique(groups[lacks.any(axis=0)])
        self.slots = np.flatnonzero(is_live & np.isin(groups, self._groups))
        firsts = np.searchsorted(groups[self.slots], self._groups)
        self._bounds = np.append(firsts, len(self.slots))
        self._lacking = np.logical_or.reduceat(lacks[:, self.slots], firsts, axis=1)  # [stores, jobs]
        self._n_chunks = np.maximum.reduceat(chunks_per_slot(plan)[self.slots], firsts)
        self.n_bytes = sum(map(self._n_new_bytes, stores))

    def __len__(self) -> int:
        return len(self._groups)

    def __getitem__(self, index: int) -> Job:
        """A group's job; what stays of an earlier run's is read from its receipts."""
        group = int(self._groups[index])
        numbers = self.slots[self._bounds[index] : self._bounds[index + 1]].tolist()
        columns = (self._plan[name].iloc[numbers].tolist() for name in _COLUMNS)
        return Job(
            group=group,
            n_chunks=int(self._n_chunks[index]),
            data=self._data,
            slots=tuple(
                Slot(number, file, size, mtime_ns, digest, Header(rate, samples))
                for number, file, size, mtime_ns, digest, rate, samples in zip(numbers, *columns, strict=True)
            ),
            targets=tuple(self._target(store, group, numbers) for store in np.flatnonzero(self._lacking[:, index])),
            stop_on_error=self._stop_on_error,
        )

    def n_chunks(self, store: StoreTodo) -> int:
        """Chunks that the jobs write in a store."""
        return len(self._chunks(store))

    def _chunks(self, store: StoreTodo) -> set[int]:
        writes = self._lacking[self._stores.index(store)]
        jobs = zip(self._groups[writes].tolist(), self._n_chunks[writes].tolist(), strict=True)
        return {chunk for group, n_chunks in jobs for chunk in range(group, group + n_chunks)}

    def _n_new_bytes(self, store: StoreTodo) -> int:
        chunks = self._chunks(store)
        new = chunks.difference(chunk_files(store.storage)) if chunks else chunks
        return len(new) * store.specification.chunk_bytes

    def _target(self, index: int, group: int, slots: list[int]) -> Target:
        store, stays = self._stores[index], self._stays[index]
        earlier = store.receipts.get(group)
        known = {result.slot for result in earlier.slots} if earlier else set()
        again = [slot for slot in known.intersection(slots) if not stays[slot]]
        every = sorted(known.union(slots))  # also slots that no clip has any more
        offsets = self._starts[index][every] - group * store.specification.chunk_length
        offsets = dict(zip(every, offsets.tolist(), strict=True))
        return Target(store.storage, store.specification, offsets, earlier, frozenset(again))


def _slots_that_stay(store: StoreTodo, plan: pd.DataFrame, recordings: Recordings, force: bool) -> np.ndarray:
    """The slots that have a result that is not to be computed again, or cannot be; bool [slots]."""
    slots = store.receipts.column("slot")
    again = store.receipts.column("retry") | (force and store.asked)
    gone = recordings.look(plan["file"].iloc[slots[again]])[0] == ABSENT
    return _mask(len(plan), np.concatenate([slots[~again], slots[again][gone]]))


def _mask(n_slots: int, slots: np.ndarray) -> np.ndarray:
    mask = np.zeros(n_slots, bool)
    mask[slots] = True
    return mask


def _free_bytes(cache: Storage) -> int | None:
    if not cache.is_local:
        return None
    path = cache.path().absolute()
    return shutil.disk_usage(next(path for path in (path, *path.parents) if path.exists())).free
