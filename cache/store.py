"""A store, read: one kind of feature for every clip, straight from the memory-mapped chunk files."""

import json
from pathlib import Path

import numpy as np
import zarr

from cache.errors import CacheError, DamagedError
from cache.maps import ChunkMaps
from cache.specification import Specification, from_dict
from cache.zarr_files import feature_chunk_key

FORMAT = "earmark-store"
VERSION = 1
_ATTRIBUTES = {"specification", "versions", "receipts"}


class Store:
    """A store's specification, its arrays by slot and its features.

    start, length: int64 [slots], in samples (raw) or frames (mfcc). status: uint8 [slots], see `Status`.
    scale (raw) or silence (mfcc): float32 [slots]; a waveform is int16 times scale, and a silent frame is
    silence in its first coefficient and 0 in the others.
    """

    def __init__(self, path: Path):
        """Open a store's metadata and arrays by slot; features are mapped when read.

        Raises:
            CacheError: no store, a foreign one, a newer one, or one whose specification is not its name's.
        """
        self.path, self.name = path, path.name
        self.attributes = read_attributes(path)
        self.specification = read_specification(path)
        names = ("start", "length", "status", self.specification.slot_value)
        try:
            root = zarr.open_group(path, mode="r", zarr_format=3)
            for name in names:
                setattr(self, name, _whole(root[name], like=root["start"]))
            self.n_chunks = root["features"].shape[0] // self.specification.chunk_length
        except Exception as error:  # Zarr raises whatever damaged metadata lead it to
            raise DamagedError(f"{path}: damaged, cannot read its arrays; run featurize to mend it") from error
        shape = (self.specification.chunk_length, *self.specification.item_shape)
        self._maps = ChunkMaps(self.chunk_path, shape, self.specification.dtype)

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


def _whole(array: zarr.Array, like: zarr.Array) -> np.ndarray:
    """An array's values; a chunk that is not there is refused, where Zarr would take it for zeros."""
    if array.nchunks_initialized < array.nchunks or array.shape != like.shape:
        raise ValueError(f"{array.name}: shape or chunks are not those of {like.name}")
    return array[:]


def read_attributes(path: Path) -> dict:
    """A store's attributes, its format and version checked.

    Raises:
        CacheError: no store, a foreign one or a newer one.
    """
    try:
        attributes = json.loads((path / "zarr.json").read_bytes())["attributes"]
        ours = attributes.get("format") == FORMAT
    except FileNotFoundError as error:
        if path.is_dir():
            raise DamagedError(f"{path}/zarr.json: missing, a run broke off; run featurize to mend it") from error
        raise CacheError(f"{path}: no store here; `python -m cache ls` lists those there are") from error
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise DamagedError(f"{path}/zarr.json: damaged or foreign metadata; run featurize to mend it") from error
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


def read_specification(path: Path) -> Specification:
    """A store's specification, its format, version and name checked.

    Raises:
        CacheError: no store, a foreign one, a newer one, or one whose specification is not its name's.
    """
    attributes = read_attributes(path)
    try:
        specification = from_dict(attributes["specification"])
    except (KeyError, TypeError, ValueError) as error:
        raise CacheError(f"{path}: unknown feature specification ({error}); update earmark to read it") from error
    if specification.name != path.name:
        raise CacheError(
            f"{path}: specification must be the one its name says, got that of {specification.name}; move it away"
        )
    return specification
