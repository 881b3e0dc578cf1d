"""The new clip table: what the dataset lists now, and what it listed before and no longer does."""

import numpy as np
import pandas as pd

from cache.clips import FIRST_COLUMNS


def merge_clips(
    listed: pd.DataFrame, before: pd.DataFrame | None, prune: bool
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The clip table, and those of its former clips that the dataset does not list.

    Args:
        listed: the dataset's clips with their slots. before: the table so far, None if there is none.
        prune: leave unlisted clips out; else each split ends with its own, so that a `--limit`, another CSV or an
            unmounted disk cannot shrink a cache by accident.
    """
    if before is None:
        return listed, listed.head(0)
    unlisted = before[~_is_listed(before, listed)]
    if prune or unlisted.empty:
        return listed, unlisted
    parts = [part[part["split"] == split] for split in ("train", "test") for part in (listed, unlisted)]
    merged = pd.concat([part for part in parts if len(part)], ignore_index=True)
    others = merged.columns.difference([*FIRST_COLUMNS, "slot"], sort=False)
    merged[others] = merged[others].fillna("")
    return merged[[*FIRST_COLUMNS, *others, "slot"]], unlisted


def _is_listed(before: pd.DataFrame, listed: pd.DataFrame) -> np.ndarray:
    """Which clips of a table another one has, by split and name; bool [clips of before]."""
    found = np.zeros(len(before), bool)
    for split in ("train", "test"):
        names, theirs = (table["clip"][table["split"] == split] for table in (before, listed))
        found[before["split"] == split] = names.equals(theirs) or names.isin(theirs)
    return found
