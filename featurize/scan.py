"""A look at the dataset: which recordings are new, changed, gone, or there twice, and the clip table that follows.

Size and modification time decide; where they differ the digest does. A file that cannot be seen or read keeps the
slot that it had, so that an unmounted disk costs nothing.
"""

import io
import os
import posixpath
import stat
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from cache.layout import n_chunks, pack
from cache.storage import Storage, each
from featurize.datasets import Dataset
from featurize.decode import Header, Recording, read_header
from featurize.wav_header import HEAD_BYTES, read_wav

ABSENT = -1  # the size and the time of a file that cannot be seen
UNREADABLE = -1  # the rate of a file that cannot be read
_FIRST_COLUMNS = ["clip", "split", "label", "manually_verified"]
_SPLITS = ("train", "test")
_READERS = 8  # threads that read headers: they wait for the disk or the network more than for the processor
_BATCH = 256  # headers that a thread reads at a time


class Recordings:
    """The recordings below a dataset's folder, many at a time, on a disk or in a bucket."""

    def __init__(self, folder: Storage):
        self.folder = folder
        self._listings: dict[str, dict[str, tuple[int, int]]] = {}  # of a bucket, by folder

    def look(self, files: pd.Series) -> np.ndarray:
        """Bytes and modification time (ns) of each file, ABSENT where it cannot be seen; int64 [2, files]."""
        if self.folder.is_local:
            root = self.folder.path()
            return _pairs([_look(f"{root}/{file}") for file in files])
        return _pairs([self._look_in_bucket(posixpath.normpath(file)) for file in files])

    def headers(self, files: pd.Series) -> np.ndarray:
        """Rate (Hz) and samples per channel of each file, 0 and 0 where it is no recording; int64 [2, files].

        The rate of a file that cannot be read is UNREADABLE.
        """
        with ThreadPool(_READERS) as pool:
            return _pairs(pool.map(self._header, files, _BATCH if self.folder.is_local else 1))

    def digest(self, file: str) -> str | None:
        """The xxh3-128 of a file's bytes; None where it cannot be read."""
        source = self.folder.path if self.folder.is_local else self.folder.read
        try:
            with Recording(source(file), Header(0, 0)) as recording:
                return recording.digest
        except OSError:
            return None

    def _header(self, file: str) -> tuple[int, int]:
        try:
            if self.folder.is_local:
                header = read_header(self.folder.path(file))
            else:
                size = int(self.look(pd.Series([file]))[0, 0])
                wav = read_wav(io.BytesIO(self.folder.read(file, HEAD_BYTES)), size)
                if wav and wav.is_plain:  # no need of the whole object
                    return wav.rate, wav.n_samples
                header = read_header(self.folder.read(file))
        except OSError:
            return UNREADABLE, 0
        return header.native_rate, header.native_samples

    def _look_in_bucket(self, file: str) -> tuple[int, int]:
        folder = file.partition("/")[0]
        if folder not in self._listings:
            self._listings[folder] = {
                found.key: (found.size, found.mtime_ns) for found in self.folder.files(folder + "/")
            }
        return self._listings[folder].get(file, (ABSENT, ABSENT))


@dataclass
class Scan:
    """What a look at the dataset found.

    slots: int64 [clips], the slot of each clip. plan: with new slots, and new times of files only touched.
    n_new, n_changed: new recordings, and recordings with new content. missing: int64, rows of the clips whose file
    is gone or cannot be read, but whose features are kept.
    """

    slots: np.ndarray
    plan: pd.DataFrame
    n_new: int
    n_changed: int
    missing: np.ndarray


def scan(dataset: Dataset, plan: pd.DataFrame, recordings: Recordings) -> Scan:
    """Find or make a slot for each clip; new slots go into new groups."""
    files = dataset.clips["file"]
    looks, last = recordings.look(files), _last_slots(plan["file"], files)
    slots, absent, known = last.copy(), looks[0] == ABSENT, np.flatnonzero(last >= 0)
    missing, grown = known[absent[known]], plan
    planned = plan[["size", "mtime_ns"]].to_numpy()[last[known]].T
    differs = known[(planned != looks[:, known]).any(axis=0) & ~absent[known]]
    if len(differs):
        grown = plan.copy()
        slots[differs] = _former_slots(files.iloc[differs], looks[:, differs], last[differs], grown, recordings)
    new = np.flatnonzero(slots < 0)
    rates, samples = recordings.headers(files.iloc[new])
    kept = (rates == UNREADABLE) & (last[new] >= 0)  # what cannot be read keeps the slot that it had
    slots[new[kept]] = last[new[kept]]
    missing = np.sort(np.append(missing, new[kept]))
    missing = missing[plan["size"].to_numpy()[slots[missing]] != ABSENT]  # those that have features
    new, rates, samples = new[~kept], rates[~kept], samples[~kept]
    n_changed = int((last[new] >= 0).sum())
    slots[new] = np.arange(len(plan), len(plan) + len(new))
    if len(new):
        # A file that could not be read is planned as one that was not there: it gets another slot once it can be.
        sizes, times = np.where(rates == UNREADABLE, ABSENT, looks[:, new])
        group = pack(samples, np.maximum(rates, 0), n_chunks(plan))
        rows = {"file": files.iloc[new].array, "size": sizes, "mtime_ns": times, "digest": "", "group": group}
        rows |= {"native_rate": np.maximum(rates, 0), "native_samples": samples}
        grown = pd.concat([grown, pd.DataFrame(rows)[plan.columns]], ignore_index=True)
    return Scan(slots, grown, len(new) - n_changed, n_changed, missing)


