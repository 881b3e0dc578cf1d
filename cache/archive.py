"""Archives: a compressed copy of stores for travelling, and the cache made of it again.

An archive is a folder. Its stores are valid Zarr v3, the cache's chunks with Blosc behind their bytes; receipts,
clip table and plan are the cache's own. `manifest.json`, written last, holds the cache's as text, and of each store
the specification, which names it, and the checksum over its receipts.

Unpacking compares every chunk with the checksum that its receipt has of the uncompressed bytes, and makes metadata
and arrays by slot anew from plan and receipts, so the result is the cache's files, byte for byte. Nothing that an
archive says is believed unchecked: Blosc is called directly, as zarr would allocate whatever a chunk's header says.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
from numcodecs import Blosc

from cache.layout import feature_chunk_key, store_files
from cache.reader import Cache
from cache.receipts import Receipts, begun_with, checksum, read_receipts, signed, unsigned, write_receipt
from cache.specification import Specification, from_dict
from cache.storage import CacheError, DamagedError, LocalStorage, Storage, each
from cache.switch import new_folder, require_space
from cache.tables import CLIPS, MANIFEST, PLAN, Tables, read_tables, write_tables
from common.progress import progress

VERSION = 3
FORMAT = "earmark-archived-store"
# On 400 recordings of ESC-10, level 5 of bitshuffle makes raw 1.48 and MFCC 1.33 times smaller at 245 and 336 MB/s
# on two cores; level 5 of byte shuffle 1.47 and 1.41 times at 79 and 97 MB/s, level 7 takes at least twice as long.
_CODEC = Blosc("zstd", 5, Blosc.BITSHUFFLE)
_AT_A_TIME = 4  # chunks of an archive in a bucket that are in memory
_MOST_BYTES = 1 << 24  # of a manifest that is read


class _Manifest(msgspec.Struct):
    manifest: str  # the cache's
    stores: list[tuple[dict, str]]  # specification, checksum over the receipts


def pack(cache: Cache, names: list[str], target: Path) -> tuple[int, int]:
    """Write an archive of some of a cache's stores, as they were opened.

    Args:
        target: a folder that is missing or empty.
    Returns:
        bytes of the chunks before and after compression.
    Raises:
        CacheError: a store is damaged or incomplete. EarmarkError: target is not empty.
    """
    stores = [cache.open_store(name.partition("-")[0], store=name) for name in names]  # refuses incomplete ones
    said, before, after = [], 0, 0
    n_bytes = sum(store.specification.chunk_bytes * store.n_chunks for store in stores)
    with new_folder(target) as folder, progress("pack", n_bytes, "MB", 1e6) as steps:
        archive = LocalStorage(folder)
        write_tables(archive, cache.clips, cache.plan, cache.generation)
        for store in stores:
            specification, receipts = store.specification, read_receipts(store.storage, cache.plan)
            for key, expected in _chunks(specification, receipts):
                data = store.storage.read(key, specification.chunk_bytes + 1)
                if checksum(data) != expected:
                    store.check_current()
                    advice = "run `python -m cache verify`, then featurize"
                    raise DamagedError(f"{store.storage}/{key}: damaged chunk; {advice}")
                small = _CODEC.encode(np.frombuffer(data, specification.dtype))  # shuffles bits by size of item
                (archive / store.name).write(key, small)
                before, after = before + len(data), after + len(small)
                steps.advance(len(data))
            _write_rest(archive / store.name, specification, receipts, cache, packed=True)
            said.append((specification.to_dict(), receipts.checksum))
        body = {"manifest": archive.read(MANIFEST).decode(), "stores": said}
        archive.write(MANIFEST, signed({"earmark": "archive", "version": VERSION, **body}))
    return before, after


def unpack(archive: Storage, target: Path) -> int:
    """Make the cache that was packed; returns the bytes of its chunks.

    Args:
        target: a folder that is missing or empty.
    Raises:
        CacheError: there is no archive, or a damaged one, or one of another version.
        EarmarkError: target is not empty, or its disk too small.
    """
    if MANIFEST not in archive.names():
        raise CacheError(f"{archive}: no archive here; give a folder that `python -m cache pack` made")
    with _damage_told(f"{archive}/{MANIFEST}"):
        body = unsigned(archive.read(MANIFEST, _MOST_BYTES))
        if body.get("earmark") != "archive":
            raise CacheError(f"{archive}: must be an archive, got a cache; `python -m cache pack` makes archives")
        if (found := body.get("version")) != VERSION:
            rule = f"version must be {VERSION}, got {found!s:.20}; update earmark, or pack it again"
            raise CacheError(f"{archive}/{MANIFEST}: {rule}")
        manifest = msgspec.convert(body, _Manifest)
        stores = [(from_dict(specification), digits) for specification, digits in manifest.stores]
    with new_folder(target) as folder:
        cache, found, n_bytes = LocalStorage(folder), [], 0
        for name in (PLAN, CLIPS):
            with _damage_told(f"{archive}/{name}"):
                cache.write(name, archive.read(name))
        cache.write(MANIFEST, manifest.manifest.encode(errors="replace"))
        try:
            tables = read_tables(cache)
        except CacheError as error:
            raise _damaged(archive, "its tables do not fit its manifest") from error
        for specification, digits in stores:
            packed = archive / specification.name
            receipts = read_receipts(packed, tables.plan, lost_chunks=True)
            if receipts.checksum != digits:
                raise _damaged(packed, "some of its receipts are missing or damaged")
            found.append((specification, receipts))
            n_bytes += specification.chunk_bytes * len(list(_chunks(specification, receipts)))
        require_space(folder, n_bytes, "free some, or give another folder")
        with progress("unpack", n_bytes, "MB", 1e6) as steps:
            for specification, receipts in found:
                name, chunks = specification.name, _chunks(specification, receipts)
                unpacked = partial(_unpacked, archive / name, specification.chunk_bytes)
                for key, data in each(unpacked, chunks, archive, threads=_AT_A_TIME):
                    (cache / name).write(key, data)
                    steps.advance(len(data))
                _write_rest(cache / name, specification, receipts, tables)
    return n_bytes


def _unpacked(packed: Storage, n_bytes: int, chunk: tuple[str, str]) -> tuple[str, bytes]:
    """Key and bytes of a chunk, given key and checksum, if its header is that of just this chunk and file.

    Blosc's header: format and flags (4 bytes), then uncompressed size, block size and compressed size (uint32).
    """
    key, expected = chunk
    with _damage_told(f"{packed}/{key}"):
        data = packed.read(key, n_bytes + (1 << 16))
        sizes = np.frombuffer(data[4:16].ljust(12, b"\0"), "<u4")
        if (sizes[0], sizes[2]) != (n_bytes, len(data)):
            raise ValueError(f"the chunk must hold {n_bytes} bytes and be whole")
        data = _CODEC.decode(data)
        if checksum(data) != expected:
            raise ValueError("the chunk's checksum does not match")
    return key, data


def _write_rest(
    store: Storage, specification: Specification, receipts: Receipts, tables: Tables | Cache, packed: bool = False
) -> None:
    """Write receipts, metadata and arrays by slot; packed: with an archive's format and codec."""
    for receipt in receipts.values():
        write_receipt(store, receipt)
    files = store_files(tables.plan, specification, receipts, begun_with(receipts), tables.generation)
    for key in ("features/zarr.json", "zarr.json") if packed else ():
        metadata = json.loads(files[key])
        metadata["attributes"]["format"] = FORMAT
        if "codecs" in metadata:
            options = {"cname": _CODEC.cname, "clevel": _CODEC.clevel, "shuffle": "bitshuffle", "blocksize": 0}
            options["typesize"] = np.dtype(specification.dtype).itemsize
            metadata["codecs"].append({"name": "blosc", "configuration": options})
        files[key] = json.dumps(metadata, indent=2).encode()
    for key, data in files.items():
        store.write(key, data)


def _chunks(specification: Specification, receipts: Receipts) -> Iterator[tuple[str, str]]:
    """Key and checksum of each chunk that receipts count."""
    for group, receipt in receipts.items():
        for chunk, digits in enumerate(receipt.checksums, group):
            yield feature_chunk_key(specification, chunk), digits


@contextmanager
def _damage_told(where: str) -> Iterator[None]:
    """Tell of what goes wrong as of a damaged archive."""
    try:
        yield
    except CacheError:
        raise
    except (ValueError, RuntimeError, OSError) as error:
        is_missing = isinstance(error, FileNotFoundError)
        raise _damaged(where, "the file is missing" if is_missing else f"{error!s:.80}") from error


def _damaged(where: object, what: str) -> DamagedError:
    return DamagedError(f"{where}: damaged archive, {what}; pack or send it again")
