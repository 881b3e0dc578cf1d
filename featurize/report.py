"""The plan and the summary of a run, as lines of text."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cache.receipts import SlotResult, Status
from featurize.page import computed_by
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
    yield from _changes(work)
    for store in work.stores:
        jobs = [job for job in work.jobs if any(target.store == store.path for target in job.targets)]
        what = f"{sum(job.n_chunks for job in jobs):,} chunks to write" if jobs else "nothing to do"
        yield f"{store.path}: {what}" + ("" if store.asked else " (not asked for, kept up to date)")
        if jobs and store.versions != computed_by():
            others = _differing(store.versions)
            yield f"{store.path}: begun with other library versions ({others}); --force computes all anew"
        yield from _upsampled(work, store.specification.sample_rate)
    yield f"{work.cache.path}: {work.n_bytes / 1e6:,.1f} MB to write, {work.free_bytes / 1e9:,.1f} GB free"


def summary_lines(work: Work, summary: Summary, seconds: float) -> Iterator[str]:
    """What a run has done and found."""
    slots = {slot.number for job in work.jobs for slot in job.slots}
    done = work.clips["slot"].isin(slots).to_numpy()
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
    clips = dict(zip(work.clips["slot"], work.clips["clip"], strict=True))
    worst: dict[int, SlotResult] = {}
    for store in work.stores:
        for receipt in store.receipts.values():
            for result in receipt.slots:
                if result.slot in clips and result.status > worst.get(result.slot, result).status - 1:
                    worst[result.slot] = max(result, worst.get(result.slot, result), key=lambda r: r.status)
    named = {status: [clips[s] for s in sorted(worst) if worst[s].status == status] for status in Status}
    failed = {clips[s]: worst[s].reason for s in sorted(worst) if worst[s].status == Status.FAILED}
    return Summary(named[Status.EMPTY], named[Status.TRUNCATED], failed)


def equal_digests(work: Work) -> Iterator[str]:
    """Recordings that are there twice: in train and test a leak, under two labels an error of labelling."""
    plan = with_digests(work.scan.plan, work.stores)
    clips = work.clips.assign(digest=plan["digest"].to_numpy()[work.clips["slot"]], seconds=work.seconds())
    clips = clips[(clips["digest"] != "") & (clips["seconds"] > 0)]
    same = clips[clips["digest"].duplicated(keep=False)].groupby("digest", sort=False)
    kinds: dict[str, list[str]] = {}
    for _, group in same:
        kinds.setdefault(_kind_of_equal(group), []).append(" = ".join(group["clip"]))
    yield from (f"equal recordings {kind}: {_names(names)}" for kind, names in kinds.items())


def _kind_of_equal(group: pd.DataFrame) -> str:
    if group["split"].nunique() > 1:
        return "in train and test (a leak)"
    labels = group["label"].nunique()
    return "under two labels (one is wrong)" if labels > 1 else "listed more than once"


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
