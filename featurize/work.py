"""What a run has to do, worked out before anything is written: dataset and cache in, clip table and jobs out."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from cache.clips import FILE_NAME, read_clips
from cache.folder import Cache
from cache.places import on_disk
from cache.specification import Specification
from featurize.bucket import recordings_of
from featurize.clip_table import merge_clips
from featurize.dataset import Dataset
from featurize.jobs import Jobs
from featurize.recordings import Recordings
from featurize.scan import Scan, scan
from featurize.stores import StoreWork, stores_to_update
from featurize.texts import text_array

if TYPE_CHECKING:
    from cache.places import Place


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
    jobs: Jobs
    n_bytes: int
    free_bytes: int | None

    def seconds(self) -> np.ndarray:
        """Duration of each clip of the table by its header, float64 [clips]."""
        samples, rates = (self.scan.plan[name].to_numpy() for name in ("native_samples", "native_rate"))
        return (samples / np.maximum(rates, 1))[self.clips["slot"]]


def work_out(
    dataset: Dataset,
    cache: Cache,
    specifications: Sequence[Specification],
    prune: bool = False,
    force: bool = False,
    stop_on_error: bool = False,
    recordings: Recordings | None = None,
) -> Work:
    """Look at the dataset and the cache and say what is to be done.

    Args:
        specifications: the kinds asked for. The cache's other stores are brought up to date along with them.
        prune: drop clips that the dataset does not list from the clip table.
        force: make the chunks of the asked stores again.
        recordings: those of the dataset, if not the files below its folder.
    Raises:
        CacheError: a table or an asked store is foreign, newer, or damaged beyond mending.
    """
    recordings = recordings or recordings_of(dataset.folder)
    stores = stores_to_update(cache, specifications)
    found = scan(dataset, with_digests(cache.plan, stores), recordings)
    before = read_clips(cache.path) if (cache.path / FILE_NAME).exists() else None
    listed = dataset.clips.drop(columns="file").assign(slot=found.slots)
    clips, unlisted = merge_clips(listed, before, prune)
    jobs = Jobs(found.plan, clips["slot"].to_numpy(), stores, recordings, force, stop_on_error)
    return Work(
        dataset=dataset,
        cache=cache,
        scan=found,
        clips=clips,
        unlisted=unlisted["clip"].tolist(),
        stores=stores,
        jobs=jobs,
        n_bytes=jobs.n_bytes(),
        free_bytes=_free_bytes(cache.path),
    )


def with_digests(plan: pd.DataFrame, stores: Sequence[StoreWork]) -> pd.DataFrame:
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


def _free_bytes(path: "Place") -> int | None:
    """Free bytes on the disk that path lies on, or will; None in a bucket."""
    if not on_disk(path):
        return None
    while not path.exists() and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free
