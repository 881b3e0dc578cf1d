"""Folders that are built whole under a temporary name of ours and renamed at the end: new and compacted ones.

A compaction builds the cache's new form in a folder inside the cache. One rename, to `.earmark-compacted/`, is the
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

from common import EarmarkError
from common.files import is_temporary, sync
from common.text import megabytes

_DONE, _MANIFEST, _COMPACT = ".earmark-compacted", "manifest.json", "compact"


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Build a folder; yields where to, and moves it to target at the end. Only what was made here is ever removed.

    A missing target is built beside it, an empty one (which may be a mount, or the current folder) inside it.

    Raises:
        EarmarkError: target is not a folder, or not empty.
    """
    target = Path(os.path.abspath(target))  # `missing/..` too is a folder that a rename can make
    is_there = os.path.lexists(target)
    if is_there and not (target.is_dir() and not any(target.iterdir())):
        raise EarmarkError(f"{target}: must be a new or an empty folder, but something is there; give another one")
    with _built(target if is_there else target.parent, target.name) as built:
        yield built
        if is_there:
            _move_entries(built, target)
        else:
            os.rename(built, target)


@contextmanager
def switching(folder: Path) -> Iterator[Path]:
    """Build a new form of the cache in a folder and switch to it; yields the folder to build in.

    The writer's lock must be held. Where building fails, the cache stays as it was.
    """
    with _built(folder, _COMPACT) as built:
        yield built
        for root, _, names in os.walk(built):  # the new form must be on the disk before the old one is removed
            for name in (*names, "."):
                sync(Path(root, name))
        os.rename(built, folder / _DONE)
    sync(folder)
    finish_switch(folder)


def finish_switch(folder: Path) -> None:
    """Finish a switch that was interrupted, and remove what killed ones left; the writer's lock must be held."""
    done = folder / _DONE
    if is_switching(folder):
        if (done / _MANIFEST).exists():
            (folder / _MANIFEST).unlink(missing_ok=True)
        _move_entries(done, folder)
    for path in [path for path in folder.glob(".earmark-*") if is_temporary(path.name)]:
        if path.is_symlink() or not path.is_dir():
            path.unlink()
        elif path.name.split("-", 2)[2].startswith(_COMPACT):  # else one that `new_folder` is building here
            shutil.rmtree(path)


def is_switching(folder: Path) -> bool:
    """Whether a switch was interrupted, so that the cache is neither its old nor its new form."""
    return (folder / _DONE).is_dir()


def require_space(folder: Path, n_bytes: int, advice: str) -> None:
    """Refuse to write more than the disk has room for.

    Args:
        folder: need not be there yet. advice: what to do.
    Raises:
        EarmarkError: the disk is too small.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if n_bytes > (free := shutil.disk_usage(there).free):
        raise EarmarkError(
            f"{folder}: free disk space must be at least {megabytes(n_bytes)}, got {megabytes(free)}; {advice}"
        )


@contextmanager
def _built(folder: Path, name: str) -> Iterator[Path]:
    """A new folder under a temporary name of ours; removed where building it fails."""
    built = _temporary(folder, name)
    built.mkdir(parents=True)
    try:
        yield built
    except BaseException:
        shutil.rmtree(built, ignore_errors=True)
        raise


def _move_entries(built: Path, folder: Path) -> None:
    """Move all entries of a folder up into another, the manifest last; what they replace is set aside."""
    for entry in sorted(built.iterdir(), key=lambda entry: (entry.name == _MANIFEST, entry.name)):
        if (folder / entry.name).exists():
            os.rename(folder / entry.name, _temporary(folder, f"{_COMPACT}-{entry.name}"))
        os.rename(entry, folder / entry.name)
    built.rmdir()


def _temporary(folder: Path, name: str) -> Path:
    return folder / f".earmark-{secrets.token_hex(4)}-{name}"
