"""A cache and its stores, read: tables, arrays by slot, and features straight from memory-mapped chunk files.

A cache's tables are read once, together, and a store belongs to the generation of these tables. A store holds a
descriptor of the folder that it opened, so a folder that takes its place is never mixed in. A chunk file is its
array's bytes, so a map of it is the array. Each map holds a file descriptor; the least recently used one is dropped
when there are too many, and arrays that were handed out keep their own map alive.
"""

import mmap
import os
import resource
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import pandas as pd

from cache import layout
from cache.layout import SLOTS_PER_CHUNK, chunks_per_slot, feature_chunk_key, slot_starts
from cache.receipts import Receipts, Status, chunk_files, done_groups
from cache.specification import KINDS, Specification, from_dict
from cache.storage import CacheError, DamagedError, Storage, each, open_storage
from cache.tables import Tables, read_tables

_FLAGS = {
    "sample_rate": {"raw": "--sr", "mfcc": "--mfcc-sr", "logmel": "--mfcc-sr"},
    "n_mfcc": {"mfcc": "--mfcc"},
    "n_mels": {"logmel": "--n-mels"},
}
_MOST_METADATA = 1 << 20  # bytes of a zarr.json that is read
_REPAIR = "run featurize to repair it"


class Cache:
    """A dataset's cache, read. clips: the clip table; plan: the plan; columns as in `cache.tables`."""

    def __init__(self, storage: Storage, tables: Tables):
        self.storage = storage
        self.clips, self.plan, self.generation = tables.clips, tables.plan, tables.generation

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
            raise CacheError(f"{self.storage}: has no store {name!r:.100}; it has {_or_none(names)}")
        store = Store(self.storage / found)
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

        Args:
            kind: "raw", "mfcc" or "logmel". store: the name of the store to take.
            numbers: what the specification must have, None fitting all: sample_rate (Hz), n_mels (logmel), and
                n_mfcc (mfcc), of which a store of more serves fewer; the fewest that serve are taken.
        Raises:
            CacheError: no store fits, several do, or the one that fits is incomplete; where none fits and one of
                the kind cannot be opened, why.
        """
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

    def missing(self, store: "Store") -> pd.Series:
        """The clips that a store lacks: without a result, a receipt, or a chunk file of the right size."""
        group, widths, size = (
            self.plan["group"].to_numpy(),
            chunks_per_slot(self.plan),
            store.specification.chunk_bytes,
        )
        lost = np.ones(layout.n_chunks(self.plan) + 1, bool)
        whole = [chunk for chunk, there in chunk_files(store.storage).items() if there == size]
        lost[np.intersect1d(whole, np.arange(len(lost))).astype(int)] = False
        lost_before = np.cumsum(lost) - lost  # chunks before each
        done = np.isin(group, list(done_groups(store.storage))) & (
            lost_before[group + widths] == lost_before[group]
        )
        store.check_current()
        status = np.zeros(len(done), np.uint8)
        status[: len(store.status)] = store.status
        return self.clips["clip"][~(done & (status != Status.PENDING))[self.clips["slot"].to_numpy()]]

    def status(self, receipts: Receipts) -> np.ndarray:
        """What became of each clip by a store's receipts, in its arrays or not yet: `Status`, uint8 [clips]."""
        return layout.by_slot(receipts, "status", len(self.plan), np.uint8)[self.clips["slot"].to_numpy()]

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
            flags = [
                flags[kind]
                for number, flags in _FLAGS.items()
                if kind in flags and len({getattr(store.specification, number) for store in fitting}) > 1
            ]
            names = " and ".join(store.name for store in fitting)
            choose = " or ".join([*flags, "--store NAME"])
            raise CacheError(f"{self.storage}: one {kind} store must fit, got {names}; choose with {choose}")
        if refused:
            raise refused[0]
        flags = " ".join(f"{_FLAGS[number][kind]} {value}" for number, value in numbers.items())
        asked = f"{kind} features" + (f" for {flags}" if flags else "")
        advice = f"run `python -m featurize {flags}".rstrip() + "`"
        raise CacheError(f"{self.storage}: must hold {asked}, got {_or_none(self.stores())}; {advice}")