def merge_clips(
    listed: pd.DataFrame, before: pd.DataFrame | None, prune: bool
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The clip table, and those of its former clips that the dataset does not list.

    Args:
        listed: the dataset's clips with their slots. before: the table so far, None if there is none.
        prune: leave unlisted clips out; else each split ends with its own, so that a `--limit`, another CSV or an
            unmounted disk cannot shrink a cache by accident.
    """
    if before is None:
        return listed, listed.head(0)
    unlisted = before[~_is_listed(before, listed)]
    if prune or unlisted.empty:
        return listed, unlisted
    merged = pd.concat([listed, unlisted]).sort_values("split", ascending=False, kind="stable", ignore_index=True)
    others = merged.columns.difference([*_FIRST_COLUMNS, "slot"], sort=False)
    merged[others] = merged[others].fillna("")
    return merged[[*_FIRST_COLUMNS, *others, "slot"]], unlisted


def equal_recordings(clips: pd.DataFrame, digests: pa.Array, has_sound: np.ndarray) -> dict[str, pd.DataFrame]:
    """The clips whose recording is there twice, by what that means.

    In train and test they are a leak, under two labels an error of labelling.

    Args:
        clips: the clip table. digests: text [slots], "" where not known. has_sound: bool [clips]; those without are
            all equal and mean nothing.
    Returns:
        rows of the clip table, with a column `recording`: a number that equal ones share.
    """
    slots = clips["slot"].to_numpy()
    number = digests.dictionary_encode().indices.to_numpy()[slots]
    known = pc.not_equal(digests, "").to_numpy(zero_copy_only=False)[slots] & has_sound
    twice = known & (np.bincount(number[known], minlength=len(digests))[number] > 1)
    equal = clips[twice].assign(recording=number[twice])
    labels = equal["label"].where(equal["label"] != "")  # of a test clip it may not be known
    by_recording = equal.assign(label=labels).groupby("recording")
    n_splits, n_labels = (by_recording[name].transform("nunique") for name in ("split", "label"))
    kinds = {
        "in train and test (a leak)": n_splits > 1,
        "under two labels (one is wrong)": (n_splits == 1) & (n_labels > 1),
        "listed more than once": (n_splits == 1) & (n_labels <= 1),
    }
    return {kind: equal[rows] for kind, rows in kinds.items() if rows.any()}


def text_array(column: pd.Series) -> pa.Array:
    """A column of text as one Arrow array; a table that has grown holds it in pieces."""
    texts = pa.array(column, pa.large_string())
    return texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts


def _last_slots(planned: pd.Series, files: pd.Series) -> np.ndarray:
    """The last slot of each file, -1 where it has none; int64 [files]."""
    if planned.empty:
        return np.full(len(files), -1)
    if planned.equals(files):  # a dataset as it was first planned, each file once: nothing to look up
        return np.arange(len(files))
    found = pc.index_in(text_array(files), value_set=text_array(planned.iloc[::-1]))
    return len(planned) - 1 - found.fill_null(len(planned)).to_numpy().astype(np.int64)


def _former_slots(
    files: pd.Series, looks: np.ndarray, last: np.ndarray, plan: pd.DataFrame, recordings: Recordings
) -> np.ndarray:
    """For each file that is not as its last slot has it, the slot that holds its content, else -1.

    Notes the new times of files that were only touched in the plan. What cannot be read keeps its last slot.
    """
    now = pd.DataFrame({"file": files.array, "size": looks[0], "now_ns": looks[1]})
    alike = plan.rename_axis("slot").reset_index().merge(now, on=["file", "size"])
    as_it_was = alike[alike["mtime_ns"] == alike["now_ns"]]
    slot_of = dict(zip(as_it_was["file"], as_it_was["slot"], strict=True))  # the latest, as slots ascend
    by_content = {(file, digest): slot for file, digest, slot in alike[["file", "digest", "slot"]].to_numpy()}
    asked = sorted({file for file, digest in by_content if digest} - slot_of.keys())
    digest_of = dict(zip(asked, each(recordings.digest, asked, recordings.folder), strict=True))
    slot_of |= {file: by_content.get((file, digest), -1) for file, digest in digest_of.items()}
    slots = np.array([slot_of.get(file, -1) for file in files])
    plan.loc[slots[slots >= 0], "mtime_ns"] = looks[1][slots >= 0]
    return np.where([digest_of.get(file, "") is None for file in files], last, slots)


def _is_listed(before: pd.DataFrame, listed: pd.DataFrame) -> np.ndarray:
    """Which clips of a table another one has, by split and name; bool [clips of before]."""
    found = np.zeros(len(before), bool)
    for split in _SPLITS:
        names, theirs = (table["clip"][table["split"] == split] for table in (before, listed))
        found[before["split"] == split] = names.equals(theirs) or names.isin(theirs)
    return found


def _look(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # a name too long, a folder that is closed to us
        return ABSENT, ABSENT
    # A folder or a pipe of a clip's name is no recording.
    return (found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else (ABSENT, ABSENT)


def _pairs(pairs: list[tuple[int, int]]) -> np.ndarray:
    return np.array(pairs, np.int64).reshape(-1, 2).T
