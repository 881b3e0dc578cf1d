"""Whole files, written atomically: a reader sees the old bytes or the new ones, never a part.

Every byte of a cache goes through `write_atomic`. On a disk it writes `NAME.RANDOM.partial` and renames it; a
process that is killed in between leaves the `.partial` file, which the next writer sweeps away. In a bucket a put
is all.

A write that must be durable, against a loss of power, comes back when its bytes and its name are on the disk: the
file is synced before it gets its name, and the folder, with all that were made for it, after. Order follows: what
is written after a durable write is never on the disk without it.
"""

import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cache.ahead import each
from cache.places import on_disk

if TYPE_CHECKING:
    from cache.places import Place

PARTIAL = ".partial"


def write_atomic(path: "Place", data: bytes | memoryview, durable: bool = False) -> None:
    """Write data to path, whole or not at all; folders are made as needed.

    Args:
        durable: come back when the data is on the disk.
    """
    if not on_disk(path):
        path.write_bytes(data)
        return
    make_folder(path.parent, durable)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}{PARTIAL}")  # two may write one file at a time
    try:
        with open(partial, "wb", buffering=0) as file:
            view = memoryview(data).cast("B")
            while len(view):  # an unbuffered write may stop short, at 2 GiB on Linux for one
                view = view[file.write(view) :]
            if durable:
                os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    if durable:
        _sync_folder(path.parent)


def make_folder(folder: "Place", durable: bool = False) -> None:
    """Make a folder and those above it that are not there; durable: come back when their names are on the disk."""
    if not on_disk(folder):
        return
    made = [path for path in (folder, *folder.parents) if durable and not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in reversed(made):
        _sync_folder(path.parent)


def write_if_changed(path: "Place", data: bytes, durable: bool = False) -> None:
    """Write data to path unless the file holds just these bytes."""
    if not holds(path, data):
        write_atomic(path, data, durable)


def write_changed(folder: "Place", files: dict[str, bytes], durable: bool = False) -> None:
    """Write those files, by their keys below folder, that do not hold just their bytes; in their order."""
    for key in differing(folder, files):
        write_atomic(folder / key, files[key], durable)


def differing(folder: "Place", files: dict[str, bytes]) -> list[str]:
    """The keys of those files below folder that do not hold just these bytes, in their order."""
    same = each(lambda key: holds(folder / key, files[key]), files, folder)
    return [key for key, is_same in zip(files, same, strict=True) if not is_same]


def holds(path: "Place", data: bytes) -> bool:
    """Whether a file is there and holds just these bytes."""
    if on_disk(path):
        return path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data
    try:
        return path.read_bytes() == data
    except FileNotFoundError:
        return False


def sweep_partials(folder: "Place") -> None:
    """Remove what writers that were killed have left anywhere below folder; in a bucket they leave nothing."""
    for path in list(_partials(folder) if on_disk(folder) else ()):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)  # its writer may be alive


def remove_folder(folder: "Place") -> None:
    """Remove a folder and all that is below it."""
    if on_disk(folder):
        shutil.rmtree(folder)
        return
    for _ in each(lambda item: item[0].unlink(missing_ok=True), folder.objects(), folder):
        pass


def folder_bytes(folder: "Place") -> int:
    """Size of all files below folder, in bytes; a writer may be at work there."""
    if not on_disk(folder):
        return sum(stat.st_size for _, stat in folder.objects())
    return sum(_size(Path(root) / name) for root, _, names in os.walk(folder) for name in names)


def _sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _partials(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        yield from (Path(root) / name for name in (*folders, *names) if name.endswith(PARTIAL))
        folders[:] = [name for name in folders if not name.endswith(PARTIAL)]  # they go whole