class Store:
    """A store's specification, its arrays by slot and its features.

    start, length: int64 [slots], in samples (raw) or frames (mfcc, logmel). status: uint8 [slots], see `Status`.
    scale (raw) or silence (mfcc, logmel): float32 [slots]; a waveform is int16 times scale, and a silent frame of
    MFCCs is silence in its first coefficient and 0 in the others.
    """

    start: np.ndarray
    length: np.ndarray
    status: np.ndarray
    scale: np.ndarray
    silence: np.ndarray

    def __init__(self, storage: Storage):
        """Open a store's metadata and arrays by slot; features are mapped when read, so not those in a bucket.

        Raises:
            CacheError: no store, a foreign one, a newer one, or one whose specification is not its name's.
        """
        self.name = storage.name
        try:
            self.storage = storage.hold()
        except OSError as error:
            raise CacheError(f"{storage}: no store here ({error.strerror}); see `python -m cache ls`") from error
        self.attributes = read_attributes(self.storage)
        self.specification = from_dict(self.attributes["specification"])
        self.generation: int = self.attributes["generation"]
        try:
            for name, dtype in layout.slot_array_names(self.specification).items():
                setattr(self, name, _slot_array(self.storage, name, dtype))
            if not len(self.start) == len(self.length) == len(self.status) or self.status.max(initial=0) > max(
                Status
            ):
                raise ValueError("its arrays do not belong together")
            self.n_chunks = _count_chunks(self.storage, self.specification)
        except (ValueError, RecursionError, OSError) as error:
            self.check_current()
            raise DamagedError(f"{storage}: damaged, cannot read its arrays; {_REPAIR}") from error
        half_written = (self.length == 0) & np.isin(self.status, [Status.OK, Status.TRUNCATED])
        self.status = np.where(half_written, np.uint8(Status.PENDING), self.status)
        self._map = lru_cache(map_limit())(partial(_map_chunk, self.storage, self.specification))

    @property
    def identity(self) -> dict:
        """What a run notes of the store that it read: name, specification, checksum over its receipts."""
        checksum = self.attributes["receipts"]["checksum"]
        return {"name": self.name, "specification": self.specification.to_dict(), "checksum": checksum}

    def check_current(self) -> None:
        """Refuse to go on where another folder has taken the place of the one that was opened.

        Raises:
            CacheError: the store was replaced or removed.
        """
        _check_current(self.storage)

    def chunk_path(self, chunk: int) -> Path:
        """A feature chunk's file."""
        return self.storage.path(feature_chunk_key(self.specification, chunk))

    def chunk(self, number: int) -> np.ndarray:
        """A chunk's features, [chunk_length, ...]: a read-only view of its memory map. Threads may share a store.

        Raises:
            CacheError: the chunk's file is missing, of another size, no file, or in a bucket.
        """
        return self._map(number)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Elements [start, stop) along time, read-only: a view of a map, or a copy across two or more files.

        Args:
            start, stop: samples or frames from the store's beginning, as in the `start` array.
        Returns:
            int16 or float32 [stop - start] for raw, float32 [stop - start, n] for mfcc and logmel.
        """
        length = self.specification.chunk_length
        first, last = start // length, max(start, stop - 1) // length
        if first == last:
            return self.chunk(first)[start - first * length : stop - first * length]
        parts = [self.chunk(chunk) for chunk in range(first, last + 1)]
        return np.concatenate([parts[0][start - first * length :], *parts[1:-1], parts[-1][: stop - last * length]])


def _check_current(storage: Storage) -> None:
    if not storage.is_current():
        raise CacheError(f"{storage}: was replaced or removed while it was read; start again")


def _map_chunk(storage: Storage, specification: Specification, number: int) -> np.ndarray:
    key = feature_chunk_key(specification, number)
    path, size = storage.path(key), specification.chunk_bytes
    try:
        with open(storage.open(key), "rb") as file:
            found = f"{os.fstat(file.fileno()).st_size} bytes"
            if found == f"{size} bytes":
                features = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), specification.dtype)
                return features.reshape(specification.chunk_length, *specification.item_shape)
    except OSError as error:
        _check_current(storage)
        found = "no file" if isinstance(error, FileNotFoundError) else error.strerror
    what = f"chunk must have {size} bytes, got {found}; run `python -m cache verify`, then featurize"
    raise DamagedError(f"{path}: {what}")


def open_cache(place: "str | Path | Storage") -> Cache:
    """Open the cache in a folder, or in a bucket (s3://BUCKET/PREFIX), for reading.

    Raises:
        CacheError: there is no cache, or it is older, newer or damaged.
    """
    storage = open_storage(place)
    return Cache(storage, read_tables(storage))


def map_limit() -> int:
    """Maps that a store holds at a time: a quarter of the files that the process may open, at most 1,024."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1024 if files == resource.RLIM_INFINITY else max(1, min(1024, files // 4))


def store_names(cache: Storage) -> list[str]:
    """The names of the stores in a cache's folder, sorted."""
    kinds = tuple(f"{kind}-" for kind in KINDS)
    names = [name for name in cache.names() if name.startswith(kinds) and name.endswith(".zarr")]
    return [name for name in names if not cache.is_local or (cache / name).exists()]


class _Receipts(msgspec.Struct):
    n: int
    checksum: str


class _Group(msgspec.Struct):
    attributes: dict


class _Array(msgspec.Struct):
    shape: Annotated[list[Annotated[int, msgspec.Meta(ge=0)]], msgspec.Meta(min_length=1)]


class _Attributes(msgspec.Struct):
    """The attributes of a store's root, but for those that say whose it is."""

    generation: int
    versions: dict[str, str]
    receipts: _Receipts


def read_attributes(store: Storage) -> dict:
    """A store's attributes, validated: format, format_version, generation, specification, versions, receipts.

    Raises:
        CacheError: no store, a foreign one, one of another version, or one whose specification is not its name's.
    """
    where = f"{store}/zarr.json"
    try:
        attributes, _ = _attributes(store, "zarr.json")
        msgspec.convert(attributes, _Attributes)
        return attributes
    except FileNotFoundError:
        if store.exists():
            raise DamagedError(f"{where}: missing; {_REPAIR}") from None
        raise CacheError(f"{store}: no store here; see `python -m cache ls`") from None
    except (ValueError, RecursionError, OSError) as error:
        if isinstance(error, CacheError) and known_specification(store) is None:
            raise
        what = error.strerror if isinstance(error, OSError) else "damaged or foreign metadata"
        raise DamagedError(f"{where}: {what}; {_REPAIR}") from error


def known_specification(store: Storage) -> Specification | None:
    """What a store's metadata prove it to hold; one of the two copies is enough. None where neither does.

    The attributes of root and features both say it, and the store's name has its numbers or its hash.
    """
    for key in ("zarr.json", "features/zarr.json"):
        try:
            return _attributes(store, key)[1]
        except (ValueError, RecursionError, OSError):
            continue
    return None


def _attributes(store: Storage, key: str) -> tuple[dict, Specification]:
    """The attributes of a store, or of its features, as far as they say whose they are."""
    attributes = msgspec.json.decode(store.read(key, _MOST_METADATA), type=_Group).attributes
    if attributes.get("format") != layout.FORMAT:
        raise CacheError(f"{store}: must be a store of earmark, got a foreign one; move it away")
    if (version := attributes.get("format_version")) != layout.VERSION:
        what = f"store format version must be {layout.VERSION}, got {version!s:.20}"
        raise CacheError(f"{store}: {what}; update earmark to read it, or remove the store and run featurize again")
    try:
        specification = from_dict(attributes.get("specification"))
    except ValueError as error:
        raise CacheError(f"{store}: unknown feature specification ({error}); update earmark to read it") from error
    if specification.name != store.name:
        what = f"specification must be the one that its name says, got that of {specification.name}"
        raise CacheError(f"{store}: {what}; move it away")
    return attributes, specification


def _metadata(store: Storage, name: str) -> tuple[dict, int]:
    """An array's metadata, and its length along the first axis."""
    data = store.read(f"{name}/zarr.json", _MOST_METADATA)
    return msgspec.json.decode(data, type=dict), msgspec.json.decode(data, type=_Array).shape[0]


def _slot_array(store: Storage, name: str, dtype: str) -> np.ndarray:
    """An array by slot, straight from its files; a missing chunk is refused, where Zarr takes it for zeros."""
    metadata, n_slots = _metadata(store, name)
    if metadata != layout.slot_array_metadata(dtype, n_slots):
        raise ValueError("its metadata are not ours")
    size = SLOTS_PER_CHUNK * np.dtype(dtype).itemsize
    keys = (f"{name}/c/{chunk}" for chunk in range(-(-n_slots // SLOTS_PER_CHUNK)))  # not a list: any n_slots
    parts = list(each(lambda key: store.read(key, size + 1), keys, store))
    if any(len(part) != size for part in parts):
        raise ValueError("a chunk is of another size")
    return np.frombuffer(b"".join(parts), dtype)[:n_slots]


def _count_chunks(store: Storage, specification: Specification) -> int:
    metadata, length = _metadata(store, "features")
    n_chunks = length // specification.chunk_length
    if metadata != layout.features_metadata(specification, n_chunks, metadata.get("attributes")):
        raise ValueError("its metadata are not ours")
    return n_chunks


def _or_none(names: list[str]) -> str:
    return ", ".join(names) or "no store"
