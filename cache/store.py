"""A store, read: one kind of feature for every clip, straight from the memory-mapped chunk files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

from cache.ahead import each
from cache.errors import CacheError, DamagedError
from cache.maps import ChunkMaps
from cache.places import on_disk
from cache.specification import Specification, from_dict
from cache.zarr_files import feature_chunk_key

if TYPE_CHECKING:
    from cache.bucket.objects import ObjectPath
    from cache.places import Place

FORMAT = "earmark-store"
PACKED_FORMAT = "earmark-packed-store"  # compressed for travelling, see `cache.packing.pack`
VERSION = 1
_ATTRIBUTES = {"specification", "versions", "receipts"}


class Store:
    """A store's specification, its arrays by slot and its features.

    start, length: int64 [slots], in samples (raw) or frames (mfcc). status: uint8 [slots], see `Status`.
    scale (raw) or silence (mfcc): float32 [slots]; a waveform is int16 times scale, and a silent frame is
    silence in its first coefficient and 0 in the others.
    """

    def __init__(self, path: "Place"):
        """Open a store's metadata and arrays by slot; features are mapped when read, so not those in a bucket.

        Raises:
            CacheError: no store, a foreign one, a newer one, or one whose specification is not its name's.
        """
        self.path, self.name = path, path.name
        self.attributes = read_attributes(path)
        self.specification = read_specification(path)
        names = array_names(self.specification)
        opened = path if on_disk(path) else _metadata_in_memory(path, self.specification)
        try:
            root = zarr.open_group(opened, mode="r", zarr_format=3)
            for name in names:
                setattr(self, name, _whole(root[name], like=root["start"], place=opened))
            self.n_chunks = root["features"].shape[0] // self.specification.chunk_length
        except Exception as error:  # Zarr raises whatever damaged metadata lead it to
            raise DamagedError(f"{path}: damaged, cannot read its arrays; run featurize to mend it") from error
        shape = (self.specification.chunk_length, *self.specification.item_shape)
        self._folder = path.stat().st_ino if on_disk(path) else None
        self._maps = ChunkMaps(self._chunk_to_map, shape, self.specification.dtype)

    start: np.ndarray
    length: np.ndarray
    status: np.ndarray
    scale: np.ndarray
    silence: np.ndarray
    specification: Specification

    @property
    def identity(self) -> dict:
        """What a run notes of the store that it read: name, specification, checksum over its receipts."""
        receipts = self.attributes["receipts"]
        return {
            "name": self.name,
            "specification": self.specification.to_dict(),
            "checksum": receipts["checksum"],
        }

    def chunk_path(self, chunk: int) -> Path:
        """A feature chunk's file."""
        return self.path / feature_chunk_key(self.specification, chunk)

    def _chunk_to_map(self, chunk: int) -> Path:
        """A chunk's file, unless a compaction has meanwhile put another folder, of another order, in our place."""
        if self._folder is not None and (not self.path.exists() or self.path.stat().st_ino != self._folder):
            raise CacheError(
                f"{self.path}: must stay while it is read, got it replaced by a compaction; start again"
            )
        return self.chunk_path(chunk)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Elements [start, stop) along time, read-only: a view of the map, or a copy across two or more files.

        Args:
            start, stop: samples or frames from the store's beginning, as in the `start` array.
        Returns:
            int16 or float32 [stop - start] for raw, float32 [stop - start, n_mfcc] for mfcc.
        """
        length = self.specification.chunk_length
        first, last = start // length, max(start, stop - 1) // length
        if first == last:
            return self._maps[first][start - first * length : stop - first * length]
        parts = [self._maps[chunk] for chunk in range(first, last + 1)]
        return np.concatenate([parts[0][start - first * length :], *parts[1:-1], parts[-1][: stop - last * length]])


def array_names(specification: Specification) -> tuple[str, ...]:
    """The names of a store's arrays by slot."""
    return ("start", "length", "status", specification.slot_value)


def bucket_files(path: "ObjectPath", specification: Specification) -> dict[str, bytes]:
    """All files of a store in a bucket but its features, by key; the root's metadata last."""
    folders = [(path / name).objects() for name in array_names(specification)]
    files = [file for folder in folders for file, _ in folder]
    files += [path / "features" / "zarr.json", path / "zarr.json"]
    read = each(_bytes_if_there, files, path)
    skipped = len(path.key) + 1
    return {file.key[skipped:]: data for file, data in zip(files, read, strict=True) if data is not None}


