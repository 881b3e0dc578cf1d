"""Archives: a compressed copy of stores for travelling, and the mapped form made of it again.

An archive is a folder. Its stores are valid Zarr v3, chunk by chunk the arrays of the cache, with Blosc behind the
bytes; receipts, clip table and plan are the cache's own files. `manifest.json`, written last, holds the cache's as
text, and names the stores, each with its specification and the checksum over its receipts.

Unpacking compares every chunk with the checksum that its receipt has of the uncompressed bytes, and makes metadata
and arrays by slot anew from plan and receipts, so the result is the cache's files, byte for byte. Names, sizes and
numbers that an archive gives are checked before anything is read or written by them.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numcodecs import Blosc

from cache.layout import feature_chunk_key, n_chunks, store_files
from cache.reader import Cache
from cache.receipts import Receipts, begun_with, checksum, read_receipts, signed, unsigned, write_receipt
from cache.specification import Specification, from_dict
from cache.storage import CacheError, DamagedError, LocalStorage, Storage, each
from cache.switch import new_folder, require_space
from cache.tables import CLIPS, MANIFEST, PLAN, Tables, read_tables

VERSION = 2
FORMAT = "earmark-archived-store"
# On 400 recordings of ESC-10, level 5 of bitshuffle makes raw 1.48 and MFCC 1.33 times smaller at 245 and 336 MB/s
# on two cores; level 5 of byte shuffle 1.47 and 1.41 times at 79 and 97 MB/s, level 7 takes at least twice as long.
_CODEC = Blosc("zstd", 5, Blosc.BITSHUFFLE)
_AT_A_TIME = 4  # chunks of an archive in a bucket that are in memory
_MOST_BYTES = 1 << 24  # of a manifest that is read
Progress = Callable[[int], None]  # takes the uncompressed bytes that were done since the last call


@dataclass(frozen=True)
class Archive:
    """An archive, all but its chunks checked: the cache's manifest as text, and what each store holds, by name."""

    storage: Storage
    manifest: str
    stores: dict[str, tuple[Specification, Receipts]]

    @property
    def n_bytes(self) -> int:
        """Bytes of all chunks when they are unpacked."""
        return sum(s.chunk_bytes * len(list(_chunks(receipts))) for s, receipts in self.stores.values())


def pack(cache: Cache, names: Sequence[str], target: Path, on_bytes: Progress = lambda n_bytes: None) -> int:
    """Write an archive of some of a cache's stores; returns the bytes of its compressed chunks.

    Args:
        target: a folder that is missing or empty.
    Raises:
        CacheError: the cache or a store is damaged or incomplete, or changes meanwhile.
        EarmarkError: target is not empty.
    """
    stores, size = {}, 0
    with new_folder(target) as folder:
        archive = LocalStorage(folder)
        for name in (MANIFEST, PLAN, CLIPS):
            archive.write(name, cache.storage.read(name))
        changed = f"{cache.storage}: was changed while it was packed; pack it again"
        tables = _copied_tables(archive, changed)
        if tables.generation != cache.generation or not tables.clips.equals(cache.clips):
            raise CacheError(changed)
        for name in names:
            store = cache.open_store(name.partition("-")[0], store=name)  # refuses what is incomplete
            receipts = read_receipts(cache.storage / name)
            size += _pack_store(
                cache.storage / name, store.specification, receipts, tables, archive / name, on_bytes
            )
            stores[name] = {"specification": store.specification.to_dict(), "receipts": receipts.checksum}
        said = {"manifest": archive.read(MANIFEST).decode(), "stores": stores}
        archive.write(MANIFEST, signed({"earmark": "archive", "version": VERSION, **said}))
    return size


def read_archive(storage: Storage) -> Archive:
    """Read and check an archive, all but its chunks.

    Raises:
        CacheError: there is no archive, or a damaged one, or one of another version.
    """
    where = f"{storage}/{MANIFEST}"
    try:
        body = unsigned(storage.read(MANIFEST, _MOST_BYTES))
        if body["earmark"] != "archive":
            raise CacheError(f"{storage}: must be an archive, got a cache; `python -m cache pack` makes archives")
        if body["version"] != VERSION:
            version = f"{body['version']!s:.20}"
            raise CacheError(f"{where}: version must be {VERSION}, got {version}; update earmark, or pack it again")
        stores = {}
        for name, said in body["stores"].items():
            specification = from_dict(said["specification"])
            if name != specification.name:
                raise CacheError(
                    f"{where}: a store's name must be {specification.name}, got {name}; do not trust it"
                )
            receipts = read_receipts(storage / name, lost_chunks=True)
            if receipts.checksum != said["receipts"]:
                raise _damaged(storage / name, "some of its receipts are missing or damaged")
            stores[name] = (specification, receipts)
        return Archive(storage, str(body["manifest"]), stores)
    except FileNotFoundError as error:
        raise CacheError(f"{storage}: no archive here; give a folder that `python -m cache pack` made") from error
    except CacheError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise _damaged(where, f"{error!s:.80}") from error


