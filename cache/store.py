"""A store, read: its metadata, its arrays by slot, and features straight from memory-mapped chunk files.

A store keeps a descriptor of the folder that it opened, so that another in its place is noticed. A chunk file is
the bytes of its array, so a map of it is the array. The least recently used map is dropped when there are too many,
as each holds a file descriptor; arrays that were handed out keep their own map alive.
"""

import mmap
import os
import resource
import weakref
from contextlib import suppress
from functools import lru_cache, partial
from typing import Annotated

import msgspec
import numpy as np

from cache import layout
from cache.layout import SLOTS_PER_CHUNK, feature_chunk_key
from cache.receipts import Status, checksum
from cache.specification import Specification, from_dict
from cache.storage import CacheError, DamagedError, Storage, each

_MOST_METADATA = 1 << 20  # bytes of a zarr.json that is read
_REPAIR = "run featurize to repair it"


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
        self.storage, self.name, self._held = storage, storage.name, None
        if storage.is_local:
            try:
                self._held = os.open(storage.path(), os.O_RDONLY | os.O_DIRECTORY)
            except OSError as error:
                raise CacheError(
                    f"{storage}: no store here ({error.strerror}); see `python -m cache ls`"
                ) from error
            weakref.finalize(self, os.close, self._held)
        self.attributes = read_attributes(self.storage)
        self.specification = from_dict(self.attributes["specification"])
        self.generation: int = self.attributes["generation"]
        try:
            for name, dtype in layout.slot_array_names(self.specification).items():
                setattr(self, name, _slot_array(self.storage, name, dtype))
            lengths = {len(self.start), len(self.length), len(self.status)}
            if len(lengths) > 1 or self.status.max(initial=0) > max(Status):
                raise ValueError("its arrays do not belong together")
            self.n_chunks = _count_chunks(self.storage, self.specification)
        except (ValueError, RecursionError, OSError) as error:
            self.check_current()
            raise DamagedError(f"{storage}: damaged, cannot read its arrays; {_REPAIR}") from error
        self.check_current()
        half_written = (self.length == 0) & np.isin(self.status, [Status.OK, Status.TRUNCATED])
        self.status = np.where(half_written, np.uint8(Status.PENDING), self.status)
        self._map = lru_cache(map_limit())(partial(_map_chunk, self.storage, self._held, self.specification))

    @property
    def identity(self) -> dict:
        """What a run notes of the store that it read: name, specification, checksum over its receipts."""
        digits = self.attributes["receipts"]["checksum"]
        return {"name": self.name, "specification": self.specification.to_dict(), "checksum": digits}

    def check_current(self) -> None:
        """Refuse to go on where another folder has taken the place of the one that was opened.

        Raises:
            CacheError: the store was replaced or removed.
        """
        _check_current(self.storage, self._held)

    def read_chunk(self, key: str, expected: str) -> bytes:
        """The bytes of a feature chunk, for a copy of them; expected: their checksum, by the chunk's receipt.

        Raises:
            CacheError: they have another one, or the store was replaced. OSError: they cannot be read.
        """
        data = self.storage.read(key, self.specification.chunk_bytes + 1)
        if (found := checksum(data)) != expected:
            self.check_current()
            advice = f"run `python -m cache verify --cache {self.storage.parent}`, then featurize"
            raise DamagedError(f"{self.storage}/{key}: chunk's checksum must be {expected}, got {found}; {advice}")
        return data

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
        numbers = range(start // length, max(start, stop - 1) // length + 1)
        parts = [self.chunk(n)[max(0, start - n * length) : stop - n * length] for n in numbers]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _check_current(storage: Storage, held: int | None) -> None:
    """Refuse a folder that has taken the place of the one whose descriptor is held; a bucket has none."""
    with suppress(FileNotFoundError, NotADirectoryError):
        if held is None or os.path.samestat(os.fstat(held), os.stat(storage.path())):
            return
    raise CacheError(f"{storage}: was replaced or removed while it was read; start again")


def _map_chunk(storage: Storage, held: int | None, specification: Specification, number: int) -> np.ndarray:
    key = feature_chunk_key(specification, number)
    path, size, features = storage.path(key), specification.chunk_bytes, None
    try:
        with open(storage.open(key), "rb") as file:
            found = f"{os.fstat(file.fileno()).st_size} bytes"
            if found == f"{size} bytes":
                features = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), specification.dtype)
    except OSError as error:
        found = "no file" if isinstance(error, FileNotFoundError) else error.strerror
    _check_current(storage, held)  # now, so that what was opened is known to be its own
    if features is None:
        what = f"chunk must have {size} bytes, got {found}; run `python -m cache verify`, then featurize"
        raise DamagedError(f"{path}: {what}")
    return features.reshape(specification.chunk_length, *specification.item_shape)


def map_limit() -> int:
    """Maps that a store holds at a time: a quarter of the files that the process may open, at most 1,024."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1024 if files == resource.RLIM_INFINITY else max(1, min(1024, files // 4))


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
