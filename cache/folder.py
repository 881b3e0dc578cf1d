"""The cache's folder: `clips.parquet`, `plan.parquet`, and `NAME.zarr/` with `NAME.receipts/` for each store."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cache.clips import FILE_NAME, read_clips
from cache.compaction.switch import is_switching
from cache.errors import CacheError
from cache.packing.package import is_package
from cache.places import place
from cache.plan import read_plan
from cache.receipts import Status, done_groups
from cache.results import Results
from cache.specification import Specification
from cache.store import Store

if TYPE_CHECKING:
    from cache.places import Place

_BANDS = 64  # of the log-mel store that is advised where none was asked for
_FLAGS = {
    "sample_rate": {"raw": "--sr", "mfcc": "--mfcc-sr", "logmel": "--mfcc-sr"},
    "n_mfcc": {"mfcc": "--mfcc"},
    "n_mels": {"logmel": "--logmel"},
}


class Cache:
    """A dataset's cache, read. `clips` is its clip table, `plan` its plan; both are read when first asked for."""

    def __init__(self, path: "Place"):
        """Name the folder of a cache; it need not be there yet.

        Raises:
            CacheError: it is packed, or a compaction of it broke off.
        """
        self.path = path
        if is_package(path):
            raise CacheError(f"{path}: must be a cache, got a packed one; unpack it with `python -m cache unpack`")
        if is_switching(path):
            raise CacheError(f"{path}: a compaction broke off; finish it with `python -m cache compact`")

    @cached_property
    def clips(self) -> pd.DataFrame:
        """The clip table in the dataset's order; columns as in `cache.clips`."""
        return read_clips(self.path)

    @cached_property
    def plan(self) -> pd.DataFrame:
        """The plan, one row a slot; columns as in `cache.plan`."""
        return read_plan(self.path)

    def store_paths(self) -> list[Path]:
        """The stores' folders, by name."""
        return sorted(path for path in self.path.glob("*.zarr") if path.is_dir())

    @property
    def kinds(self) -> set[str]:
        """The kinds of feature that it has a store of: raw, mfcc, logmel."""
        return {path.name.partition("-")[0] for path in self.store_paths()}

    def status(self, results: Results) -> np.ndarray:
        """What became of each clip by a store's receipts, folded yet or not: `Status`, uint8 [clips]."""
        slots, found = self.clips["slot"].to_numpy(), results.column("slot")
        status = np.zeros(max(slots.max(initial=-1), found.max(initial=-1)) + 1, np.uint8)
        status[found] = results.column("status")
        return status[slots]

    def missing(self, store: Store) -> pd.Series:
        """The clips whose features the store lacks: no receipt, or one that is not folded yet."""
        slots = self.clips["slot"].to_numpy()
        known = slots < len(store.start)
        groups = np.full(len(slots), -1)
        groups[known] = store.start[slots[known]] // store.specification.chunk_length
        done = np.isin(groups, list(done_groups(store.path)))
        done[known] &= store.status[slots[known]] != Status.PENDING
        return self.clips["clip"][~done]

    def open_store(self, kind: str, **numbers: int | None) -> Store:
        """The one complete store that fits.

        Args:
            kind: "raw", "mfcc" or "logmel".
            numbers: what the specification must have, None fitting all: sample_rate (Hz), n_mels (logmel), and
                n_mfcc (mfcc), of which a store of more serves fewer; the fewest that serve are taken.
        Raises:
            CacheError: no store fits, more than one does, or the one that fits is incomplete; where none fits and
                one of the kind cannot be opened, why.
        """
        stores, refused = self._stores(kind)
        fitting = [store for store in stores if _fits(store.specification, **numbers)]
        if numbers.get("n_mfcc") is not None:
            fewest = min((store.specification.n_mfcc for store in fitting), default=0)
            fitting = [store for store in fitting if store.specification.n_mfcc == fewest]
        if not fitting:
            raise refused[0] if refused else CacheError(self._none_fits(kind, numbers))
        if len(fitting) > 1:
            raise CacheError(f"{self.path}: one {kind} store must fit, got {_several(kind, fitting)}")
        missing = self.missing(fitting[0])
        if len(missing):
            raise CacheError(
                f"{fitting[0].path}: incomplete store, {len(missing)} of {len(self.clips)} clips are missing, "
                f"{missing.iloc[0]} for one; run the same featurize again, it goes on from what is done"
            )
        return fitting[0]

    def _stores(self, kind: str) -> tuple[list[Store], list[CacheError]]:
        """The stores of a kind that can be opened, and why the others cannot."""
        stores, refused = [], []
        for path in self.store_paths():
            if path.name.startswith(f"{kind}-"):
                try:
                    stores.append(Store(path))
                except CacheError as error:
                    refused.append(error)
        return stores, refused

    def _none_fits(self, kind: str, numbers: dict[str, int | None]) -> str:
        flags = " ".join(f"{_FLAGS[name][kind]} {value}" for name, value in numbers.items() if value is not None)
        asked = f"{kind} features" + (f" for {flags}" if flags else "")
        there = ", ".join(path.name for path in self.store_paths()) or "no store"
        if kind == "logmel" and numbers.get("n_mels") is None:
            flags = f"{flags} --logmel {_BANDS}".lstrip()
        return f"{self.path}: must hold {asked}, got {there}; run python -m featurize {flags}".rstrip()


def open_cache(path: "str | Place") -> Cache:
    """Open the cache in a folder, or at s3://BUCKET/PREFIX, for reading.

    Raises:
        CacheError: there is no cache, or its clip table is foreign, newer or damaged.
    """
    cache = Cache(place(path))
    if not (cache.path / FILE_NAME).is_file():
        raise CacheError(f"{cache.path}: no cache here; run `python -m featurize` first")
    _ = cache.clips
    return cache


def _fits(specification: Specification, n_mfcc: int | None = None, **numbers: int | None) -> bool:
    if any(value is not None and getattr(specification, name) != value for name, value in numbers.items()):
        return False
    return n_mfcc is None or specification.n_mfcc >= n_mfcc


def _several(kind: str, stores: list[Store]) -> str:
    names = " and ".join(store.name for store in stores)
    flags = [
        by_kind[kind]
        for field, by_kind in _FLAGS.items()
        if kind in by_kind and len({getattr(store.specification, field) for store in stores}) > 1
    ]
    choose = f"choose with {' or '.join(flags)}" if flags else "remove all but one with `python -m cache rm STORE`"
    return f"{names}; {choose}"
