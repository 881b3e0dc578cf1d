"""Switching a cache to a new form of itself that was built beside it, whatever kills the process meanwhile.

The new form is built in a temporary folder of ours inside the cache. One rename, to `.earmark-compacted/`, is the
moment from which it counts: its entries then replace the old ones. Where the process is killed in between, whoever
writes next finishes that. The manifest is removed first and put in place last, so that nobody reads a cache that is
half old and half new.
"""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.files import is_temporary

_DONE, _MANIFEST = ".earmark-compacted", "manifest.json"


@contextmanager
def switching(folder: Path) -> Iterator[Path]:
    """Build a new form of the cache in a folder and switch to it; yields the folder to build in.

    The writer's lock must be held. Where building fails, the cache stays as it was.
    """
    built = _temporary(folder, "compact")
    built.mkdir()
    try:
        yield built
        _sync_all(built)  # the old form is removed after this, so the new one must be on the disk
    except BaseException:
        shutil.rmtree(built, ignore_errors=True)
        raise
    os.rename(built, folder / _DONE)
    _sync(folder)
    finish_switch(folder)


def finish_switch(folder: Path) -> None:
    """Finish a switch that was interrupted, and remove what killed ones left; the writer's lock must be held."""
    done = folder / _DONE
    if done.is_dir():
        if (done / _MANIFEST).exists():
            (folder / _MANIFEST).unlink(missing_ok=True)
        for entry in sorted(done.iterdir(), key=lambda entry: (entry.name == _MANIFEST, entry.name)):
            if (folder / entry.name).exists():
                os.rename(folder / entry.name, _temporary(folder, entry.name))
            os.rename(entry, folder / entry.name)
        done.rmdir()
    if folder.is_dir():
        for path in [path for path in folder.iterdir() if is_temporary(path.name)]:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def is_switching(folder: Path) -> bool:
    """Whether a switch was interrupted, so that the cache is neither its old nor its new form."""
    return (folder / _DONE).is_dir()


def _temporary(folder: Path, name: str) -> Path:
    return folder / f".earmark-{secrets.token_hex(4)}-{name}"


def _sync_all(folder: Path) -> None:
    for root, _, names in os.walk(folder):
        for path in (*(Path(root, name) for name in names), Path(root)):
            _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
