"""Receipts: a chunk is done when its receipt exists.

One small JSON file for each group and store, in `NAME.receipts/` beside `NAME.zarr/`, written after the group's
chunks by an atomic rename. It holds the chunks' checksums, what became of each slot, the versions of the
libraries that computed it, and last of all the checksum of the file up to there, so that any other byte shows.
"""

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

import xxhash

from cache.errors import CacheError, DamagedError
from cache.files import write_atomic
from cache.places import on_disk
from cache.signed import signed, unsigned

if TYPE_CHECKING:
    from cache.places import Place

VERSION = 2


class Status(IntEnum):
    """What became of a slot in a store; the numbers are those in the store's `status` array."""

    PENDING = 0
    OK = 1
    TRUNCATED = 2  # less data than the header claims, used as far as it goes
    EMPTY = 3  # no samples, or too few for one at the store's rate
    FAILED = 4  # could not be decoded; the receipt has the reason


@dataclass(frozen=True)
class SlotResult:
    """One slot's result: length in samples or frames; value is the scale (raw) or the silence (mfcc).

    retry: the reason was an I/O error, so the next run tries again.
    """

    slot: int
    digest: str
    status: Status
    length: int = 0
    value: float = 0.0
    reason: str = ""
    retry: bool = False


@dataclass(frozen=True)
class Receipt:
    """One group's result in one store; checksums are xxh3-64 of the group's chunk files, in order."""

    group: int
    checksums: tuple[str, ...]
    slots: tuple[SlotResult, ...]
    versions: dict[str, str]


def checksum(data: bytes | memoryview) -> str:
    """The xxh3-64 of some bytes, 16 hexadecimal digits."""
    return f"{xxhash.xxh3_64_intdigest(data):016x}"


def receipts_folder(store: Path) -> Path:
    """Where a store's receipts lie."""
    return store.with_suffix(".receipts")


def receipt_path(store: Path, group: int) -> Path:
    """A receipt's file."""
    return receipts_folder(store) / f"{group:06d}.json"


def write_receipt(store: Path, receipt: Receipt, durable: bool = False) -> None:
    """Write a receipt; from here on the group's chunks are done. durable: as in `write_atomic`."""
    body = {"earmark": "receipt", "version": VERSION, **asdict(receipt)}
    write_atomic(receipt_path(store, receipt.group), signed(body), durable)


def read_receipt(store: Path, group: int) -> Receipt:
    """Read a receipt.

    Raises:
        CacheError: damaged or newer. FileNotFoundError: the group is not done.
    """
    body = read_body(store, group)
    slots = tuple(SlotResult(**{**slot, "status": Status(slot["status"])}) for slot in body["slots"])
    return Receipt(group, tuple(body["checksums"]), slots, body["versions"])


def read_body(store: Path, group: int) -> dict:
    """Read a receipt as plain values: the fields of `Receipt`, its slots as dicts of those of `SlotResult`.

    Raises:
        CacheError: damaged or newer. FileNotFoundError: the group is not done.
    """
    path = receipt_path(store, group)
    return body_of(path.read_bytes(), path)


def body_of(data: bytes, path: "Place") -> dict:
    """The plain values that the bytes of the receipt at path hold.

    Raises:
        CacheError: damaged or newer.
    """
    try:
        body = unsigned(data)
        if body["version"] > VERSION:
            version = body["version"]
            raise CacheError(
                f"{path}: format version must be at most {VERSION}, got {version}; update earmark to read it"
            )
        if f"{body['group']:06d}" != path.stem:
            raise ValueError(f"it is that of group {body['group']}")
        return body
    except CacheError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"{path}: damaged receipt ({error}); run featurize to make its chunk again") from error


def done_groups(store: Path) -> set[int]:
    """The groups that have a receipt."""
    stems = (name.removesuffix(".json") for name in _names(receipts_folder(store)) if name.endswith(".json"))
    return {int(stem) for stem in stems if stem.isdecimal() and stem == f"{int(stem):06d}"}


def _names(folder: "Place") -> Iterable[str]:
    if not on_disk(folder):
        return (path.name for path in folder.iterdir())
    return os.listdir(folder) if folder.exists() else []  # a quarter of the time that its paths take


def withdraw(store: Path, group: int) -> None:
    """Take a receipt back: the group's chunks count as not done."""
    receipt_path(store, group).unlink(missing_ok=True)