def unpack(archive: Archive, target: Path, on_bytes: Progress = lambda n_bytes: None) -> None:
    """Make the cache that was packed.

    Args:
        target: a folder that is missing or empty.
    Raises:
        CacheError: the archive is damaged.
        EarmarkError: target is not empty, or its disk too small.
    """
    with new_folder(target) as folder:
        require_space(folder, archive.n_bytes, "free some, or give another folder")
        cache = LocalStorage(folder)
        for name in (PLAN, CLIPS):
            cache.write(name, _read(archive.storage, name))
        cache.write(MANIFEST, archive.manifest.encode())
        tables = _copied_tables(
            cache, f"{archive.storage}: damaged archive, its tables do not fit its manifest; pack or send it again"
        )
        for name, (specification, receipts) in archive.stores.items():
            _unpack_store(archive.storage / name, specification, receipts, tables, cache / name, on_bytes)


def _pack_store(
    store: Storage,
    specification: Specification,
    receipts: Receipts,
    tables: Tables,
    packed: Storage,
    on_bytes: Progress,
) -> int:
    size = 0
    for chunk, expected in _chunks(receipts):
        key = feature_chunk_key(specification, chunk)
        data = store.read(key, specification.chunk_bytes + 1)
        if checksum(data) != expected:
            raise DamagedError(f"{store}/{key}: damaged chunk; run `python -m cache verify`, then featurize")
        small = _CODEC.encode(
            np.frombuffer(data, specification.dtype)
        )  # its item size is what bits are shuffled by
        packed.write(key, small)
        size += len(small)
        on_bytes(len(data))
    _write_rest(packed, specification, receipts, tables, _as_archived)
    return size


def _unpack_store(
    packed: Storage,
    specification: Specification,
    receipts: Receipts,
    tables: Tables,
    store: Storage,
    on_bytes: Progress,
) -> None:
    def unpacked(chunk: tuple[int, str]) -> tuple[str, bytes]:
        number, expected = chunk
        key = feature_chunk_key(specification, number)
        data = _decompressed(packed, key, specification)
        if checksum(data) != expected:
            raise _damaged(f"{packed}/{key}", "the chunk's checksum does not match")
        return key, data

    chunks = list(_chunks(receipts))
    if max((chunk for chunk, _ in chunks), default=-1) >= n_chunks(tables.plan):
        raise _damaged(packed, "it has chunks that the plan does not have")
    for key, data in each(unpacked, chunks, packed, threads=_AT_A_TIME):
        store.write(key, data)
        on_bytes(len(data))
    _write_rest(store, specification, receipts, tables, lambda key, data, specification: data)


def _write_rest(
    store: Storage, specification: Specification, receipts: Receipts, tables: Tables, form: Callable[..., bytes]
) -> None:
    """Write receipts, metadata and arrays by slot; form: what becomes of a file."""
    for receipt in receipts.values():
        write_receipt(store, receipt)
    files = store_files(tables.plan, specification, receipts, begun_with(receipts), tables.generation)
    for key, data in files.items():
        store.write(key, form(key, data, specification))


def _as_archived(key: str, data: bytes, specification: Specification) -> bytes:
    """A store's file as an archive has it: another format, and one more codec for features."""
    if key not in {"zarr.json", "features/zarr.json"}:
        return data
    metadata = json.loads(data)
    metadata["attributes"]["format"] = FORMAT
    if "codecs" in metadata:
        options = {"cname": _CODEC.cname, "clevel": _CODEC.clevel, "shuffle": "bitshuffle", "blocksize": 0}
        typesize = np.dtype(specification.dtype).itemsize
        metadata["codecs"].append({"name": "blosc", "configuration": {"typesize": typesize, **options}})
    return json.dumps(metadata, indent=2).encode()


def _decompressed(packed: Storage, key: str, specification: Specification) -> bytes:
    """A chunk's bytes; a frame whose header is not that of just this chunk and file is not opened.

    Blosc's header: format and flags (4 bytes), then uncompressed size, block size and compressed size (uint32).
    """
    data = _read(packed, key, specification.chunk_bytes + (1 << 16))
    sizes = np.frombuffer(data[4:16].ljust(12, b"\0"), "<u4")
    if (sizes[0], sizes[2]) != (specification.chunk_bytes, len(data)):
        raise _damaged(f"{packed}/{key}", f"the chunk must hold {specification.chunk_bytes} bytes and be whole")
    try:
        return _CODEC.decode(data)
    except RuntimeError as error:
        raise _damaged(f"{packed}/{key}", "the chunk cannot be decompressed") from error


def _read(storage: Storage, key: str, n_bytes: int | None = None) -> bytes:
    try:
        return storage.read(key, n_bytes)
    except OSError as error:
        what = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise _damaged(f"{storage}/{key}", f"the file {what}") from error


def _copied_tables(storage: Storage, message: str) -> Tables:
    try:
        return read_tables(storage)
    except CacheError as error:
        raise DamagedError(message) from error


def _chunks(receipts: Receipts) -> Iterator[tuple[int, str]]:
    """The chunks that receipts count: number and checksum."""
    return (
        (chunk, each) for group, receipt in receipts.items() for chunk, each in enumerate(receipt.checksums, group)
    )


def _damaged(where: object, what: str) -> DamagedError:
    return DamagedError(f"{where}: damaged archive, {what}; pack or send it again")
