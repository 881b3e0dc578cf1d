"""Copies of a bucket's stores on this disk, where they can be mapped: downloaded once, checked, kept up to date.

A copy is itself a cache, with the same rule: a group is there when its receipt is, and a receipt is written after
the chunks that it counts have been compared with its checksums. So an interrupted download resumes where it was. A
receipt with the size and the time of the bucket's is that one; others, and those whose chunks are missing or of
another size, are downloaded again. A copy of another generation is removed and made anew.
"""

import os
from functools import partial
from pathlib import Path

from cache.layout import feature_chunk_key
from cache.reader import Cache, Store, open_cache, store_names
from cache.receipts import (
    begun_with,
    checksum,
    chunk_files,
    done_groups,
    read_receipt,
    read_receipts,
    receipts_folder,
    withdraw,
    write_receipt,
)
from cache.storage import CacheError, DamagedError, File, LocalStorage, each
from cache.switch import require_space
from cache.tables import Tables
from cache.writer import writing
from common.progress import progress

_AT_A_TIME = 8  # groups that are in memory


def local_store(cache: Cache, store: Store, folder: Path) -> Store:
    """A store's copy below a folder, brought up to date, with the cache's tables.

    Args:
        cache: one in a bucket. store: one of its stores, complete.
        folder: for the copies of all caches; that of s3://BUCKET/PREFIX lies in BUCKET/PREFIX.
    Raises:
        CacheError: a chunk is not what its receipt says, or the store changes meanwhile.
        EarmarkError: the disk is too small. OSError: the bucket cannot be read, or the disk not be written.
    """
    with writing(folder / str(cache.storage).partition("://")[2], wait=True) as writer:
        copy = writer.storage / store.name
        if writer.tables.generation != cache.generation:
            for name in store_names(writer.storage):
                receipts_folder(writer.storage / name).remove_all()
                (writer.storage / name).remove_all()
            writer.tables = Tables(None, cache.plan, cache.generation)
        writer.write_tables(cache.clips, cache.plan)
        _download_groups(store, copy)
        receipts = read_receipts(copy)
        writer.update_store(store.specification, cache.plan, receipts, begun_with(receipts))
        found = open_cache(writer.storage).store(store.name)
    if found.identity != store.identity:
        raise CacheError(f"{store.storage}: was changed while it was downloaded; start again")
    return found


def _download_groups(store: Store, copy: LocalStorage) -> None:
    groups = {f"{group:06d}.json": group for group in sorted(done_groups(store.storage))}
    files = {file.key: file for file in receipts_folder(store.storage).files()}
    there = {group: files[key] for key, group in groups.items() if key in files}
    for group in done_groups(copy) - there.keys():
        withdraw(copy, group)
    here, chunks, chunk_bytes = read_receipts(copy), chunk_files(copy), store.specification.chunk_bytes

    def is_current(group: int) -> bool:
        found, file = receipts_folder(copy).look(there[group].key), there[group]
        if group not in here or found is None or (found.size, found.mtime_ns) != (file.size, file.mtime_ns):
            return False
        return all(chunks[chunk] == chunk_bytes for chunk in range(group, group + len(here[group].checksums)))

    missing = [group for group in there if not is_current(group)]
    ends = dict(zip(there, [*list(there)[1:], store.n_chunks], strict=True))  # of groups, where the next one begins
    n_bytes = chunk_bytes * sum(ends[group] - group for group in missing)
    require_space(copy.path(), n_bytes, "free some, or put the copy elsewhere with --work")
    with progress(store.name, n_bytes, "MB", 1e6) as steps:
        download = partial(_download_group, store, copy, there)
        for size in each(download, missing, store.storage, _AT_A_TIME):
            steps.advance(size)


def _download_group(store: Store, copy: LocalStorage, files: dict[int, File], group: int) -> int:
    """Read a group's chunks, compare them with its receipt's checksums, then keep the receipt; returns bytes."""
    withdraw(copy, group)
    receipt, size = read_receipt(store.storage, group), 0
    for chunk, expected in enumerate(receipt.checksums, start=group):
        key = feature_chunk_key(store.specification, chunk)
        data = store.storage.read(key)
        if (found := checksum(data)) != expected:
            advice = f"run `python -m cache verify --cache {store.storage.parent}`, then featurize"
            raise DamagedError(f"{store.storage}/{key}: chunk's checksum must be {expected}, got {found}; {advice}")
        copy.write(key, data)
        size += len(data)
    write_receipt(copy, receipt)
    os.utime(receipts_folder(copy).path(files[group].key), ns=2 * (files[group].mtime_ns,))
    return size
