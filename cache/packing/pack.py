"""Packing: a compressed copy of stores for travelling, and the mapped form made of it again.

A packed store is valid Zarr v3, chunk by chunk the same array, with Blosc (zstd) behind the bytes; its receipts,
clip table and plan are the cache's. Unpacking compares every chunk with the checksum that its receipt has of the
uncompressed bytes, and makes metadata and arrays by slot anew from plan and receipts, so that the result is the
cache's files, byte for byte. See `cache.packing.package` for what a package says of itself.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numcodecs import blosc
from zarr.codecs import BloscCodec

from cache import clips, plan
from cache.errors import CacheError, DamagedError
from cache.files import write_atomic
from cache.fold import begun_with, bring_up_to_date, read_receipts, store_files
from cache.folder import Cache
from cache.packing.package import PackedStore, read_manifest, write_manifest
from cache.plan import read_plan
from cache.receipts import checksum, receipt_path
from cache.results import Results
from cache.sound import read_sound_chunk
from cache.specification import Specification, from_dict
from cache.store import PACKED_FORMAT, Store
from cache.tables import copy_path, table_bytes
from cache.zarr_files import feature_chunk_key

# On 400 recordings of ESC-10, level 5 of bitshuffle makes raw 1.48 and MFCC 1.33 times smaller at 245 and 336 MB/s
# on two cores; level 5 of byte shuffle 1.47 and 1.41 times at 79 and 97 MB/s, level 7 takes at least twice as long.
_LEVEL = 5
Progress = Callable[[int], None]  # takes the bytes of chunks, uncompressed, that are done


def pack(cache: Cache, stores: list[Path], folder: Path, on_bytes: Progress = lambda n_bytes: None) -> None:
    """Write a package of some of a cache's stores into an empty folder.

    Raises:
        CacheError: a table or store is damaged, foreign, newer or incomplete.
    """
    packed, done = {}, 0
    for path in stores:
        store = _complete(cache, path)
        receipts = read_receipts(path)
        for group, receipt in receipts.items():
            for chunk in range(group, group + len(receipt.checksums)):
                data = read_sound_chunk(store.chunk_path(chunk), receipt, chunk)
                key = feature_chunk_key(store.specification, chunk)
                write_atomic(folder / path.name / key, _compress(data, store.specification))
                done += len(data)
                on_bytes(done)
            write_atomic(receipt_path(folder / path.name, group), receipt_path(path, group).read_bytes())
        files = store_files(cache.plan, store.specification, receipts, begun_with(receipts))
        bring_up_to_date(folder / path.name, _packed_files(files, store.specification))
        packed[path.name] = PackedStore(store.specification.to_dict(), _identity(receipts))
    for name in (clips.FILE_NAME, plan.FILE_NAME):
        write_atomic(folder / name, (cache.path / name).read_bytes())
    write_manifest(folder, packed)


def unpack(package: Path, folder: Path, on_bytes: Progress = lambda n_bytes: None) -> None:
    """Make the cache that was packed anew in an empty folder.

    Raises:
        CacheError: no package, or a damaged or newer one.
    """
    packed, done = read_manifest(package), 0
    for name in (plan.FILE_NAME, clips.FILE_NAME):
        data = table_bytes(package / name)
        if data is None:
            raise _damaged(package / name, "the table's checksum does not match")
        write_atomic(copy_path(folder / name), data)
        write_atomic(folder / name, data)
    slots = read_plan(folder)
    for name, store in packed.items():
        specification, receipts = from_dict(store.specification), _receipts(package / name, store)
        for group, receipt in receipts.items():
            for chunk in range(group, group + len(receipt.checksums)):
                key = feature_chunk_key(specification, chunk)
                data = _decompress(package / name / key, specification)
                if checksum(data) != receipt.checksums[chunk - group]:
                    raise _damaged(package / name / key, "the chunk's checksum does not match")
                write_atomic(folder / name / key, data)
                done += len(data)
                on_bytes(done)
            write_atomic(receipt_path(folder / name, group), receipt_path(package / name, group).read_bytes())
        bring_up_to_date(folder / name, store_files(slots, specification, receipts, begun_with(receipts)))


def unpacked_bytes(package: Path) -> int:
    """Bytes of all chunks of a package once it is unpacked.

    Raises:
        CacheError: no package, or a damaged or newer one.
    """
    return sum(
        from_dict(store.specification).chunk_bytes
        * sum(len(receipt.checksums) for receipt in _receipts(package / name, store).values())
        for name, store in read_manifest(package).items()
    )


def _complete(cache: Cache, path: Path) -> Store:
    store = Store(path)
    if len(missing := cache.missing(store)):
        raise CacheError(
            f"{path}: must be complete, got {len(missing)} of {len(cache.clips)} clips missing; run featurize first"
        )
    return store


def _receipts(path: Path, store: PackedStore) -> Results:
    receipts = read_receipts(path)
    if _identity(receipts) != store.receipts:
        n_lost = store.receipts["n"] - len(receipts)
        raise _damaged(path.with_suffix(".receipts"), f"{n_lost} of {store.receipts['n']} receipts missing or bad")
    return receipts


def _identity(receipts: Results) -> dict:
    return {"n": len(receipts), "checksum": receipts.checksum}


def _packed_files(files: dict[str, bytes], specification: Specification) -> dict[str, bytes]:
    """A store's metadata and arrays by slot as a packed one's: another format, and one more codec for features."""
    packed = dict(files)
    for key in ("features/zarr.json", "zarr.json"):
        metadata = json.loads(files[key])
        metadata["attributes"]["format"] = PACKED_FORMAT
        if "codecs" in metadata:
            metadata["codecs"].append(_codec(specification).to_dict())
        packed[key] = json.dumps(metadata, indent=2).encode()
    return packed


def _codec(specification: Specification) -> BloscCodec:
    typesize = np.dtype(specification.dtype).itemsize
    return BloscCodec(typesize=typesize, cname="zstd", clevel=_LEVEL, shuffle="bitshuffle", blocksize=0)


def _compress(data: bytes, specification: Specification) -> bytes:
    array = np.frombuffer(data, specification.dtype)  # its item size is what Blosc shuffles by
    return blosc.compress(array, b"zstd", _LEVEL, blosc.BITSHUFFLE, 0)


def _decompress(path: Path, specification: Specification) -> bytes:
    """A packed chunk's bytes; a frame whose header is not that of just this chunk and file is not opened.

    Blosc's header: format and flags (4 bytes), then uncompressed size, block size and compressed size (uint32).
    """
    expected = specification.chunk_bytes
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise _damaged(path, "the chunk is missing") from error
    sizes = np.frombuffer(data[4:16].ljust(12, b"\0"), "<u4")
    if (sizes[0], sizes[2]) != (expected, len(data)):
        raise _damaged(path, f"the chunk must hold {expected} bytes and be whole")
    try:
        return blosc.decompress(data)
    except RuntimeError as error:
        raise _damaged(path, "the chunk cannot be decompressed") from error


def _damaged(path: Path, what: str) -> DamagedError:
    return DamagedError(f"{path}: damaged package, {what}; send or pack it again")
