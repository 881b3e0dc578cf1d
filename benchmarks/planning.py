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

from cache import RawSpecification, open_cache
from cache.layout import feature_chunk_key
from cache.receipts import Receipt, SlotResult, Status, write_receipt
from cache.storage import LocalStorage
from cache.writer import CacheWriter, load_tables, writing
from featurize.datasets import Dataset
from featurize.job import computed_by
from featurize.scan import Recordings
from featurize.settings import Options
from featurize.summary import plan_lines, summarize, summary_lines
from featurize.todo import Todo, work_out

SECONDS, RATE, N_LABELS = 10, 44100, 500
SPECIFICATION = RawSpecification()


class MadeUp(Recordings):
    """Recordings that are not there, as planning sees them: 10 s each, of 44.1 kHz."""

    def __init__(self):
        super().__init__(LocalStorage("data"))

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
        todo = _todo(dataset, writer)
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
    """Write the receipts that the jobs would have written; chunks that are holes."""
    tables, _ = load_tables(LocalStorage(folder))
    todo = work_out(dataset, LocalStorage(folder), tables, [SPECIFICATION], Options(), recordings=MadeUp())
    for job in todo.jobs:
        length, target = SECONDS * SPECIFICATION.sample_rate, job.targets[0]
        slots = tuple(
            SlotResult(
                slot.number,
                _digest(slot.number),
                Status.OK,
                length,
                1e-5,
                checksum="0" * 16,
                file=slot.file,
                size=slot.size,
                mtime_ns=slot.mtime_ns,
                native_rate=RATE,
                native_samples=SECONDS * RATE,
            )
            for slot in job.slots
        )
        chunk = target.store.path(feature_chunk_key(SPECIFICATION, job.group))
        chunk.parent.mkdir(parents=True, exist_ok=True)
        chunk.touch()
        os.truncate(chunk, SPECIFICATION.chunk_bytes)
        write_receipt(target.store, Receipt(job.group, (f"{job.group:016x}",), slots, computed_by()))


def _todo(dataset: Dataset, writer: CacheWriter) -> Todo:
    return work_out(dataset, writer.storage, writer.tables, [SPECIFICATION], Options(), recordings=MadeUp())


def _digest(number: int) -> str:
    return xxhash.xxh3_128_hexdigest(number.to_bytes(8, "little"))


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
    imports = peak_mb()
    dataset = None if arguments.step == "open" else made_up_dataset(arguments.clips)
    with_dataset = peak_mb()
    started = time.perf_counter()
    STEPS[arguments.step](dataset, arguments.cache)
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "imports": imports, "dataset": with_dataset, "peak": peak_mb()}))


if __name__ == "__main__":
    main()
