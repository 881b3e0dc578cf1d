"""A look at each file of the dataset: which slot of the plan holds it, and which files are new or changed.

Size and modification time decide; where they differ the digest does. A file that cannot be seen keeps the slot
that it had, so that an unmounted disk costs nothing.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from cache.plan import SCHEMA, n_chunks, pack
from featurize.dataset import Dataset
from featurize.decode import Header, digest, read_header

_ABSENT = (-1, -1)
_READERS = 8  # threads that read headers: they wait for the disk more than for the processor


@dataclass
class Scan:
    """What a look at the dataset found.

    slots: int64 [clips], the slot of each clip. plan: the plan with new slots appended, and with the new times of
    files that were only touched. n_new, n_changed: new recordings, and recordings with new content. missing:
    clips whose file is gone but whose features are kept.
    """

    slots: np.ndarray
    plan: pd.DataFrame
    n_new: int = 0
    n_changed: int = 0
    missing: list[str] = field(default_factory=list)


def scan(dataset: Dataset, plan: pd.DataFrame) -> Scan:
    """Find or make a slot for each clip; new slots go into new groups."""
    files = dataset.clips["file"].tolist()
    looks = [_look(dataset.folder / file) for file in files]
    by_look, by_file = _index(plan)
    slots = np.array([by_look.get((file, *look), -1) for file, look in zip(files, looks, strict=True)], np.int64)
    found = Scan(slots, plan.copy())
    for clip in np.flatnonzero(slots < 0):
        before = by_file.get(files[clip], [])
        if looks[clip] == _ABSENT and before:
            slots[clip] = before[-1]
        elif before:
            slots[clip] = _same_content(dataset.folder / files[clip], looks[clip], before, found.plan)
            found.n_changed += int(slots[clip] < 0)
    gone = (np.array([look == _ABSENT for look in looks]) & (slots >= 0)).nonzero()[0]
    found.missing = [dataset.clips["clip"].iloc[clip] for clip in gone if plan["size"].iloc[slots[clip]] >= 0]
    new = np.flatnonzero(slots < 0)
    found.n_new = len(new) - found.n_changed
    slots[new] = np.arange(len(plan), len(plan) + len(new))
    if len(new):
        rows = _new_rows(dataset.folder, [files[clip] for clip in new], [looks[clip] for clip in new])
        rows["group"] = pack(rows["native_samples"].to_numpy(), rows["native_rate"].to_numpy(), n_chunks(plan))
        found.plan = pd.concat([found.plan, rows[SCHEMA.names]], ignore_index=True)
    return found


def _look(path: Path) -> tuple[int, int]:
    try:
        stat = os.stat(path)
    except OSError:
        return _ABSENT
    return stat.st_size, stat.st_mtime_ns


def _index(plan: pd.DataFrame) -> tuple[dict, dict[str, list[int]]]:
    """Slots by (file, size, time), the latest winning, and by file in their order."""
    by_look, by_file = {}, {}
    columns = (plan[name].tolist() for name in ("file", "size", "mtime_ns"))
    for slot, (file, size, mtime_ns) in enumerate(zip(*columns, strict=True)):
        by_look[file, size, mtime_ns] = slot
        by_file.setdefault(file, []).append(slot)
    return by_look, by_file


def _same_content(path: Path, look: tuple[int, int], before: Sequence[int], plan: pd.DataFrame) -> int:
    """The slot among those a file had before that holds its content as it is now, else -1; notes its new time."""
    candidates = [slot for slot in before if plan.at[slot, "size"] == look[0] and plan.at[slot, "digest"]]
    if candidates:
        try:
            found = digest(path)
        except OSError:
            return before[-1]
        for slot in reversed(candidates):
            if plan.at[slot, "digest"] == found:
                plan.at[slot, "mtime_ns"] = look[1]
                return slot
    return -1


def _header(path: Path) -> Header | None:
    try:
        return read_header(path)
    except OSError:
        return None


def _new_rows(folder: Path, files: list[str], looks: list[tuple[int, int]]) -> pd.DataFrame:
    with ThreadPoolExecutor(_READERS) as pool:
        headers = list(pool.map(_header, [folder / file for file in files]))
    # A file that could not be read is planned as one that was not there: once it can be, it is another slot's.
    looks = [_ABSENT if header is None else look for header, look in zip(headers, looks, strict=True)]
    headers = [header or Header(0, 0) for header in headers]
    return pd.DataFrame(
        {
            "file": files,
            "size": np.array([size for size, _ in looks], np.int64),
            "mtime_ns": np.array([mtime_ns for _, mtime_ns in looks], np.int64),
            "digest": "",
            "native_rate": np.array([header.native_rate for header in headers], np.int64),
            "native_samples": np.array([header.native_samples for header in headers], np.int64),
        }
    )
