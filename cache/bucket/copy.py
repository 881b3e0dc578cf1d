"""Copies of stores in a bucket on this disk, where they can be mapped: brought once, checked, brought up to date.

A copy is itself a cache, with the same rule: a group is there when its receipt is, and a receipt is written after
the chunks that it counts have been compared with its checksums. So a copy that broke off goes on where it was, and
nothing is half trusted. A receipt that has the size and the time of the bucket's is that one; others, and those
whose chunks are missing or of another size, are brought again.
"""

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cache import clips, plan
from cache.ahead import each
from cache.errors import CacheError, DamagedError
from cache.files import write_atomic, write_changed
from cache.fold import read_receipts
from cache.folder import Cache
from cache.lock import writing
from cache.progress import reading_progress
from cache.receipts import Receipt, body_of, checksum, done_groups, receipt_path, receipts_folder, withdraw
from cache.store import Store, bucket_files
from cache.tables import COPIES
from cache.zarr_files import feature_chunk_key

if TYPE_CHECKING:
    from cache.bucket.objects import ObjectPath, ObjectStat

_AT_A_TIME = 8  # groups that are in memory


def local_store(cache: Cache, store: Store, folder: Path) -> Store:
    """A store's copy below folder, brought up to date; the cache's tables come along.

    Args:
        cache: one in a bucket. store: one of its stores, complete.
        folder: for copies of all caches; that of s3://BUCKET/PREFIX lies in BUCKET/PREFIX.
    Raises:
        CacheError: a chunk is not what its receipt says, the disk is too small, or the store changed meanwhile.
        OSError: the bucket cannot be read, or the disk not be written.
    """
    copy = folder / cache.path.bucket / cache.path.key
    with writing(copy, wait=True):
        _bring_groups(store, copy / store.name)
        write_changed(copy, _tables(cache.path))
        write_changed(copy / store.name, bucket_files(store.path, store.specification))
        return _whole(store, copy / store.name)


def _bring_groups(store: Store, copy: Path) -> None:
    there = _receipts(store.path)
    for group in done_groups(copy) - there.keys():
        withdraw(copy, group)
    here = read_receipts(copy)
    lacking = [
        group
        for group, stat in there.items()
        if group not in here or not _is_current(copy, group, stat) or not _has_chunks(store, copy, here[group])
    ]
    n_bytes = _most_bytes(store, sorted(there), lacking)
    _check_space(copy, n_bytes)
    done = 0
    with reading_progress(store.name, n_bytes) as advance_to:
        bring = each(lambda group: _bring_group(store, copy, group), lacking, store.path, threads=_AT_A_TIME)
        for size in bring:
            done += size
            advance_to(done)


def _bring_group(store: Store, copy: Path, group: int) -> int:
    """Bring a group's chunks, compare them with the receipt's checksums, then keep the receipt; returns bytes."""
    withdraw(copy, group)
    data, stat = receipt_path(store.path, group).read()
    size = 0
    for chunk, expected in enumerate(body_of(data, receipt_path(store.path, group))["checksums"], start=group):
        key = feature_chunk_key(store.specification, chunk)
        read = (store.path / key).read_bytes()
        if (found := checksum(read)) != expected:
            raise DamagedError(
                f"{store.path / key}: chunk's checksum must be {expected}, got {found}; "
                f"run `python -m cache verify --cache {store.path.parent}`, then featurize"
            )
        write_atomic(copy / key, read)
        size += len(read)
    path = receipt_path(copy, group)
    write_atomic(path, data)
    os.utime(path, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
    return size


def _receipts(store: "ObjectPath") -> dict[int, "ObjectStat"]:
    """What the bucket says of each receipt of a store, by group."""
    folder = receipts_folder(store)
    stats = {path: stat for path, stat in folder.objects() if path.parent == folder and path.stem.isdecimal()}
    return {int(path.stem): stat for path, stat in sorted(stats.items())}


def _is_current(copy: Path, group: int, stat: "ObjectStat") -> bool:
    found = receipt_path(copy, group).stat()
    return (found.st_size, found.st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)


def _has_chunks(store: Store, copy: Path, receipt: Receipt) -> bool:
    paths = [
        copy / feature_chunk_key(store.specification, chunk)
        for chunk in range(receipt.group, receipt.group + len(receipt.checksums))
    ]
    return all(path.is_file() and path.stat().st_size == store.specification.chunk_bytes for path in paths)


def _most_bytes(store: Store, groups: list[int], lacking: list[int]) -> int:
    """Bytes of the chunks of the groups that are lacking; the chunks of a group end where the next one begins."""
    n_chunks = dict(zip(groups, np.diff([*groups, store.n_chunks]).tolist(), strict=True))
    return store.specification.chunk_bytes * sum(n_chunks[group] for group in lacking)


def _check_space(copy: Path, n_bytes: int) -> None:
    copy.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(copy).free
    if n_bytes > free:
        raise CacheError(
            f"{copy}: free disk must be at least {n_bytes / 1e6:,.1f} MB for a copy of the store, "
            f"got {free / 1e6:,.1f} MB; free some, or put the copy elsewhere with --work"
        )


def _tables(cache: "ObjectPath") -> dict[str, bytes]:
    """The files of clip table and plan by key, copies first, as they are written."""
    names = (clips.FILE_NAME, plan.FILE_NAME)
    paths = {
        **{f"{COPIES}/{name}": cache / COPIES / name for name in names},
        **{name: cache / name for name in names},
    }
    return {key: path.read_bytes() for key, path in paths.items() if path.is_file()}


def _whole(store: Store, copy: Path) -> Store:
    """The copy, unless its metadata count other receipts than were brought."""
    found = Store(copy)
    if found.attributes["receipts"]["checksum"] != read_receipts(copy).checksum:
        raise CacheError(f"{store.path}: must stay as it is while it is brought, got a change; run the same again")
    return found
