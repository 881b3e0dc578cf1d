"""A look at each file of the dataset: which slot of the plan holds it, and which files are new or changed.

Size and modification time decide; where they differ the digest does. A file that cannot be seen or read keeps the
slot that it had, so that an unmounted disk costs nothing.
"""

from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from cache.ahead import each
from cache.plan import SCHEMA, n_chunks, pack
from featurize.dataset import Dataset
from featurize.recordings import ABSENT, UNREADABLE, Recordings
from featurize.texts import text_array


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


def scan(dataset: Dataset, plan: pd.DataFrame, recordings: Recordings) -> Scan:
    """Find or make a slot for each clip; new slots go into new groups."""
    looks = recordings.look(dataset.clips["file"])
    found = _find_known(dataset, plan, recordings, looks)
    _plan_new(found, dataset, plan, recordings, looks)
    return found


def _find_known(dataset: Dataset, plan: pd.DataFrame, recordings: Recordings, looks: np.ndarray) -> Scan:
    """The slots of files that the plan knows as they are, -1 for the others."""
    files, absent = dataset.clips["file"], looks[0] == ABSENT
    slots = _last_slots(plan["file"], files)
    known = np.flatnonzero(slots >= 0)
    planned = plan[["size", "mtime_ns"]].to_numpy()[slots[known]].T
    differs = known[(planned != looks[:, known]).any(axis=0) & ~absent[known]]
    gone = known[absent[known]]
    found = Scan(slots, plan, missing=_with_features(dataset.clips["clip"], plan, gone, slots[gone]))
    if len(differs):
        found.plan = plan.copy()
        slots[differs] = _former_slots(files.iloc[differs], looks[:, differs], found.plan, recordings)
        found.n_changed = int((slots[differs] < 0).sum())
    return found


def _plan_new(found: Scan, dataset: Dataset, plan: pd.DataFrame, recordings: Recordings, looks: np.ndarray) -> None:
    """Append a slot for each file that has none; one that cannot be read keeps the slot that it had before."""
    files, new = dataset.clips["file"], np.flatnonzero(found.slots < 0)
    headers = recordings.headers(files.iloc[new])
    before = _last_slots(plan["file"], files.iloc[new])
    kept = (headers[0] == UNREADABLE) & (before >= 0)
    found.slots[new[kept]] = before[kept]
    found.missing += _with_features(dataset.clips["clip"], plan, new[kept], before[kept])
    found.n_changed -= int(kept.sum())
    new, headers = new[~kept], headers[:, ~kept]
    found.n_new = len(new) - found.n_changed
    found.slots[new] = np.arange(len(plan), len(plan) + len(new))
    if len(new):
        rows = _new_rows(files.iloc[new], looks[:, new], headers)
        rows["group"] = pack(rows["native_samples"].to_numpy(), rows["native_rate"].to_numpy(), n_chunks(plan))
        found.plan = pd.concat([found.plan, rows[SCHEMA.names]], ignore_index=True)


def _last_slots(planned: pd.Series, files: pd.Series) -> np.ndarray:
    """The last slot of each file, -1 where it has none; int64 [files]."""
    if planned.empty:
        return np.full(len(files), -1)
    if planned.equals(files):  # a dataset as it was first planned, each file once: nothing to look up
        return np.arange(len(files))
    found = pc.index_in(text_array(files), value_set=text_array(planned.iloc[::-1]))
    return len(planned) - 1 - found.fill_null(len(planned)).to_numpy().astype(np.int64)


def _former_slots(files: pd.Series, looks: np.ndarray, plan: pd.DataFrame, recordings: Recordings) -> list[int]:
    """For each file that is not as its last slot has it, the slot that holds its content, else -1.

    Notes the new times of files that were only touched in the plan.
    """
    of_files = plan["file"][plan["file"].isin(files)]
    slots = of_files.groupby(of_files).indices
    known = plan[plan["file"].isin(files) & (plan["digest"] != "")]
    sizes = set(zip(known["file"], known["size"], strict=True))
    alike = [file for file, size in zip(files, looks[0].tolist(), strict=True) if (file, size) in sizes]
    digests = each(partial(_digest, recordings), alike, recordings.folder)
    digest_of = dict(zip(alike, digests, strict=True))
    return [
        _former_slot(file, look, of_files.index[slots[file]], plan, digest_of)
        for file, look in zip(files, looks.T.tolist(), strict=True)
    ]


def _digest(recordings: Recordings, file: str) -> str | None:
    """The digest of a file; None where it cannot be read."""
    try:
        return recordings.digest(file)
    except OSError:
        return None


def _former_slot(
    file: str, look: list[int], slots: pd.Index, plan: pd.DataFrame, digest_of: dict[str, str | None]
) -> int:
    before = plan.loc[slots[::-1], ["size", "mtime_ns", "digest"]]  # latest first
    for slot in before.index[(before["size"] == look[0]) & (before["mtime_ns"] == look[1])]:
        return slot
    candidates = before.index[(before["size"] == look[0]) & (before["digest"] != "")]
    if len(candidates):
        if digest_of[file] is None:
            return before.index[0]
        for slot in candidates[before["digest"][candidates] == digest_of[file]]:
            plan.at[slot, "mtime_ns"] = look[1]
            return slot
    return -1


def _with_features(clips: pd.Series, plan: pd.DataFrame, which: np.ndarray, slots: np.ndarray) -> list[str]:
    """The names of those clips whose slot was planned from a file."""
    return clips.iloc[which[plan["size"].to_numpy()[slots] != ABSENT]].tolist()


def _new_rows(files: pd.Series, looks: np.ndarray, headers: np.ndarray) -> pd.DataFrame:
    """A row of the plan for each file, but for its group.

    A file that could not be read is planned as one that was not there: once it can be, it is another slot's.
    """
    rates, samples = headers
    sizes, times = np.where(rates == UNREADABLE, ABSENT, looks)
    return pd.DataFrame(
        {
            "file": files.reset_index(drop=True),
            "size": sizes,
            "mtime_ns": times,
            "digest": "",
            "native_rate": np.maximum(rates, 0),
            "native_samples": samples,
        }
    )
