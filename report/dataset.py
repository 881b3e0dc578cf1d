"""What the page says of the data: read from the cache alone, no recording is decoded."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from cache.reader import Cache, open_cache
from cache.receipts import Status, read_receipts
from cache.storage import CacheError
from cache.store import Store
from common.text import escaped
from report.levels import COLUMNS, levels

_OFTEN, _TIMES = 3, 10.0  # clips of one exact length, and how many times more than expected, that are suspicious
_NEIGHBOURS = 0.1  # of a length: how far to each side the expected number is counted
_BATCH = 400  # clips whose levels a thread measures at a time


@dataclass(eq=False)
class Dataset:
    """A dataset as its cache tells it.

    clips: a row for each clip of the clip table, with clip, split, label (both "" where there is none),
        manually_verified (1, 0 or missing), native_rate (Hz), native_samples, seconds, size (bytes), digest, status
        ("ok", "truncated", "empty", "failed" or "pending"), reason, and the columns of `report.levels`, which are
        NaN without sound or without a raw store.
    stores: those there are, by kind. needs: pairs of what the page lacks, and the command that makes it.
    """

    place: str
    clips: pd.DataFrame
    slots: np.ndarray
    stores: dict[str, Store] = field(default_factory=dict)
    needs: list[tuple[str, str]] = field(default_factory=list)

    def has(self, kind: str) -> np.ndarray:
        """Which clips have samples or frames of a kind: bool [n_clips]."""
        store = self.stores.get(kind)
        return store.length[self.slots] > 0 if store else np.zeros(len(self.clips), bool)

    def features(self, kind: str, row: int) -> np.ndarray:
        """A clip's samples or frames as the store holds them, read-only."""
        store, slot = self.stores[kind], self.slots[row]
        start = int(store.start[slot])
        return store.read(start, start + int(store.length[slot]))

    def samples(self, row: int) -> np.ndarray:
        """A clip's waveform, float32 [n_samples]; full scale is 1."""
        return self.features("raw", row) * np.float32(self.scales[row])

    @property
    def rate(self) -> int:
        """The raw store's sample rate, Hz; 0 where there is none."""
        return self.stores["raw"].specification.sample_rate if "raw" in self.stores else 0

    @cached_property
    def scales(self) -> np.ndarray:
        """What the raw store's samples are multiplied with: float32 [n_clips], 1 for a store of floats."""
        scales = self.stores["raw"].scale[self.slots]
        return np.ones_like(scales) if self.stores["raw"].specification.dtype == "float32" else scales


def read_dataset(place: str) -> Dataset:
    """Read everything but the features' own numbers, and measure the levels of the raw ones.

    Args:
        place: of the cache, a folder or a bucket's address.
    Raises:
        CacheError: no cache, or a damaged one.
    """
    cache = open_cache(place)
    slots = cache.clips["slot"].to_numpy(np.int64)
    of_plan = cache.plan[["native_rate", "native_samples", "size", "digest"]].iloc[slots].reset_index(drop=True)
    wanted = [name for name in ("clip", "split", "label", "manually_verified") if name in cache.clips]
    clips = pd.concat([cache.clips[wanted].reset_index(drop=True), of_plan], axis=1)
    clips["label"] = clips["label"].fillna("").astype(str)
    clips["seconds"] = clips["native_samples"] / clips["native_rate"].clip(lower=1)
    dataset = Dataset(str(place), clips, slots)
    for kind in ("raw", "mfcc", "logmel"):
        _add_store(dataset, cache, kind)
    status, reasons = np.full(len(clips), int(Status.PENDING)), {}
    if names := [store.name for store in dataset.stores.values()] + cache.stores():
        receipts = read_receipts(cache.storage / names[0])
        status = cache.status(receipts)
        reasons = dict(zip(receipts.column("slot").tolist(), receipts.texts("reason").to_pylist(), strict=True))
    clips["status"] = [Status(value).name.lower() for value in status.tolist()]
    clips["reason"] = [reasons.get(slot) or "" for slot in slots.tolist()]
    levels = pd.DataFrame(np.nan, clips.index, COLUMNS)
    if "raw" in dataset.stores:
        levels = _levels(dataset, lambda: cache.store(dataset.stores["raw"].name))
    clips[COLUMNS] = levels
    return dataset


def _add_store(dataset: Dataset, cache: Cache, kind: str) -> None:
    names = sorted(name for name in cache.stores() if name.startswith(f"{kind}-"))
    need, command = "", f"python -m featurize --features {kind}"
    if not names:
        need = f"There is no store of {kind} features in this cache."
    elif not cache.storage.is_local:
        command = "python -m report --cache FOLDER"
        need = f"The {kind} features lie in a bucket: pictures and players need a copy of the cache on a disk."
    else:
        try:
            dataset.stores[kind] = cache.open_store(kind, store=names[0])
        except CacheError as error:
            need = f"The {kind} features cannot be read: {escaped(error)}."
    if need:
        dataset.needs.append((need, command))


