"""Folding: receipts become a store's arrays by slot, and a store's files are brought up to date.

The files that `zarr_files` makes are compared with those on disk and written where they differ, so folding is
idempotent, mends damaged metadata, and may be broken off anywhere.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import xxhash

from cache.errors import DamagedError
from cache.files import write_if_changed
from cache.plan import n_chunks, slot_starts
from cache.receipts import Receipt, done_groups, read_receipt
from cache.specification import Specification
from cache.store import FORMAT, VERSION
from cache.zarr_files import SlotArrays, zarr_files


def read_receipts(store: Path) -> dict[int, Receipt]:
    """All sound receipts of a store by group; a damaged one counts as none, its group is to be done again."""
    receipts = {}
    for group in sorted(done_groups(store)):
        try:
            receipts[group] = read_receipt(store, group)
        except DamagedError:
            continue
    return receipts


def fold(plan: pd.DataFrame, specification: Specification, receipts: Iterable[Receipt]) -> SlotArrays:
    """The arrays by slot that the receipts give; slots without one are pending."""
    n_slots = len(plan)
    slots = SlotArrays(
        start=slot_starts(plan, specification),
        length=np.zeros(n_slots, np.int64),
        status=np.zeros(n_slots, np.uint8),
        value=np.zeros(n_slots, np.float32),
    )
    results = [result for receipt in receipts for result in receipt.slots if result.slot < n_slots]
    index = np.array([result.slot for result in results], np.int64)
    slots.length[index] = [result.length for result in results]
    slots.status[index] = [result.status for result in results]
    slots.value[index] = [result.value for result in results]
    return slots


def store_files(
    plan: pd.DataFrame, specification: Specification, receipts: dict[int, Receipt], versions: dict[str, str]
) -> dict[str, bytes]:
    """A store's files as plan and receipts have them, by key, in the order to write them in."""
    done = xxhash.xxh3_64()
    for group, receipt in sorted(receipts.items()):
        done.update(f"{group} {receipt.checksums} {[(slot.slot, slot.digest) for slot in receipt.slots]}".encode())
    attributes = {
        "format": FORMAT,
        "format_version": VERSION,
        "specification": specification.to_dict(),
        "versions": versions,
        "receipts": {"n": len(receipts), "checksum": done.hexdigest()},
    }
    return zarr_files(specification, fold(plan, specification, receipts.values()), n_chunks(plan), attributes)


def bring_up_to_date(store: Path, files: dict[str, bytes]) -> None:
    """Write those of a store's files that differ on disk."""
    for key, data in files.items():
        write_if_changed(store / key, data)
