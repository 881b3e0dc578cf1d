"""Whole files: a reader sees the old bytes or the new ones, never a part.

A file is written under a temporary name of ours, `.earmark-RANDOM-NAME`, in its own folder and renamed. A process
that is killed in between leaves the temporary file; `sweep` removes those, and nothing else.

A durable write returns when the bytes and the name are on the disk: the file is synced before it gets its name, and
then its folder, with every folder that was made for it.
"""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TEMPORARY = re.compile(r"\.earmark-[0-9a-f]{8}-.")


def is_temporary(name: str) -> bool:
    """Whether a file's name is one that `replacing` gives while it writes."""
    return _TEMPORARY.match(name) is not None


@contextmanager
def replacing(path: Path, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary path in the same folder, with the same suffix; it replaces `path` when the block is done.

    Folders are made as needed. Where the block raises, `path` stays as it was.
    """
    make_folder(path.parent, durable)
    temporary = path.with_name(f".earmark-{secrets.token_hex(4)}-{path.name}")
    try:
        yield temporary
        if durable:
            sync(temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync(path.parent)


def write_atomic(path: Path, data: bytes | memoryview, durable: bool = False) -> None:
    """Write data to path, whole or not at all."""
    with replacing(path, durable) as temporary, open(temporary, "wb", buffering=0) as file:
        view = memoryview(data).cast("B")
        while len(view):  # an unbuffered write may stop short, on Linux at 2 GiB
            view = view[file.write(view) :]


def sweep(folder: Path) -> None:
    """Remove the temporary files that killed writers left in a folder and below it; links are not followed."""
    for root, _, names in os.walk(folder):
        for name in filter(is_temporary, names):
            Path(root, name).unlink(missing_ok=True)  # its writer may be alive and rename it now


def make_folder(folder: Path, durable: bool = False) -> None:
    """Make a folder and those above it that are missing; durable: return when their names are on the disk."""
    made = [path for path in (folder, *folder.parents) if durable and not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in reversed(made):
        sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file's bytes, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
