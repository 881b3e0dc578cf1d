"""A package: a cache packed for travelling, its chunks compressed, and what it says of itself.

`packed.json` is written last, so that a folder without it is no package yet. It names the stores, each with its
specification and with the number and the checksum of its receipts, and ends with a checksum of itself. The
stores are valid Zarr v3 with Blosc-compressed chunks; clip table, plan and receipts are those of the cache.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

from cache.errors import CacheError, DamagedError
from cache.files import write_atomic
from cache.signed import signed, unsigned

VERSION = 1
MANIFEST = "packed.json"


@dataclass(frozen=True)
class PackedStore:
    """A store of a package: its specification as plain values, and how many receipts with which checksum."""

    specification: dict
    receipts: dict


def is_package(folder: Path) -> bool:
    """Whether a folder is a package."""
    return (folder / MANIFEST).is_file()


def write_manifest(folder: Path, stores: dict[str, PackedStore]) -> None:
    """Say what a package holds, by the stores' names; from here on it is one."""
    named = {name: asdict(store) for name, store in stores.items()}
    write_atomic(folder / MANIFEST, signed({"earmark": "package", "version": VERSION, "stores": named}))


def read_manifest(folder: Path) -> dict[str, PackedStore]:
    """The stores of a package by their names.

    Raises:
        CacheError: no package, or a damaged or newer one.
    """
    path = folder / MANIFEST
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise CacheError(f"{folder}: must be what `python -m cache pack` made, got no {MANIFEST} there") from error
    try:
        body = unsigned(data)
    except ValueError as error:
        raise DamagedError(f"{path}: damaged package ({error}); send or pack it again") from error
    if body["version"] > VERSION:
        version = body["version"]
        raise CacheError(
            f"{path}: format version must be at most {VERSION}, got {version}; update earmark to read it"
        )
    return {name: PackedStore(**store) for name, store in body["stores"].items()}
