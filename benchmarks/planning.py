"""One step of `benchmarks/plan.py` in a process of its own: prints its seconds and its memory as JSON.

python benchmarks/planning.py plan | again | open CACHE --clips N
"""

import argparse
import json
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
from cache.clips import write_clips
from cache.folder import Cache
from cache.plan import write_plan
from cache.receipts import Receipt, SlotResult, Status, write_receipt
from featurize.dataset import Dataset
from featurize.page import computed_by
from featurize.report import plan_lines, summarize, summary_lines
from featurize.work import Work, work_out

SECONDS, RATE, N_LABELS = 10, 44100, 500
SPECIFICATION = RawSpecification()


class MadeUp:
    """Recordings that are not there, as planning sees them: 10 s each, of 44.1 kHz."""

    folder = Path("data")

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
    return Dataset(MadeUp.folder, pd.DataFrame(columns))


def plan(dataset: Dataset, folder: Path) -> Work:
    """What a run does before its first job, but for looking at files."""
    work = work_out(dataset, Cache(folder), [SPECIFICATION], recordings=MadeUp())
    list(plan_lines(work))
    write_plan(folder, work.scan.plan)
    write_clips(folder, work.clips)
    for store in work.stores:
        store.fold(work.scan.plan)
    return work


def again(dataset: Dataset, folder: Path) -> None:
    """A run with nothing to do, but for looking at files."""
    work = plan(dataset, folder)
    if work.jobs:
        sys.exit(f"{folder}: must be complete, got {len(work.jobs)} jobs")
    list(summary_lines(work, summarize(work), 1.0))


def complete(dataset: Dataset, folder: Path) -> None:
    """Write the receipts that the jobs would have written; no chunks."""
    for job in work_out(dataset, Cache(folder), [SPECIFICATION], recordings=MadeUp()).jobs:
        length = SECONDS * SPECIFICATION.sample_rate
        slots = (SlotResult(slot.number, _digest(slot.number), Status.OK, length, 1e-5) for slot in job.slots)
        sums = tuple(f"{job.group:016x}" for _ in range(job.n_chunks))
        write_receipt(folder / SPECIFICATION.name, Receipt(job.group, sums, tuple(slots), computed_by()))


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
