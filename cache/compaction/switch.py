"""Switching a cache to another form of itself that was built beside it, whatever kills the process meanwhile.

The new form is built in `compact.partial/`, which sweeping removes. One rename to `compact.done/` is the moment
from which it counts: its entries then take the place of the old ones, and whoever writes next goes on with
that. Nobody reads the cache in between.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cache.files import PARTIAL

_BUILT, _DONE = "compact" + PARTIAL, "compact.done"


@contextmanager
def switching(folder: Path) -> Iterator[Path]:
    """Build a new form of a cache and switch to it; yields the folder to build it in.

    The writer's lock must be held. Where building fails, the cache stays as it was.
    """
    built = folder / _BUILT
    if built.exists():
        shutil.rmtree(built)
    built.mkdir()
    try:
        yield built
    except BaseException:
        shutil.rmtree(built, ignore_errors=True)
        raise
    _flush(built)  # the old form is removed: all of the new one must be on the disk by then
    os.rename(built, folder / _DONE)
    finish_switch(folder)


def finish_switch(folder: Path) -> None:
    """Go on with a switch that has begun, if one has."""
    done = folder / _DONE
    if not done.exists():
        return
    for entry in sorted(done.iterdir()):
        old, aside = folder / entry.name, folder / (entry.name + PARTIAL)
        if aside.exists():
            _remove(aside)
        if old.exists():
            os.rename(old, aside)
        os.rename(entry, old)
        if aside.exists():
            _remove(aside)
    done.rmdir()


def is_switching(folder: Path) -> bool:
    """Whether a switch broke off, so that the cache is neither the old nor the new form."""
    return (folder / _DONE).exists()


def _flush(folder: Path) -> None:
    """Wait until all below a folder is on the disk."""
    for root, _, names in os.walk(folder):
        for path in (*(os.path.join(root, name) for name in names), root):
            file = os.open(path, os.O_RDONLY)
            try:
                os.fsync(file)
            finally:
                os.close(file)


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()
