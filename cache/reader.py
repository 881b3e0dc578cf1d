"""A cache, read: its tables and its stores.

A cache's tables are read once, together, and a store belongs to the generation of these tables.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from cache import layout
from cache.clips import Clips
from cache.layout import chunks_per_slot, slot_starts
from cache.receipts import Receipts, Status, chunk_files, done_groups
from cache.specification import KINDS
from cache.storage import CacheError, DamagedError, Storage, open_storage
from cache.store import Store
from cache.tables import Tables, read_tables
from common.text import duration

if TYPE_CHECKING:
    from cache.windows.labelled import LabelledWindows

_FLAGS = {
    "raw": {"sample_rate": "--sr"},
    "mfcc": {"sample_rate": "--mfcc-sr", "n_mfcc": "--mfcc"},
    "logmel": {"sample_rate": "--mfcc-sr", "n_mels": "--n-mels"},
}
_REPAIR = "run featurize to repair it"


class Cache:
    """A dataset's cache, read. clips: the clip table; plan: the plan; columns as in `cache.tables`.

    Clips are found by name, or by row of the clip table. Their names are `cache.names`, or `cache.clips["clip"]`:
    `cache.clips.clip` is a method of pandas. A cache can be pickled, as its stores can.

    >>> cache = open_cache("work/cache")
    >>> cache
    Cache(work/cache)
      12 training clips of 3 labels, 4 test clips, 16 s in all
      logmel-64-44100.zarr, mfcc-40-44100.zarr, raw-16000.zarr
    >>> cache.labels
    ['Bell', 'Drum', 'Rain']
    >>> cache.names[cache.clips["label"] == "Drum"].head(2).tolist()
    ['clip 01.wav', 'clip 04.wav']
    """

    def __init__(self, storage: Storage, tables: Tables):
        self.storage = storage
        self.clips, self.plan, self.generation = tables.clips, tables.plan, tables.generation
        self._clips = Clips(str(storage), self.clips)
        self._opened: dict[tuple, Store] = {}

    def __repr__(self) -> str:
        """What it holds, in three lines."""
        counts = self._clips.splits.value_counts()
        plan = self.plan[["native_samples", "native_rate"]].iloc[self._clips.slots]
        seconds = (plan["native_samples"] / plan["native_rate"].clip(lower=1)).sum()
        return (
            f"Cache({self.storage})\n  {counts.get('train', 0):,} training clips of {len(self.labels):,} labels, "
            f"{counts.get('test', 0):,} test clips, {duration(seconds)} in all\n  "
            f"{', '.join(self.stores()) or 'no store'}"
        )

    @property
    def names(self) -> pd.Series:
        """The names of the clips, in the clip table's order; text [clips]."""
        return self.clips["clip"]

    @property
    def labels(self) -> list[str]:
        """The labels of the training clips in the order of their first appearance, as the trainer numbers them."""
        found = self.clips["label"][self.clips["split"] == "train"].unique()
        return [label for label in found if label]

    @property
    def kinds(self) -> set[str]:
        """The kinds of feature that it has a store of: raw, mfcc, logmel."""
        return {name.partition("-")[0] for name in self.stores()}

    def stores(self) -> list[str]:
        """The names of the stores, such as raw-16000.zarr."""
        return store_names(self.storage)

    def store(self, name: str) -> "Store":
        """A store by its name, with or without .zarr, complete or not.

        Raises:
            CacheError: there is none, it is damaged, or it is of another generation than the tables.
        """
        names = self.stores()
        found = name if name in names else f"{name}.zarr"
        if found not in names:
            raise CacheError(f"{self.storage}: has no store {name!r:.100}; it has {', '.join(names) or 'no store'}")
        store = Store(self.storage / found, self._clips)
        if store.generation != self.generation:
            raise CacheError(
                f"{store.storage}: is of generation {store.generation}, but the tables read are of generation "
                f"{self.generation}; the cache was compacted meanwhile, or the store was copied here; start again"
            )
        starts = slot_starts(self.plan, store.specification)
        if len(store.start) > len(starts) or not np.array_equal(store.start, starts[: len(store.start)]):
            raise DamagedError(f"{store.storage}: its slots do not start where the plan says; {_REPAIR}")
        return store

    def open_store(self, kind: str, store: str | None = None, **numbers: int | None) -> "Store":
        """The one complete store that fits.

        >>> open_cache("work/cache").open_store("mfcc", n_mfcc=13).name
        'mfcc-40-44100.zarr'

        Args:
            kind: "raw", "mfcc" or "logmel". store: the name of the store to take.
            numbers: what the specification must have, None fitting all: sample_rate (Hz), n_mels (logmel), and
                n_mfcc (mfcc), of which a store of more serves fewer; the fewest that serve are taken.
        Raises:
            CacheError: no store fits, several do, or the one that fits is incomplete; where none fits and one of
                the kind cannot be opened, why.
        """
        if kind not in KINDS:
            raise CacheError(f"kind must be one of {', '.join(KINDS)}, got {kind!r:.100}")
        if unknown := numbers.keys() - _FLAGS[kind].keys():
            names = ", ".join(_FLAGS[kind])
            raise CacheError(f"numbers of {kind} features must be of {names}, got {', '.join(sorted(unknown))}")
        found = self._fitting(kind, numbers) if store is None else self.store(store)
        if not found.name.startswith(f"{kind}-"):
            raise CacheError(f"{found.storage}: must hold {kind} features, got {found.specification.kind}")
        missing = self.missing(found)
        if len(missing):
            raise CacheError(
                f"{found.storage}: incomplete store, {len(missing)} of {len(self.clips)} clips are missing, "
                f"{missing.iloc[0]!r:.100} for one; rerun featurize to resume"
            )
        return found

    def waveform(
        self,
        clip: str | int,
        split: str | None = None,
        *,
        store: str | None = None,
        sample_rate: int | None = None,
    ) -> np.ndarray:
        """A clip's samples, in full scale: -1 to 1 where the recording does not exceed it.

        >>> cache = open_cache("work/cache")
        >>> samples = cache.waveform("clip 01.wav")     # cache.waveform(1) is the same: row 1 of cache.clips
        >>> samples.shape, samples.dtype
        ((16000,), dtype('float32'))
        >>> cache.waveform("Clip 1.wav")
        Traceback (most recent call last):
        ...
        cache.storage.CacheError: work/cache: has no clip 'Clip 1.wav'; the nearest names are clip 11.wav, ...

        Args:
            clip: its name, or its row in the clip table. split: "train" or "test", where a name is in both.
            store, sample_rate (Hz): which store, where the cache has several, as of `open_store`.
        Returns:
            float32 [n_samples], a copy; none for an empty clip.
        Raises:
            CacheError: no such clip, one that could not be decoded, or as of `open_store`. IndexError: no such row.
        """
        row, found = self._clips.row(clip, split), self._store("raw", store, sample_rate=sample_rate)
        return found[row] * found.scale[self._clips.slots[row]]

    def mfcc(
        self,
        clip: str | int,
        split: str | None = None,
        *,
        store: str | None = None,
        sample_rate: int | None = None,
        n_mfcc: int | None = None,
    ) -> np.ndarray:
        """A clip's MFCCs, time first.

        >>> open_cache("work/cache").mfcc("clip 01.wav", n_mfcc=20).shape
        (87, 20)

        Args:
            clip, split: as of `waveform`. store, sample_rate (Hz), n_mfcc: as of `open_store`.
        Returns:
            float32 [n_frames, n_mfcc], a copy; no frames for an empty clip.
        Raises:
            CacheError, IndexError: as of `waveform`.
        """
        row = self._clips.row(clip, split)
        return self._store("mfcc", store, sample_rate=sample_rate, n_mfcc=n_mfcc)[row][:, :n_mfcc].copy()

    def logmel(
        self,
        clip: str | int,
        split: str | None = None,
        *,
        store: str | None = None,
        sample_rate: int | None = None,
        n_mels: int | None = None,
    ) -> np.ndarray:
        """A clip's log-mel bands in dB, time first.

        >>> open_cache("work/cache").logmel("clip 01.wav").shape
        (87, 64)

        Args:
            clip, split: as of `waveform`. store, sample_rate (Hz), n_mels: as of `open_store`.
        Returns:
            float32 [n_frames, n_mels], a copy; no frames for an empty clip.
        Raises:
            CacheError, IndexError: as of `waveform`.
        """
        row = self._clips.row(clip, split)
        return self._store("logmel", store, sample_rate=sample_rate, n_mels=n_mels)[row].copy()

    def windows(
        self,
        kind: str,
        seconds: float = 2.0,
        *,
        labels: Sequence[str] | None = None,
        split: str | None = "train",
        clips: Iterable[str | int] | pd.DataFrame | None = None,
        offset: Literal["random", "middle"] = "random",
        seed: int = 1001,
        store: str | None = None,
        sample_rate: int | None = None,
        n_mfcc: int | None = None,
        n_mels: int | None = None,
    ) -> "LabelledWindows":
        """One window of each clip and its label id, as the trainer cuts them, for a net of one's own.

        Clips that are empty or could not be decoded are left out, as the trainer does. What the trainer adds to a
        window is not part of it: standardisation and augmentation.

        >>> windows = open_cache("work/cache").windows("logmel", seconds=0.5)
        >>> len(windows), windows.labels
        (12, ['Bell', 'Drum', 'Rain'])
        >>> window, label_id = windows[0]
        >>> window.shape, label_id
        ((44, 64), 0)
        >>> x, y = windows[:]                   # or windows[[3, 1, 4]]
        >>> x.shape, y.tolist()
        ((12, 44, 64), [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2])
        >>> windows.set_epoch(1)                # other random offsets

        Args:
            kind: "raw", "mfcc" or "logmel". seconds: length of a window, at most 3,600.
            labels: which labels, in the order of their ids; None for those of `labels`. Clips of other labels are
                left out; a clip without a label has the id -1.
            split: "train", "test", or None for both. clips: of the split: names, rows of the clip table, a part of
                it (`cache.clips[...]`), or a bool for each of its rows; None for all.
            offset: where a window begins: "random", a pure function of seed, epoch and the clip's name, the same as
                the trainer's for the same seed; or "middle", the same in each epoch.
            seed: 0 to 2**64 - 1; 1001 is the trainer's default.
            store, sample_rate (Hz), n_mfcc, n_mels: as of `open_store`; fewer n_mfcc are the first of the store's.
        Raises:
            CacheError: as of `open_store` and `waveform`, or a value out of range, or no clip is left.
        """
        from cache.windows.labelled import LabelledWindows  # here, as numba takes half a second to import

        numbers = {"sample_rate": sample_rate, "n_mfcc": n_mfcc, "n_mels": n_mels}
        found = self._store(kind, store, **{name: value for name, value in numbers.items() if value is not None})
        rows, labels = self._clips.rows(clips, split), self.labels if labels is None else labels
        return LabelledWindows(found, self._clips, rows, labels, seconds, n_mfcc, offset, seed)

    def missing(self, store: "Store") -> pd.Series:
        """The clips that a store lacks: without a result, a receipt, or a chunk file of the right size."""
        sizes, chunk_bytes = chunk_files(store.storage), store.specification.chunk_bytes
        whole = np.array([sizes.get(chunk) == chunk_bytes for chunk in range(layout.n_chunks(self.plan))], bool)
        group, n_whole = self.plan["group"].to_numpy(), np.append(0, np.cumsum(whole))  # before each chunk
        widths = chunks_per_slot(self.plan)
        done = np.isin(group, list(done_groups(store.storage))) & (
            n_whole[group + widths] - n_whole[group] == widths
        )
        store.check_current()
        n_slots = len(store.status)
        done[:n_slots] &= store.status != Status.PENDING
        done[n_slots:] = False
        return self.clips["clip"][~done[self.clips["slot"].to_numpy()]]

    def status(self, receipts: Receipts) -> np.ndarray:
        """What became of each clip by a store's receipts, in its arrays or not yet: `Status`, uint8 [clips]."""
        return layout.by_slot(receipts, "status", len(self.plan), np.uint8)[self.clips["slot"].to_numpy()]

    def _store(self, kind: str, name: str | None, **numbers: int | None) -> Store:
        """What `open_store` gives, opened once; one that is named must have the numbers as well."""
        key = kind, name, *numbers.items()
        if key not in self._opened:
            found = self.open_store(kind, name, **numbers)
            for number, asked in numbers.items():
                there = getattr(found.specification, number)
                if asked is not None and not (1 <= asked <= there if number == "n_mfcc" else asked == there):
                    rule = f"1 to {there}" if number == "n_mfcc" else there
                    raise CacheError(f"{found.storage}: {number} must be {rule}, got {asked}")
            self._opened[key] = found
        return self._opened[key]

    def _fitting(self, kind: str, numbers: dict[str, int | None]) -> "Store":
        numbers = {name: value for name, value in numbers.items() if value is not None}
        fitting, refused = [], []
        for name in self.stores():
            if name.startswith(f"{kind}-"):
                try:
                    fitting.append(self.store(name))
                except CacheError as error:
                    refused.append(error)
        for number in numbers.keys() - {"n_mfcc"}:
            fitting = [store for store in fitting if getattr(store.specification, number) == numbers[number]]
        if "n_mfcc" in numbers:
            serving = [n for n in (store.specification.n_mfcc for store in fitting) if n >= numbers["n_mfcc"]]
            fitting = [store for store in fitting if store.specification.n_mfcc == min(serving, default=0)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            found = [store.specification for store in fitting]
            flags = [
                flag for number, flag in _FLAGS[kind].items() if len({getattr(each, number) for each in found}) > 1
            ]
            names, choose = " and ".join(each.name for each in found), " or ".join([*flags, "--store NAME"])
            raise CacheError(f"{self.storage}: one {kind} store must fit, got {names}; choose with {choose}")
        if refused:
            raise refused[0]
        flags = " ".join(f"{_FLAGS[kind][number]} {value}" for number, value in numbers.items())
        asked = f"{kind} features" + (f" for {flags}" if flags else "")
        advice, there = f"run `python -m featurize {flags}".rstrip() + "`", ", ".join(self.stores()) or "no store"
        raise CacheError(f"{self.storage}: must hold {asked}, got {there}; {advice}")


def open_cache(place: "str | Path | Storage") -> Cache:
    """Open the cache in a folder, or in a bucket (s3://BUCKET/PREFIX), for reading.

    >>> open_cache("work/cache").stores()
    ['logmel-64-44100.zarr', 'mfcc-40-44100.zarr', 'raw-16000.zarr']

    Raises:
        CacheError: there is no cache, or it is older, newer or damaged.
    """
    storage = open_storage(place)
    return Cache(storage, read_tables(storage))


def store_names(cache: Storage) -> list[str]:
    """The names of the stores in a cache's folder, sorted."""
    kinds = tuple(f"{kind}-" for kind in KINDS)
    names = [name for name in cache.names() if name.startswith(kinds) and name.endswith(".zarr")]
    return [name for name in names if not cache.is_local or (cache / name).exists()]


def removed_stores(cache: Storage) -> list[str]:
    """The names of stores whose folder was removed by hand, so that only their receipts are left."""
    there = cache.names()
    names = (f"{name.removesuffix('.receipts')}.zarr" for name in there if name.endswith(".receipts"))
    return [name for name in names if name not in there and name.partition("-")[0] in KINDS]


def all_names(cache: Storage) -> list[str]:
    """The names of the stores, and of those of which only receipts are left."""
    return sorted([*store_names(cache), *removed_stores(cache)])
