"""Which clips of a clip table somebody means: by file name or by row, of one split or of both."""

import os
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cached_property

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype

from cache.storage import CacheError
from common.text import listed

_MOST_COMPARED = 20_000  # names, to find the nearest ones


class Clips:
    """The clips of a clip table, found by file name or by row.

    A name is that of the dataset's CSV, such as "x.wav", once in each split. A row is a number of the clip table's
    order, 0 for the first clip and -1 for the last.
    """

    def __init__(self, place: str, table: pd.DataFrame):
        """place: the cache's, for errors. table: with clip, split and slot."""
        self._place, self.table = place, table
        self.names, self.splits = table["clip"], table["split"]
        self.slots = table["slot"].to_numpy(np.int64)

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def _rows(self) -> dict[str, list[int]]:
        """The rows of each name: one, or one in each split."""
        rows: dict[str, list[int]] = {}
        for row, name in enumerate(self.names):
            rows.setdefault(name, []).append(row)
        return rows

    def row(self, clip: str | int, split: str | None = None) -> int:
        """The row of one clip.

        Args:
            clip: its name or its row. split: "train" or "test", where a name is in both; None for either.
        Raises:
            CacheError: there is no such clip, none in this split, or one in each. IndexError: no such row.
        """
        if isinstance(clip, int | np.integer):
            if not -len(self) <= clip < len(self):
                raise IndexError(f"{self._place}: row of a clip must be 0 to {len(self) - 1:,}, got {clip}")
            rows = [int(clip) % len(self)]
        elif isinstance(clip, str | os.PathLike):
            rows = self._rows.get(str(clip), [])
        else:
            raise CacheError(f"{self._place}: a clip must be a name or a row, a whole number, got {clip!r:.100}")
        found = [row for row in rows if split in (None, self.splits.iat[row])]
        if len(found) == 1:
            return found[0]
        if found:
            places = " and ".join(f"{self.splits.iat[row]} (row {row})" for row in found)
            raise CacheError(f"{self._place}: clip {str(clip)!r:.100} is in {places}; give the split or the row")
        if rows:
            there = self.splits.iat[rows[0]]
            raise CacheError(f"{self._place}: clip {str(clip)!r:.100} is in {there}; give split={there!r}")
        raise CacheError(f"{self._place}: has no clip {str(clip)!r:.100}{self._nearest(str(clip))}")

    def rows(self, clips: Iterable[str | int] | pd.DataFrame | None = None, split: str | None = None) -> np.ndarray:
        """The rows of some clips, in the order given; int64 [n].

        Args:
            clips: names, rows, a part of the clip table, or a bool for each of its rows; None for all. Bools of
                pandas are matched by their index where it has the table's rows in another order.
            split: "train" or "test", which each clip must be in; None for both.
        Raises:
            CacheError, IndexError: as of `row`, or of another length or split.
        """
        if split not in (None, "train", "test"):
            raise CacheError(f'{self._place}: split must be "train", "test" or None, got {split!r}')
        if isinstance(clips, pd.DataFrame):
            clips = [self.row(name, there) for name, there in zip(clips["clip"], clips["split"], strict=True)]
        chosen = pd.Series(True, self.table.index) if clips is None else pd.Series(clips)
        if not is_bool_dtype(chosen) or not len(chosen):
            return np.array([self.row(clip, split) for clip in chosen], np.int64)
        if len(chosen) != len(self):
            wanted = f"must have a bool for each of {len(self):,} rows, got {len(chosen):,}"
            raise CacheError(f"{self._place}: clips {wanted}; make them from all of cache.clips, or give rows")
        if set(chosen.index) == set(self.table.index):
            chosen = chosen.reindex(self.table.index)
        mask = chosen.fillna(False).to_numpy(bool)
        return np.flatnonzero(mask if split is None else mask & (self.splits == split).to_numpy(bool))

    def _nearest(self, name: str) -> str:
        """The names that are most like one, as the end of a message."""
        names = {each.lower(): each for each in self.names[:_MOST_COMPARED]}
        near = get_close_matches(name.lower(), names) or get_close_matches(name.rpartition("/")[2].lower(), names)
        if not near:
            return '; cache.clips["clip"] has the names'
        return f"; the nearest names are {listed(names[each] for each in near)}"