def _levels(dataset: Dataset, opened: Callable[[], Store]) -> pd.DataFrame:
    """The levels of all clips, on every core; a store is opened for each batch, so that its maps go with it."""
    raw, slots, scales = dataset.stores["raw"], dataset.slots, dataset.scales
    rate, values = dataset.rate, np.full((len(slots), len(COLUMNS)), np.nan)

    def measure(rows: np.ndarray) -> None:
        store = opened()
        for row in rows:
            start, length = int(store.start[slots[row]]), int(store.length[slots[row]])
            values[row] = levels(store.read(start, start + length), rate, float(scales[row]))

    rows = np.flatnonzero(dataset.has("raw"))
    rows = rows[np.argsort(raw.start[slots[rows]], kind="stable")]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(measure, np.array_split(rows, -(-len(rows) // _BATCH) or 1)))
    return pd.DataFrame(values, columns=COLUMNS)


def duplicates(clips: pd.DataFrame) -> list[tuple[list[int], str]]:
    """Recordings that are there more than once, byte by byte: their rows, and what is wrong with it.

    Args:
        clips: digest and label ("" where they are not known), split and size.
    """
    known = clips[(clips["digest"].fillna("") != "") & (clips["size"] > 0)]
    found = []
    for _, group in known[known.duplicated("digest", keep=False)].groupby("digest", sort=False):
        labels = sorted(set(group["label"]) - {""})
        notes = [f"under {len(labels)} labels: {', '.join(labels)}"] if len(labels) > 1 else []
        notes += ["in train and in test"] if group["split"].nunique() > 1 else []
        otherwise = "under one label" if labels else "without a label"
        found.append((group.index.tolist(), "; ".join(notes) or otherwise))
    return found


def frequent_lengths(clips: pd.DataFrame, most: int = 10) -> pd.DataFrame:
    """Exact lengths that far more clips have than the lengths around them, the most frequent first.

    A length is suspicious where three clips or more have it, and ten times as many as were expected: the clips
    within 10% of it, spread evenly.

    Args:
        clips: native_samples, native_rate and label.
    Returns:
        seconds, samples, rate, clips, expected, labels (how many), rows (a list of the clips').
    """
    there = clips[clips["native_samples"] > 0]
    order = np.sort(there["native_samples"].to_numpy())
    found = there.groupby("native_samples").agg(
        rate=("native_rate", lambda rates: rates.mode()[0]), clips=("label", "size"), labels=("label", "nunique")
    )
    each = found.index.to_numpy(np.int64)
    low, high = each * (1 - _NEIGHBOURS), each * (1 + _NEIGHBOURS)
    near = np.searchsorted(order, high, "right") - np.searchsorted(order, low, "left") - found["clips"]
    found["expected"] = near / np.maximum(high - low, 1)
    found = found[(found["clips"] >= _OFTEN) & (found["clips"] >= _TIMES * found["expected"])]
    found = found.sort_values("clips", ascending=False, kind="stable").head(most).reset_index(names="samples")
    found["seconds"] = found["samples"] / found["rate"].clip(lower=1)
    lengths = there["native_samples"]
    return found.assign(rows=[there.index[lengths == samples].tolist() for samples in found["samples"]])


def examples(clips: pd.DataFrame, usable: np.ndarray, n_examples: int) -> dict[str, list[int]]:
    """Clips of each label to show: verified ones where there are enough, spread over the label's lengths.

    They are training clips, where there are any.

    Args:
        clips: label, split, seconds, and manually_verified where it is known. usable: bool [n_clips].
    Returns:
        Rows, the shortest first, by label in the labels' order.
    """
    result, is_train = {}, clips["split"] == "train"
    for label, group in clips[usable & (is_train if is_train.any() else True)].groupby("label"):
        if "manually_verified" in group:
            verified = group["manually_verified"].eq(1).fillna(False)
            group = group[verified] if verified.sum() >= n_examples else group
        rows = group.sort_values("seconds", kind="stable").index.to_numpy()
        n = min(n_examples, len(rows))
        result[str(label)] = rows[((np.arange(n) + 0.5) * len(rows) / max(n, 1)).astype(int)].tolist()
    return result


def extremes(clips: pd.DataFrame, most: int = 10) -> dict[str, list[int]]:
    """Rows of the loudest (by RMS), quietest, most silent, most clipped and most offset clips, by what they are."""
    clips = clips[clips["rms_db"].notna()]
    offset = clips["offset"].abs()
    values = {
        "The loudest clips, by RMS": clips["rms_db"],
        "The quietest clips, by RMS": -clips["rms_db"],
        "The most silent clips": clips["silence"][clips["silence"] > 0],
        "Clips with the most samples at or beyond full scale": clips["clipped"][clips["clipped"] > 0],
        "Clips with the largest DC offset": offset[offset >= 0.001],
    }
    orders = {what: value.sort_values(ascending=False, kind="stable") for what, value in values.items()}
    return {what: order.index[:most].tolist() for what, order in orders.items()}