def _metadata_in_memory(path: "ObjectPath", specification: Specification) -> MemoryStore:
    from_bytes = default_buffer_prototype().buffer.from_bytes
    return MemoryStore({key: from_bytes(data) for key, data in bucket_files(path, specification).items()})


def _bytes_if_there(path: "ObjectPath") -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _whole(array: zarr.Array, like: zarr.Array, place: Path | MemoryStore) -> np.ndarray:
    """An array's values; a chunk that is not there is refused, where Zarr would take it for zeros.

    From disk straight from its files, which are its values: Zarr takes six times as long for a million slots.
    """
    if array.nchunks_initialized < array.nchunks or array.shape != like.shape or array.compressors:
        raise ValueError(f"{array.name}: shape, chunks or codecs are not those of {like.name}")
    if isinstance(place, MemoryStore):
        return array[:]
    files = [place / array.basename / "c" / str(chunk) for chunk in range(array.nchunks)]
    values = np.concatenate([np.zeros(0, array.dtype), *(np.fromfile(file, array.dtype) for file in files)])
    if len(values) != array.nchunks * array.chunks[0]:
        raise ValueError(f"{array.name}: chunks are not of the size that they should have")
    return values[: array.shape[0]]


def read_attributes(path: Path) -> dict:
    """A store's attributes, its format and version checked.

    Raises:
        CacheError: no store, a foreign one or a newer one.
    """
    return _or_damaged(path, _root_attributes)


def read_specification(path: Path) -> Specification:
    """A store's specification, its format, version and name checked.

    Raises:
        CacheError: no store, a foreign one, a newer one, or one whose specification is not its name's.
    """
    return _or_damaged(path, _root_specification)


def known_specification(path: Path) -> Specification | None:
    """What a store's metadata prove it to hold, one of the two copies sufficing; None where neither does.

    The attributes of root and features both say it, and the store's name has its numbers or its hash.
    """
    for key in ("zarr.json", "features/zarr.json"):
        try:
            attributes = json.loads((path / key).read_bytes())["attributes"]
            ours = (attributes["format"], attributes["format_version"]) == (FORMAT, VERSION)
            specification = from_dict(attributes["specification"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        if ours and specification.name == path.name:
            return specification
    return None


def _or_damaged(path: Path, read: Callable[[Path], Any]) -> Any:
    """What read makes of the root's metadata; where it refuses what the other copy proves to be ours, damage."""
    try:
        return read(path)
    except DamagedError:
        raise
    except CacheError as error:
        if known_specification(path) is None:
            raise
        raise DamagedError(f"{path}/zarr.json: damaged metadata; run featurize to mend it") from error


def _root_attributes(path: Path) -> dict:
    try:
        attributes = json.loads((path / "zarr.json").read_bytes())["attributes"]
        ours = attributes.get("format") == FORMAT
    except FileNotFoundError as error:
        if path.is_dir():
            raise DamagedError(f"{path}/zarr.json: missing, a run broke off; run featurize to mend it") from error
        raise CacheError(f"{path}: no store here; `python -m cache ls` lists those there are") from error
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise DamagedError(f"{path}/zarr.json: damaged or foreign metadata; run featurize to mend it") from error
    if attributes.get("format") == PACKED_FORMAT:
        raise CacheError(
            f"{path}: must be a mapped store, got a packed one; run `python -m cache unpack` on its folder"
        )
    if not ours:
        raise CacheError(f"{path}: must be a store of earmark, got a foreign one; move it away")
    version = attributes.get("format_version")
    if version != VERSION:
        raise CacheError(
            f"{path}: store format version must be {VERSION}, got {version}; "
            "update earmark to read it, or remove the store and run featurize again"
        )
    for name in _ATTRIBUTES - attributes.keys():
        raise DamagedError(f"{path}/zarr.json: damaged metadata, {name} is missing; run featurize to mend it")
    return attributes


def _root_specification(path: Path) -> Specification:
    attributes = _root_attributes(path)
    try:
        specification = from_dict(attributes["specification"])
    except (KeyError, TypeError, ValueError) as error:
        raise CacheError(f"{path}: unknown feature specification ({error}); update earmark to read it") from error
    if specification.name != path.name:
        raise CacheError(
            f"{path}: specification must be the one its name says, got that of {specification.name}; move it away"
        )
    return specification
