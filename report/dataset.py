"""What the page says of the data: read from the cache alone, no recording is decoded."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from cache.reader import Cache, Store, open_cache
from cache.storage import CacheError

from cache.receipts import Status, read_receipts
from common.text import escaped
from report.levels import levels_table

_OFTEN, _TIMES = 3, 10.0  # clips of one exact length, and how many times more than expected, that are suspicious
_NEIGHBOURS = 0.1  # of a length: how far to each side the expected number is counted
_MORE = {kind: f"python -m featurize --features {kind}" for kind in ("raw", "mfcc", "logmel")}


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
    clips, plan = cache.clips.reset_index(drop=True), cache.plan
    slots = clips["slot"].to_numpy(np.int64)
    of_plan = plan[["native_rate", "native_samples", "size", "digest"]].iloc[slots].reset_index(drop=True)
    wanted = [name for name in ("clip", "split", "label", "manually_verified") if name in clips]
    table = pd.concat([clips[wanted], of_plan], axis=1)
    table["label"] = table["label"].fillna("").astype(str)
    table["seconds"] = table["native_samples"] / table["native_rate"].clip(lower=1)
    dataset = Dataset(str(place), table, slots)
    for kind in _MORE:
        _add_store(dataset, cache, kind)
    _add_status(dataset, cache)
    return dataset


def _add_store(dataset: Dataset, cache: Cache, kind: str) -> None:
    names = sorted(name for name in cache.stores() if name.startswith(f"{kind}-"))
    if not names:
        dataset.needs.append((f"There is no store of {kind} features in this cache.", _MORE[kind]))
    elif not cache.storage.is_local:
        line = (
            f"The {kind} features lie in a bucket: pictures, levels and players need a copy of the cache on a disk."
        )
        dataset.needs.append((line, "python -m report --cache FOLDER"))
    else:
        try:
            dataset.stores[kind] = cache.open_store(kind, store=names[0])
        except CacheError as error:
            dataset.needs.append((f"The {kind} features cannot be read: {escaped(error)}.", _MORE[kind]))


def _add_status(dataset: Dataset, cache: Cache) -> None:
    clips, status, reasons = dataset.clips, np.full(len(dataset.clips), int(Status.PENDING)), {}
    names = [store.name for store in dataset.stores.values()] + cache.stores()
    if names:
        receipts = read_receipts(cache.storage / names[0])
        status = cache.status(receipts)
        reasons = dict(zip(receipts.column("slot").tolist(), receipts.texts("reason").to_pylist(), strict=True))
    clips["status"] = [Status(value).name.lower() for value in status.tolist()]
    clips["reason"] = [reasons.get(slot) or "" for slot in dataset.slots.tolist()]
    rows = np.flatnonzero(dataset.has("raw"))
    scales = dataset.scales if len(rows) else np.ones(len(clips))
    rate = dataset.stores["raw"].specification.sample_rate if len(rows) else 1
    table = levels_table(lambda row: dataset.features("raw", row), scales, rate, rows, len(clips))
    clips[table.columns] = table


def duplicates(clips: pd.DataFrame) -> list[tuple[list[int], str]]:
    """Recordings that are there more than once, byte by byte: their rows, and what is wrong with it.

    Args:
        clips: digest ("" where it is not known), split, label and size.
    """
    known = clips[(clips["digest"].fillna("") != "") & (clips["size"] > 0)]
    found = []
    for _, group in known[known.duplicated("digest", keep=False)].groupby("digest", sort=False):
        labels = sorted(set(group.loc[group["split"] == "train", "label"]))
        notes = [f"under {len(labels)} labels: {', '.join(labels)}"] if len(labels) > 1 else []
        notes += ["in train and in test"] if group["split"].nunique() > 1 else []
        found.append((group.index.tolist(), "; ".join(notes) or "under one label"))
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
    lengths, rows = there["native_samples"].to_numpy(), there.index.to_numpy()
    order, (each, counts) = np.sort(lengths), np.unique(lengths, return_counts=True)
    low, high = each * (1 - _NEIGHBOURS), each * (1 + _NEIGHBOURS)
    near = np.searchsorted(order, high, "right") - np.searchsorted(order, low, "left") - counts
    expected, found = near / np.maximum(high - low, 1), []
    for place in np.flatnonzero((counts >= _OFTEN) & (counts >= _TIMES * expected)):
        own = clips.loc[rows[lengths == each[place]]]
        rate, odds = int(own["native_rate"].mode()[0]), round(float(expected[place]), 2)
        line = (
            each[place] / rate,
            each[place],
            rate,
            counts[place],
            odds,
            own["label"].nunique(),
            own.index.tolist(),
        )
        found.append(line)
    names = ["seconds", "samples", "rate", "clips", "expected", "labels", "rows"]
    table = pd.DataFrame(found, columns=names).sort_values("clips", ascending=False, kind="stable")
    return table.head(most).reset_index(drop=True)


def examples(clips: pd.DataFrame, usable: np.ndarray, n_examples: int) -> dict[str, list[int]]:
    """Clips of each label to show: verified ones where there are enough, spread over the label's lengths.

    Args:
        clips: label, split, seconds, and manually_verified where it is known. usable: bool [n_clips].
    Returns:
        Rows, the shortest first, by label in the labels' order.
    """
    result = {}
    for label, group in clips[usable & (clips["split"] == "train")].groupby("label"):
        if (
            "manually_verified" in group
            and (verified := group["manually_verified"].eq(1).fillna(False)).sum() >= n_examples
        ):
            group = group[verified]
        rows = group.sort_values("seconds", kind="stable").index.to_numpy()
        n = min(n_examples, len(rows))
        result[str(label)] = rows[((np.arange(n) + 0.5) * len(rows) / max(n, 1)).astype(int)].tolist()
    return result


def extremes(clips: pd.DataFrame, most: int = 10) -> dict[str, list[int]]:
    """Rows of the loudest (by RMS), quietest, most silent, most clipped and most offset clips, by what they are."""
    sound = clips[clips["rms_db"].notna()]
    orders = {
        "The loudest clips, by RMS": sound.sort_values("rms_db", ascending=False, kind="stable"),
        "The quietest clips, by RMS": sound.sort_values("rms_db", kind="stable"),
        "The most silent clips": sound[sound["silence"] > 0].sort_values("silence", ascending=False, kind="stable"),
        "Clips with the most samples at or beyond full scale": sound[sound["clipped"] > 0].sort_values(
            "clipped", ascending=False, kind="stable"
        ),
        "Clips with the largest DC offset": sound[sound["offset"].abs() >= 0.001].sort_values(
            "offset", key=abs, ascending=False, kind="stable"
        ),
    }
    return {title: table.index[:most].tolist() for title, table in orders.items()}
