"""The plan and the summary of a run, as lines of text."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from cache.clips import FILE_NAME
from cache.receipts import Status
from cache.tables import copy_path, table_bytes
from featurize.page import computed_by
from featurize.texts import text_array
from featurize.work import Work, with_digests

_NAMED = 8  # clips that a line names before it only counts


@dataclass(frozen=True)
class Summary:
    """What became of a dataset's clips: names by kind, failures with their reasons."""

    empty: list[str]
    truncated: list[str]
    failed: dict[str, str]


def plan_lines(work: Work) -> Iterator[str]:
    """What a run is about to do, before it does it."""
    n_train = (work.clips["split"] == "train").sum()
    clips = f"{n_train:,} labelled and {len(work.clips) - n_train:,} unlabelled clips"
    yield f"{work.dataset.folder}: {clips}, {work.seconds().sum() / 3600:.2f} hours by their headers"
    yield from _lost_clip_table(work)
    yield from _changes(work)
    for store in work.stores:
        n_chunks = work.jobs.n_chunks(store)
        what = f"{n_chunks:,} chunks to write" if n_chunks else "nothing to do"
        yield f"{store.path}: {what}" + ("" if store.asked else " (not asked for, kept up to date)")
        if n_chunks and store.versions != computed_by():
            others = _differing(store.versions)
            yield f"{store.path}: begun with other library versions ({others}); --force computes all anew"
        yield from _upsampled(work, store.specification.sample_rate)
    free = "" if work.free_bytes is None else f", {work.free_bytes / 1e9:,.1f} GB free"
    yield f"{work.cache.path}: {work.n_bytes / 1e6:,.1f} MB to write{free}"


def summary_lines(work: Work, summary: Summary, seconds: float) -> Iterator[str]:
    """What a run has done and found."""
    done = np.isin(work.clips["slot"].to_numpy(), work.jobs.slots)
    hours = work.seconds()[done].sum() / 3600
    if work.jobs:
        speed = f"{done.sum() / seconds:,.1f} clips/s, {hours * 3600 / seconds:,.0f} times real time"
        megabytes = f"{work.n_bytes / 1e6:,.1f} MB"
        yield f"{done.sum():,} clips featurized, {hours:.2f} hours, {megabytes}, {seconds:.1f} s: {speed}"
    else:
        yield "nothing to do: every clip is in every store"
    kinds = f"{len(summary.empty)} empty, {len(summary.truncated)} truncated, {len(summary.failed)} failed"
    yield f"{len(work.clips):,} clips: {kinds}"
    if summary.empty:
        yield f"empty: {_names(summary.empty)}"
    if summary.truncated:
        yield f"truncated, used as far as they go: {_names(summary.truncated)}"
    yield from (f"failed: {name}: {reason}" for name, reason in summary.failed.items())
    yield from _unlisted(work)
    yield from equal_digests(work)
    yield from (f"store: {store.path}" for store in work.stores if store.asked)


def summarize(work: Work) -> Summary:
    """Gather what the receipts say of the clips that the table names."""
    worst = np.zeros(len(work.scan.plan), np.uint8)
    reasons: dict[int, str] = {}
    for store in work.stores:
        slots, status = store.receipts.column("slot"), store.receipts.column("status")
        worst[slots] = np.maximum(worst[slots], status)
        failed = np.flatnonzero(status == Status.FAILED)
        reasons |= zip(slots[failed].tolist(), store.receipts.texts("reason").take(failed).to_pylist(), strict=True)
    clips = work.clips[["clip", "slot"]][(worst > Status.OK)[work.clips["slot"]]].sort_values("slot")
    named = {status: clips["clip"][worst[clips["slot"]] == status].tolist() for status in Status}
    failed = {clip: reasons[slot] for clip, slot in clips.itertuples(index=False) if slot in reasons}
    return Summary(named[Status.EMPTY], named[Status.TRUNCATED], failed)


def equal_digests(work: Work) -> Iterator[str]:
    """Recordings that are there twice: in train and test a leak, under two labels an error of labelling."""
    digests = text_array(with_digests(work.scan.plan, work.stores)["digest"])
    number = digests.dictionary_encode().indices.to_numpy()[work.clips["slot"]]
    known = pc.not_equal(digests, "").to_numpy(zero_copy_only=False)[work.clips["slot"]] & (work.seconds() > 0)
    twice = known & (np.bincount(number[known], minlength=len(digests))[number] > 1)
    same = work.clips[twice].groupby(number[twice], sort=False)
    kinds: dict[str, list[str]] = {}
    for _, group in same:
        kinds.setdefault(_kind_of_equal(group), []).append(" = ".join(group["clip"]))
    yield from (f"equal recordings {kind}: {_names(names)}" for kind, names in kinds.items())


def _kind_of_equal(group: pd.DataFrame) -> str:
    if group["split"].nunique() > 1:
        return "in train and test (a leak)"
    labels = group["label"].nunique()
    return "under two labels (one is wrong)" if labels > 1 else "listed more than once"


def _lost_clip_table(work: Work) -> Iterator[str]:
    """Said before the new table is written: a cache was there, and neither its clip table nor the copy is sound."""
    table = work.cache.path / FILE_NAME
    copy = copy_path(table)
    if table.exists() or table_bytes(copy) is not None:
        return
    if copy.exists() or any(store.receipts for store in work.stores):
        made = "made anew from the dataset; clips that the dataset does not list are forgotten"
        yield f"{table}: damaged or lost with its copy, {made}"


def _changes(work: Work) -> Iterator[str]:
    if work.scan.n_new or work.scan.n_changed:
        yield f"{work.scan.n_new:,} new and {work.scan.n_changed:,} changed recordings"
    if work.scan.missing:
        yield f"files not there, served from what was featurized of them: {_names(work.scan.missing)}"
    yield from _unlisted(work)


def _unlisted(work: Work) -> Iterator[str]:
    if work.unlisted:
        kept = work.clips["clip"].isin(work.unlisted).any()
        what = "kept, trained on and predicted (--prune removes them)" if kept else "removed from the clip table"
        yield f"{len(work.unlisted):,} clips that the dataset does not list, {what}: {_names(work.unlisted)}"


def _upsampled(work: Work, sample_rate: int) -> Iterator[str]:
    rates = work.scan.plan["native_rate"].to_numpy()[work.clips["slot"]]
    below = rates[(rates > 0) & (rates < sample_rate)]
    if len(below):
        yield f"{len(below):,} recordings are upsampled to {sample_rate} Hz, from {np.min(below)} Hz at the lowest"


def _differing(versions: dict[str, str]) -> str:
    return ", ".join(
        f"{name} {versions.get(name)}" for name, now in computed_by().items() if versions.get(name) != now
    )


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
