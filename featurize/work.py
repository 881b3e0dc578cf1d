"""What a run has to do, worked out before anything is written: dataset and cache in, clip table and jobs out."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from cache.clips import FILE_NAME
from cache.folder import Cache
from cache.plan import chunks_per_slot, slot_starts
from cache.receipts import Receipt
from cache.specification import Specification
from cache.zarr_files import feature_chunk_key
from featurize.clip_table import merge_clips
from featurize.dataset import Dataset
from featurize.decode import Header
from featurize.job import Job, Slot
from featurize.page import Target
from featurize.scan import Scan, scan
from featurize.stores import StoreWork, stores_to_update


@dataclass(frozen=True)
class Work:
    """All that a run is about to do.

    scan: what became of the dataset's files, with the new plan. clips: the new clip table. unlisted: former clips
    that the dataset does not list, left out of the table if pruned. n_bytes: what the jobs add to the disk.
    """

    dataset: Dataset
    cache: Cache
    scan: Scan
    clips: pd.DataFrame
    unlisted: list[str]
    stores: list[StoreWork]
    jobs: list[Job]
    n_bytes: int
    free_bytes: int

    def seconds(self) -> np.ndarray:
        """Duration of each clip of the table by its header, float64 [clips]."""
        slots = self.scan.plan.iloc[self.clips["slot"]]
        return (slots["native_samples"] / slots["native_rate"].clip(lower=1)).to_numpy()


def work_out(
    dataset: Dataset,
    cache: Cache,
    specifications: Sequence[Specification],
    prune: bool = False,
    force: bool = False,
    stop_on_error: bool = False,
) -> Work:
    """Look at the dataset and the cache and say what is to be done.

    Args:
        specifications: the kinds asked for. The cache's other stores are brought up to date along with them.
        prune: drop clips that the dataset does not list from the clip table.
        force: make the chunks of the asked stores again.
    Raises:
        CacheError: a table or an asked store is foreign, newer, or damaged beyond mending.
    """
    stores = stores_to_update(cache, specifications)
    found = scan(dataset, with_digests(cache.plan, stores))
    before = cache.clips if (cache.path / FILE_NAME).exists() else None
    listed = dataset.clips.drop(columns="file").assign(slot=found.slots)
    clips, unlisted = merge_clips(listed, before, prune)
    jobs = list(_jobs(dataset.folder, found.plan, clips["slot"].to_numpy(), stores, force, stop_on_error))
    return Work(
        dataset=dataset,
        cache=cache,
        scan=found,
        clips=clips,
        unlisted=unlisted["clip"].tolist(),
        stores=stores,
        jobs=jobs,
        n_bytes=sum(_new_bytes(job) for job in jobs),
        free_bytes=_free_bytes(cache.path),
    )


def with_digests(plan: pd.DataFrame, stores: Sequence[StoreWork]) -> pd.DataFrame:
    """The plan with the digests that the receipts add to it."""
    digests = plan["digest"].to_numpy(dtype=object, copy=True)
    for store in stores:
        for receipt in store.receipts.values():
            for result in receipt.slots:
                if result.slot < len(digests) and not digests[result.slot]:
                    digests[result.slot] = result.digest
    return plan.assign(digest=digests)


def _jobs(
    folder: Path, plan: pd.DataFrame, live: np.ndarray, stores: list[StoreWork], force: bool, stop_on_error: bool
) -> Iterator[Job]:
    """A job for each group in which a live slot (one that the clip table names) lacks a result in some store."""
    live = np.unique(live)
    groups, starts = np.unique(plan["group"].to_numpy()[live], return_index=True)
    n_chunks = chunks_per_slot(plan)
    offsets = [slot_starts(plan, s.specification) - plan["group"] * s.specification.chunk_length for s in stores]
    for group, slots in zip(groups.tolist(), np.split(live, starts[1:]), strict=True):
        parts = [_part(store, group, folder, plan, force) for store in stores]
        lacking = [
            index
            for index, part in enumerate(parts)
            if part is None or not _results(part).issuperset(slots.tolist())
        ]
        if lacking:
            yield Job(
                group=group,
                n_chunks=int(n_chunks[slots].max()),
                slots=tuple(
                    _slot(folder, plan, number, tuple(int(offsets[index][number]) for index in lacking))
                    for number in slots.tolist()
                ),
                targets=tuple(Target(stores[i].path, stores[i].specification, parts[i]) for i in lacking),
                stop_on_error=stop_on_error,
            )


def _part(store: StoreWork, group: int, folder: Path, plan: pd.DataFrame, force: bool) -> Receipt | None:
    """What is to stay of a group in a store: all but what is to be computed again and still can be."""
    receipt = store.receipts.get(group)
    if receipt is None:
        return None
    again = force and store.asked
    stays = [
        result
        for result in receipt.slots
        if not (again or result.retry) or not (folder / plan.at[result.slot, "file"]).exists()
    ]
    return replace(receipt, slots=tuple(stays))


def _results(receipt: Receipt) -> set[int]:
    return {result.slot for result in receipt.slots}


def _slot(folder: Path, plan: pd.DataFrame, number: int, offsets: tuple[int, ...]) -> Slot:
    row = plan.iloc[number]
    return Slot(
        number=number,
        path=folder / row["file"],
        size=int(row["size"]),
        mtime_ns=int(row["mtime_ns"]),
        digest=row["digest"],
        header=Header(int(row["native_rate"]), int(row["native_samples"])),
        offsets=offsets,
    )


def _new_bytes(job: Job) -> int:
    """Bytes that a job adds: its chunks, but for those that it replaces."""
    new = 0
    for target in job.targets:
        specification = target.specification
        chunk = (
            specification.chunk_length
            * int(np.prod(specification.item_shape))
            * np.dtype(specification.dtype).itemsize
        )
        chunks = range(job.group, job.group + job.n_chunks)
        new += chunk * sum(not (target.store / feature_chunk_key(specification, c)).exists() for c in chunks)
    return new


def _free_bytes(path: Path) -> int:
    """Free bytes on the disk that path lies on, or will."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free
