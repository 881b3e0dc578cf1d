"""Folding: receipts become a store's arrays by slot, and a store's files are brought up to date.

The files that `zarr_files` makes are compared with those on disk and written where they differ, so folding is
idempotent, mends damaged metadata, and may be broken off anywhere.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from cache.ahead import each
from cache.errors import DamagedError
from cache.files import make_folder, write_changed
from cache.plan import n_chunks, slot_starts
from cache.receipts import Receipt, done_groups, read_body, receipts_folder
from cache.results import Results
from cache.specification import Specification
from cache.store import FORMAT, VERSION
from cache.zarr_files import SlotArrays, zarr_files


def read_receipts(store: Path) -> Results:
    """All sound receipts of a store by group; a damaged one counts as none, its group is to be done again."""
    return Results(_sound_bodies(store))


def begun_with(receipts: Mapping[int, Receipt]) -> dict[str, str]:
    """The versions of the libraries that a store was begun with, by its first receipt; none without one."""
    return receipts[min(receipts)].versions if receipts else {}


def fold(plan: pd.DataFrame, specification: Specification, results: Results) -> SlotArrays:
    """The arrays by slot that the receipts give; slots without one are pending."""
    n_slots = len(plan)
    slots = SlotArrays(
        start=slot_starts(plan, specification),
        length=np.zeros(n_slots, np.int64),
        status=np.zeros(n_slots, np.uint8),
        value=np.zeros(n_slots, np.float32),
    )
    known = results.column("slot") < n_slots
    index = results.column("slot")[known]
    for name in ("length", "status", "value"):
        getattr(slots, name)[index] = results.column(name)[known]
    return slots


def store_files(
    plan: pd.DataFrame, specification: Specification, receipts: Mapping[int, Receipt], versions: dict[str, str]
) -> dict[str, bytes]:
    """A store's files as plan and receipts have them, by key, in the order to write them in."""
    results = receipts if isinstance(receipts, Results) else Results.of(receipts.values())
    attributes = {
        "format": FORMAT,
        "format_version": VERSION,
        "specification": specification.to_dict(),
        "versions": versions,
        "receipts": {"n": len(results), "checksum": results.checksum},
    }
    return zarr_files(specification, fold(plan, specification, results), n_chunks(plan), attributes)


def bring_up_to_date(store: Path, files: dict[str, bytes], durable: bool = False) -> None:
    """Write those of a store's files that differ; durable: as in `write_atomic`."""
    if durable:  # else a job could find a folder that another has just made and not synced yet
        make_folder(store / "features" / "c", durable)
        make_folder(receipts_folder(store), durable)
    write_changed(store, files, durable)


def _sound_bodies(store: Path) -> Iterator[dict]:
    bodies = each(lambda group: _sound_body(store, group), sorted(done_groups(store)), store)
    return (body for body in bodies if body is not None)


def _sound_body(store: Path, group: int) -> dict | None:
    try:
        return read_body(store, group)
    except DamagedError:
        return None
