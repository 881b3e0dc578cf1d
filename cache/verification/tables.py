"""Verification of clip table and plan, and a cache that can be verified although they are damaged."""

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import pandas as pd

from cache import clips, plan
from cache.errors import DamagedError
from cache.files import holds
from cache.folder import Cache
from cache.tables import copy_path, is_damaged
from cache.verification.findings import AGAIN, Finding


class CacheToVerify(Cache):
    """A cache whose tables are read from their copies where they are damaged or lost."""

    @cached_property
    def clips(self) -> pd.DataFrame:
        """The clip table or its copy."""
        return _either(clips.read_clips, self.path / clips.FILE_NAME)

    @cached_property
    def plan(self) -> pd.DataFrame:
        """The plan or its copy; never an empty one for a plan that is lost."""
        return _either(plan.read_plan, self.path / plan.FILE_NAME)


def verify_tables(folder: Path) -> Iterator[Finding]:
    """Check clip table and plan, and their copies."""
    for name in (clips.FILE_NAME, plan.FILE_NAME):
        table, copy = folder / name, copy_path(folder / name)
        bad = {path: what for path in (table, copy) if (what := _check_table(path))}
        lost = len(bad) == 2 and name == plan.FILE_NAME
        mend = "restore it from elsewhere, or move the cache away and run featurize again" if lost else AGAIN
        yield from (Finding(path, f"{what}; {mend}", planless=lost) for path, what in bad.items())
        if not bad and not holds(copy, table.read_bytes()):
            yield Finding(copy, f"must be the same as {name}, got another table; {AGAIN}")


def _check_table(path: Path) -> str:
    try:
        return "damaged table: its checksum does not match" if is_damaged(path) else ""
    except FileNotFoundError:
        return "missing table"
    except OSError as error:
        return f"unreadable table ({error.strerror})"


def _either(read: Callable[[Path], pd.DataFrame], table: Path) -> pd.DataFrame:
    copy = copy_path(table)
    try:
        if table.exists():
            return read(table.parent)
    except DamagedError:
        if not copy.exists():
            raise
    if not copy.exists():
        raise FileNotFoundError(table)
    return read(copy.parent)
