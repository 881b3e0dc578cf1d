"""A new folder that is there whole or not at all: built under another name, renamed at the end."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cache.errors import CacheError
from cache.files import PARTIAL
from cache.places import require_disk

if TYPE_CHECKING:
    from cache.places import Place


@contextmanager
def whole_folder(target: "Place") -> Iterator[Path]:
    """Build a folder; yields where, and moves that to target in the end. What a killed process left is replaced.

    Raises:
        CacheError: there is something at target, or it is no folder on a disk.
    """
    require_disk(target, "be written whole")
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise CacheError(f"{target}: must be a new or an empty folder, got one with something in it; name another")
    built = target.with_name(target.name + PARTIAL)
    if built.exists():
        shutil.rmtree(built)
    built.mkdir(parents=True)
    try:
        yield built
    except BaseException:
        shutil.rmtree(built, ignore_errors=True)
        raise
    if target.exists():
        target.rmdir()
    os.rename(built, target)
