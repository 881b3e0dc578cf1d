"""Copies of a bucket's stores on this disk, where they can be mapped: downloaded once, checked, kept up to date.

A copy is itself a cache, with the same rule: a group is there when its receipt is, and a receipt is written after
the chunks that it counts have been compared with its checksums. So an interrupted download resumes where it was.
Groups whose receipts differ from the bucket's, or whose chunks are missing or of another size, are downloaded
again. A copy of another generation is removed and made anew.
"""

from functools import partial
from pathlib import Path

import numpy as np

from cache.layout import by_slot, counted_chunks
from cache.reader import Cache, open_cache, store_names
from cache.receipts import (
    Receipt,
    Receipts,
    begun_with,
    chunk_files,
    done_groups,
    read_receipts,
    receipts_folder,
    withdraw,
    write_receipt,
)
from cache.storage import CacheError, LocalStorage, each
from cache.store import Store
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
        CacheError: a chunk is not what its receipt says, or the store is not what was opened any more.
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
        receipts = _download(store, copy)
        writer.update_store(store.specification, cache.plan, receipts, begun_with(receipts))
        return open_cache(writer.storage).store(store.name)


def _download(store: Store, copy: LocalStorage) -> Receipts:
    """Bring the copy's chunks and receipts up to date; returns the receipts."""
    here = read_receipts(copy)
    status = by_slot(here, "status", len(store.status), np.uint8)
    is_same = here.checksum == store.identity["checksum"] and np.array_equal(status, store.status)
    there = here if is_same else read_receipts(store.storage)
    if there.checksum != store.identity["checksum"]:
        what = "its receipts are not those that were opened; start again, or run"
        raise CacheError(f"{store.storage}: {what} `python -m cache verify --cache {store.storage.parent}`")
    for group in done_groups(copy) - there.keys():
        withdraw(copy, group)
    chunk_bytes = store.specification.chunk_bytes
    whole = {chunk for chunk, size in chunk_files(copy).items() if size == chunk_bytes}

    def is_current(receipt: Receipt) -> bool:
        chunks = range(receipt.group, receipt.group + len(receipt.checksums))
        return here.get(receipt.group) == receipt and whole.issuperset(chunks)

    missing = [group for group, receipt in there.items() if not is_current(receipt)]
    n_bytes = chunk_bytes * sum(len(there[group].checksums) for group in missing)
    require_space(copy.path(), n_bytes, "free some, or put the copy elsewhere with --work")
    with progress(store.name, n_bytes, "MB", 1e6) as steps:
        for size in each(partial(_download_group, store, copy, there), missing, store.storage, _AT_A_TIME):
            steps.advance(size)
    return there


def _download_group(store: Store, copy: LocalStorage, receipts: Receipts, group: int) -> int:
    """Read a group's chunks, compare them with its receipt's checksums, then keep the receipt; returns bytes."""
    withdraw(copy, group)
    receipt, size = receipts[group], 0
    for key, expected in counted_chunks(store.specification, receipt):
        data = store.read_chunk(key, expected)
        copy.write(key, data)
        size += len(data)
    write_receipt(copy, receipt)
    return size
