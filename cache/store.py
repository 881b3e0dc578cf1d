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

import numpy as np

from cache import layout
from cache.clips import Clips
from cache.layout import SLOTS_PER_CHUNK, feature_chunk_key
from cache.metadata import array_metadata, read_attributes
from cache.receipts import Status, checksum, read_receipt
from cache.specification import Specification, from_dict
from cache.storage import CacheError, DamagedError, Storage, each
from common.text import escaped, megabytes

_REPAIR = "run featurize to repair it"
_REPLACED = "was replaced or removed while it was read; start again"


class Store:
    """A store's specification, its arrays by slot and its features.

    start, length: int64 [slots], in samples (raw) or frames (mfcc, logmel). status: uint8 [slots], see `Status`.
    scale (raw) or silence (mfcc, logmel): float32 [slots]; a waveform is int16 times scale, and a silent frame of
    MFCCs is silence in its first coefficient and 0 in the others.

    A store that a cache opened finds clips by name or by row of the clip table: `store["x.wav"]`, `store[0]`. It
    can be pickled: the process that unpickles it maps the chunks itself, and refuses a store that was replaced.

    >>> from cache import open_cache
    >>> store = open_cache("work/cache").open_store("raw")
    >>> store
    Store(work/cache/raw-16000.zarr: int16 raw, sample_rate 16,000; 16 clips, 8.2 MB)
    >>> samples = store["clip 01.wav"]
    >>> samples.shape, samples.dtype
    ((16000,), dtype('int16'))
    """

    start: np.ndarray
    length: np.ndarray
    status: np.ndarray
    scale: np.ndarray
    silence: np.ndarray

    def __init__(self, storage: Storage, clips: Clips | None = None):
        """Open a store's metadata and arrays by slot; features are mapped when read, so not those in a bucket.

        Args:
            clips: of the cache that it belongs to; without them it does not know which slot is which clip's.
        Raises:
            CacheError: no store, a foreign one, a newer one, or one whose specification is not its name's.
        """
        self.storage, self.name, self._clips = storage, storage.name, clips
        self._hold_folder()
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
        self.hold_maps(map_limit())

    def _hold_folder(self) -> None:
        self._held = None
        if self.storage.is_local:
            try:
                self._held = os.open(self.storage.path(), os.O_RDONLY | os.O_DIRECTORY)
            except OSError as error:
                raise CacheError(
                    f"{self.storage}: no store here ({error.strerror}); see `python -m cache ls`"
                ) from error
            weakref.finalize(self, os.close, self._held)

    def __getstate__(self) -> dict:
        inode = None if self._held is None else os.fstat(self._held).st_ino
        return {**vars(self), "_held": inode, "_map": None}

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state)
        self._hold_folder()
        if self._held is not None and os.fstat(self._held).st_ino != state["_held"]:
            raise CacheError(f"{self.storage}: {_REPLACED}")
        self.hold_maps(map_limit())

    def __repr__(self) -> str:
        """What it holds, in a line."""
        specification = self.specification
        numbers = ", ".join(f"{name} {getattr(specification, name):,}" for name in specification.named_by)
        n_clips = f"{len(self.status):,} slots" if self._clips is None else f"{len(self._clips):,} clips"
        size = megabytes(self.n_chunks * specification.chunk_bytes)
        return f"Store({self.storage}: {specification.dtype} {specification.kind}, {numbers}; {n_clips}, {size})"

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

    def hold_maps(self, most: int) -> None:
        """Hold at most so many chunks mapped; few do for one pass over a recording of a day, and less memory.

        Pages that were read count as this process's memory as long as they are mapped, though others may have them.
        """
        self._map = lru_cache(most)(partial(_map_chunk, self.storage, self._held, self.specification))

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

    def __getitem__(self, clip: str | int) -> np.ndarray:
        """A clip's features as stored, read-only: a view of a map, or a copy across files; an empty clip has none.

        Args:
            clip: its name, or its row in the clip table.
        Returns:
            [n_samples] for raw, [n_frames, n] for mfcc and logmel.
        Raises:
            CacheError: no such clip, one that could not be decoded (with the reason) or is not featurized yet, or
                a store that no cache opened. IndexError: no such row.
        """
        if self._clips is None:
            what = "must be opened by a cache to find clips, got a store alone"
            raise CacheError(f"{self.storage}: {what}; use open_cache(...).store({self.name!r}), or read()")
        row = self._clips.row(clip)
        slot = self._clips.slots[row]
        status = self.status[slot] if slot < len(self.status) else Status.PENDING
        if status in (Status.FAILED, Status.PENDING):
            name = f"{self.storage}: clip {self._clips.names.iat[row]!r:.100}"
            if status == Status.PENDING:
                raise CacheError(f"{name} is not featurized yet; rerun featurize to resume")
            raise CacheError(f"{name} could not be decoded{self._reason(slot)}; replace it and run featurize again")
        start = int(self.start[slot])
        return self.read(start, start + int(self.length[slot]))

    def _reason(self, slot: int) -> str:
        """Why a slot failed, in brackets, where its receipt can be read."""
        with suppress(CacheError, OSError):
            receipt = read_receipt(self.storage, int(self.start[slot]) // self.specification.chunk_length)
            return "".join(f" ({escaped(found.reason)})" for found in receipt.slots if found.slot == slot)
        return ""


def _check_current(storage: Storage, held: int | None) -> None:
    """Refuse a folder that has taken the place of the one whose descriptor is held; a bucket has none."""
    with suppress(FileNotFoundError, NotADirectoryError):
        if held is None or os.path.samestat(os.fstat(held), os.stat(storage.path())):
            return
    raise CacheError(f"{storage}: {_REPLACED}")


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


def _slot_array(store: Storage, name: str, dtype: str) -> np.ndarray:
    """An array by slot, straight from its files; a missing chunk is refused, where Zarr takes it for zeros."""
    metadata, n_slots = array_metadata(store, name)
    if metadata != layout.slot_array_metadata(dtype, n_slots):
        raise ValueError("its metadata are not ours")
    size = SLOTS_PER_CHUNK * np.dtype(dtype).itemsize
    keys = (f"{name}/c/{chunk}" for chunk in range(-(-n_slots // SLOTS_PER_CHUNK)))  # not a list: any n_slots
    parts = list(each(lambda key: store.read(key, size + 1), keys, store))
    if any(len(part) != size for part in parts):
        raise ValueError("a chunk is of another size")
    return np.frombuffer(b"".join(parts), dtype)[:n_slots]


def _count_chunks(store: Storage, specification: Specification) -> int:
    metadata, length = array_metadata(store, "features")
    n_chunks = length // specification.chunk_length
    if metadata != layout.features_metadata(specification, n_chunks, metadata.get("attributes")):
        raise ValueError("its metadata are not ours")
    return n_chunks
