"""Whole files, written atomically: a reader sees the old bytes or the new ones, never a part.

Every byte of a cache goes through `write_atomic`: it writes `NAME.partial` and renames it. A process that is
killed in between leaves the `.partial` file, which the next writer sweeps away.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

PARTIAL = ".partial"


def write_atomic(path: Path, data: bytes | memoryview) -> None:
    """Write data to path by way of a temporary file and a rename; folders are made as needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + PARTIAL)
    try:
        with open(partial, "wb", buffering=0) as file:
            view = memoryview(data).cast("B")
            while len(view):  # an unbuffered write may stop short, at 2 GiB on Linux for one
                view = view[file.write(view) :]
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def write_if_changed(path: Path, data: bytes) -> None:
    """Write data to path unless the file holds just these bytes."""
    if not holds(path, data):
        write_atomic(path, data)


def holds(path: Path, data: bytes) -> bool:
    """Whether a file is there and holds just these bytes."""
    return path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data


def sweep_partials(folder: Path) -> None:
    """Remove what writers that were killed have left anywhere below folder."""
    for path in list(_partials(folder)):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def folder_bytes(folder: Path) -> int:
    """Size of all files below folder, in bytes; a writer may be at work there."""
    return sum(_size(Path(root) / name) for root, _, names in os.walk(folder) for name in names)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _partials(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        yield from (Path(root) / name for name in (*folders, *names) if name.endswith(PARTIAL))
