"""One step of `benchmarks/plan.py` in a process of its own: prints its seconds and its memory as JSON.

python benchmarks/planning.py plan | again | open CACHE --clips N
"""

import argparse
import json
import os
import resource
import sys
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # this folder's own names would hide the packages

import numpy as np
import pandas as pd
import pyarrow as pa
import xxhash

import featurize.todo
from cache import RawSpecification, open_cache
from cache.layout import feature_chunk_key
from cache.receipts import Receipt, SlotResult, Status, write_receipt
from cache.storage import LocalStorage, Storage
from cache.writer import load_tables, writing
from featurize.datasets import Dataset
from featurize.job import computed_by
from featurize.settings import Options
from featurize.summary import plan_lines, summarize, summary_lines
from featurize.todo import Todo, work_out

SECONDS, RATE, N_LABELS = 10, 44100, 500
SPECIFICATION = RawSpecification()


class MadeUp:
    """Recordings that are not there, as planning sees them: 10 s each, of 44.1 kHz."""

    def __init__(self, folder: Storage):
        self.folder = folder

    def look(self, files: pd.Series) -> np.ndarray:
        sizes = np.full(len(files), 44 + 2 * SECONDS * RATE)
        return np.array([sizes, np.arange(len(files)) + 1_700_000_000_000_000_000])

    def headers(self, files: pd.Series) -> np.ndarray:
        return np.broadcast_to([[RATE], [SECONDS * RATE]], (2, len(files)))


def made_up_dataset(n_clips: int) -> Dataset:
    """A dataset with names as AudioSet has them, all of them labelled."""
    names = pa.array((f"Y{number:011x}_{30 * (number % 9)}.wav" for number in range(n_clips)), pa.large_string())
    names = pa.table({"names": names}).to_pandas()["names"]
    labels = pd.Series([f"label {number}" for number in range(N_LABELS)])
    columns = {
        "clip": names,
        "split": "train",
        "label": labels.take(np.arange(n_clips) % N_LABELS).reset_index(drop=True),
        "manually_verified": pd.array(np.ones(n_clips), dtype="Int8"),
        "file": "audio_train/" + names,
    }
    return Dataset(LocalStorage("data"), pd.DataFrame(columns))


def plan(dataset: Dataset, folder: Path) -> Todo:
    """What a run does before its first job, but for looking at files."""
    with writing(folder) as writer:
        todo = work_out(dataset, writer.storage, writer.tables, [SPECIFICATION], Options())
        list(plan_lines(todo))
        writer.write_tables(todo.clips, todo.scan.plan)
        for store in todo.stores:
            writer.update_store(store.specification, todo.scan.plan, store.receipts, store.versions)
    return todo


def again(dataset: Dataset, folder: Path) -> None:
    """A run with nothing to do, but for looking at files."""
    todo = plan(dataset, folder)
    if todo.jobs:
        sys.exit(f"{folder}: must be complete, got {len(todo.jobs)} jobs")
    list(summary_lines(todo, summarize(todo), 1.0))


def complete(dataset: Dataset, folder: Path) -> None:
    """Write the receipts that the jobs would have written, and chunks that are holes."""
    cache = LocalStorage(folder)
    tables, _ = load_tables(cache)
    for job in work_out(dataset, cache, tables, [SPECIFICATION], Options()).jobs:
        length, store = SECONDS * SPECIFICATION.sample_rate, cache / SPECIFICATION.name
        results = (
            SlotResult(
                slot=slot.number,
                digest=xxhash.xxh3_128_hexdigest(slot.number.to_bytes(8, "little")),
                status=Status.OK,
                length=length,
                value=1e-5,
                checksum=f"{slot.number:016x}",
                file=slot.file,
                size=slot.size,
                mtime_ns=slot.mtime_ns,
                native_rate=slot.header.native_rate,
                native_samples=slot.header.native_samples,
            )
            for slot in job.slots
        )
        for chunk in range(job.group, job.group + job.n_chunks):
            path = store.path(feature_chunk_key(SPECIFICATION, chunk))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            os.truncate(path, SPECIFICATION.chunk_bytes)
        sums = tuple(f"{job.group:016x}" for _ in range(job.n_chunks))
        write_receipt(store, Receipt(job.group, sums, tuple(results), computed_by()))


def open_as_train_does(_: None, folder: Path) -> None:
    """The clip table and the raw store."""
    store = open_cache(folder).open_store("raw", sample_rate=SPECIFICATION.sample_rate)
    if not store.status.all():
        sys.exit(f"{folder}: must be complete")


STEPS = {"plan": plan, "complete": complete, "again": again, "open": open_as_train_does}


def peak_mb() -> float:
    """Greatest memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--clips", type=int, required=True)
    arguments = parser.parse_args()
    featurize.todo.Recordings = MadeUp
    imports = peak_mb()
    dataset = None if arguments.step == "open" else made_up_dataset(arguments.clips)
    with_dataset = peak_mb()
    started = time.perf_counter()
    STEPS[arguments.step](dataset, arguments.cache)
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "imports": imports, "dataset": with_dataset, "peak": peak_mb()}))


if __name__ == "__main__":
    main()
