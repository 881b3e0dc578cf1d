"""What a run is about to do and what it has done, as lines of text that name each list of clips once.

Clips are counted by split and name: `train/1.wav` and `test/1.wav` are two. Where a name is in both splits, lines
name the split as well.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cache.receipts import Status
from cache.tables import counted
from common.text import duration, escaped, listed, megabytes
from featurize.job import computed_by
from featurize.scan import equal_recordings, text_array
from featurize.todo import Todo


@dataclass(frozen=True)
class Summary:
    """What became of the clips of the table: their rows by kind, int64 each.

    reasons: why clips failed, or kept their features, by slot.
    """

    empty: np.ndarray
    truncated: np.ndarray
    failed: np.ndarray
    kept: np.ndarray
    reasons: dict[int, str]


def plan_lines(todo: Todo) -> Iterator[str]:
    """What a run is about to do."""
    yield from todo.rebuilt
    layout = f", layout {todo.dataset.layout}" if todo.dataset.layout else ""
    hours = f"{todo.seconds().sum() / 3600:.2f} hours"
    yield f"{todo.dataset.folder}{layout}: {counted(todo.clips)}, {hours}"
    yield from todo.dataset.remarks
    counts = {"new": todo.scan.n_new, "changed": todo.scan.n_changed}
    if told := " and ".join(f"{n:,} {what}" for what, n in counts.items() if n):
        yield f"{told} recordings"
    if len(todo.scan.missing):
        missing = todo.dataset.clips.iloc[todo.scan.missing]
        yield f"files missing, their features are kept: {_named(todo, missing)}"
    yield from _unlisted(todo)
    for store in todo.stores:
        n_chunks = todo.jobs.n_chunks(store)
        what = f"{n_chunks:,} chunks to write" if n_chunks else "nothing to do"
        yield f"{store.storage.name}: {what}" + ("" if store.asked else " (not asked for, kept up to date)")
        if n_chunks and store.versions != computed_by():
            begun = ((name, store.versions.get(name), now) for name, now in computed_by().items())
            others = listed(f"{name} {version}" for name, version, now in begun if version != now)
            yield f"{store.storage.name}: begun with other library versions ({others}); --force computes all again"
        yield from _upsampled(todo, store.specification.sample_rate)
    free = "" if todo.free_bytes is None else f", {todo.free_bytes / 1e9:,.1f} GB free"
    yield f"{todo.cache}: {megabytes(todo.jobs.n_bytes)} to write{free}"


def summary_lines(todo: Todo, summary: Summary, seconds: float) -> Iterator[str]:
    """What a run has done and found, in so many seconds."""
    if todo.jobs:
        done = np.isin(todo.clips["slot"].to_numpy(), todo.jobs.slots)
        audio_s = todo.seconds()[done].sum()
        what = f"{audio_s / 3600:.2f} hours of sound, {megabytes(todo.jobs.n_bytes)}"
        yield f"{done.sum():,} clips featurized in {duration(seconds)}: {what}"
        yield f"{done.sum() / seconds:,.1f} clips/s, {audio_s / seconds:,.0f} times real time"
    else:
        yield "nothing to do: every clip is in every store"
    if not any(map(len, (summary.empty, summary.truncated, summary.failed, summary.kept))):
        yield f"all {len(todo.clips):,} clips are whole"
    if len(summary.empty):
        yield f"{len(summary.empty):,} empty: {_named(todo, todo.clips.iloc[summary.empty])}"
    if len(summary.truncated):
        names = _named(todo, todo.clips.iloc[summary.truncated])
        yield f"{len(summary.truncated):,} truncated, used as far as they go: {names}"
    if len(summary.failed):
        yield f"{len(summary.failed):,} failed, each with its reason:"
    kept = "could not be read, so its former features are kept"
    for what, rows in (("failed", summary.failed), (kept, summary.kept)):
        clips = todo.clips.iloc[rows]
        for name, slot in zip(clip_names(todo.clips, clips), clips["slot"], strict=True):
            yield f"{what}: {name}: {escaped(summary.reasons[slot])}"
    yield from _equal(todo)
    yield from (f"store: {store.storage}" for store in todo.stores if store.asked)


def summarize(todo: Todo) -> Summary:
    """Gather what the receipts say of the clips that the table names."""
    n_slots = len(todo.scan.plan)
    worst, kept = np.zeros(n_slots, np.uint8), np.zeros(n_slots, bool)
    reasons: dict[int, str] = {}
    for store in todo.stores:
        slots, status, retry = (store.receipts.column(name) for name in ("slot", "status", "retry"))
        worst[slots] = np.maximum(worst[slots], status)
        kept[slots] |= retry & (status != Status.FAILED)
        told = np.flatnonzero((status == Status.FAILED) | retry)
        reasons |= zip(slots[told].tolist(), store.receipts.texts("reason").take(told).to_pylist(), strict=True)
    status, is_kept = worst[todo.clips["slot"]], kept[todo.clips["slot"]]
    return Summary(
        empty=np.flatnonzero(status == Status.EMPTY),
        truncated=np.flatnonzero(status == Status.TRUNCATED),
        failed=np.flatnonzero(status == Status.FAILED),
        kept=np.flatnonzero(is_kept & (status != Status.FAILED)),
        reasons=reasons,
    )


def clip_names(table: pd.DataFrame, clips: pd.DataFrame) -> list[str]:
    """The names of clips, `split/name` where another split of the table has the same name.

    >>> table = pd.DataFrame({"clip": ["a.wav", "b.wav", "a.wav"], "split": ["train", "train", "test"]})
    >>> clip_names(table, table)
    ['train/a.wav', 'b.wav', 'test/a.wav']
    """
    same = table.loc[table["clip"].isin(clips["clip"]), ["clip", "split"]].drop_duplicates()
    both = set(same["clip"][same["clip"].duplicated()])
    pairs = zip(clips["split"], clips["clip"], strict=True)
    return [f"{split}/{name}" if name in both else name for split, name in pairs]


def _named(todo: Todo, clips: pd.DataFrame) -> str:
    return listed(clip_names(pd.concat([todo.clips, todo.unlisted]), clips))


def _unlisted(todo: Todo) -> Iterator[str]:
    if len(todo.unlisted):
        what = "kept for training and prediction (--prune removes them)"
        what = "removed from the clip table" if todo.pruned else what
        yield f"{len(todo.unlisted):,} clips that the dataset does not list, {what}: {_named(todo, todo.unlisted)}"


def _equal(todo: Todo) -> Iterator[str]:
    digests = text_array(todo.plan()["digest"])
    for kind, rows in equal_recordings(todo.clips, digests, todo.seconds() > 0).items():
        sets: dict[int, list[str]] = {}
        for recording, name in zip(rows["recording"], clip_names(todo.clips, rows), strict=True):
            sets.setdefault(recording, []).append(name)
        yield f"equal recordings {kind}: {listed(' = '.join(names) for names in sets.values())}"


def _upsampled(todo: Todo, sample_rate: int) -> Iterator[str]:
    rates = todo.scan.plan["native_rate"].to_numpy()[todo.clips["slot"]]
    below = rates[(rates > 0) & (rates < sample_rate)]
    if len(below):
        yield f"{len(below):,} recordings are upsampled to {sample_rate} Hz, from {np.min(below)} Hz at the lowest"
