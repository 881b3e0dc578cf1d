"""The jobs of a run: worked out for all slots at once, by array, and made one at a time.

A group is a job where a live slot (one that the clip table names) lacks a result in some store.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from cache.plan import chunks_per_slot, slot_starts
from cache.receipts import Receipt
from featurize.decode import Header
from featurize.job import Job, Slot
from featurize.page import Target
from featurize.recordings import ABSENT, Recordings
from featurize.stores import StoreWork

_COLUMNS = ["file", "size", "mtime_ns", "digest", "native_rate", "native_samples"]


class Jobs(Sequence[Job]):
    """The jobs in the order of their groups; each is made when it is asked for.

    slots: int64, the slots that the jobs fill, ascending.
    """

    def __init__(
        self,
        plan: pd.DataFrame,
        live: np.ndarray,
        stores: Sequence[StoreWork],
        recordings: Recordings,
        force: bool = False,
        stop_on_error: bool = False,
    ):
        """live: the slots that the clip table names. force: make the chunks of the asked stores again."""
        self._plan, self._stores, self._folder = plan, stores, recordings.folder
        self._stop_on_error = stop_on_error
        self._stays = [_slots_that_stay(store, plan, recordings, force) for store in stores]
        live = _mask(len(plan), live)
        lacks = np.array([live & ~stays for stays in self._stays]).reshape(-1, len(plan))
        groups = plan["group"].to_numpy()
        self._groups = np.unique(groups[lacks.any(axis=0)])
        self.slots = np.flatnonzero(live & np.isin(groups, self._groups))
        self._firsts = np.searchsorted(groups[self.slots], self._groups)
        self._lacking = np.logical_or.reduceat(lacks[:, self.slots], self._firsts, axis=1) if len(self) else lacks
        widths = chunks_per_slot(plan)[self.slots]
        self._n_chunks = np.maximum.reduceat(widths, self._firsts) if len(self) else widths
        self._starts = [slot_starts(plan, store.specification)[self.slots] for store in stores]

    def __len__(self) -> int:
        return len(self._groups)

    def __getitem__(self, index: int) -> Job:
        """A group's job; what stays of an earlier run's is read from its receipts."""
        group = int(self._groups[index])
        places = slice(*np.append(self._firsts, len(self.slots))[index : index + 2])
        lacking = np.flatnonzero(self._lacking[:, index])
        offsets = [self._starts[i][places] - group * self._stores[i].specification.chunk_length for i in lacking]
        return Job(
            group=group,
            n_chunks=int(self._n_chunks[index]),
            slots=self._slots(self.slots[places], np.array(offsets).T.tolist()),
            targets=tuple(self._target(i, group) for i in lacking),
            stop_on_error=self._stop_on_error,
        )

    def n_chunks(self, store: StoreWork) -> int:
        """Chunks that the jobs write in a store."""
        return int(self._n_chunks[self._of(store)].sum())

    def n_bytes(self) -> int:
        """Bytes that the jobs add: their chunks, but for those that they replace."""
        return sum(self._new_chunks(store) * store.specification.chunk_bytes for store in self._stores)

    def _of(self, store: StoreWork) -> np.ndarray:
        return self._lacking[self._stores.index(store)] if len(self) else np.empty(0, bool)

    def _new_chunks(self, store: StoreWork) -> int:
        of = self._of(store)
        chunks = np.repeat(self._groups[of], self._n_chunks[of])
        chunks += np.arange(len(chunks)) - np.searchsorted(chunks, chunks)
        return int((~np.isin(chunks, _chunks_there(store.path))).sum()) if len(chunks) else 0

    def _slots(self, numbers: np.ndarray, offsets: list[list[int]]) -> tuple[Slot, ...]:
        columns = (self._plan[name].iloc[numbers].tolist() for name in _COLUMNS)
        return tuple(
            Slot(number, self._folder / file, size, mtime_ns, digest, Header(rate, samples), tuple(begins))
            for number, file, size, mtime_ns, digest, rate, samples, begins in zip(
                numbers.tolist(), *columns, offsets, strict=True
            )
        )

    def _target(self, index: int, group: int) -> Target:
        store = self._stores[index]
        return Target(store.path, store.specification, self._part(index, store.receipts.get(group)))

    def _part(self, index: int, receipt: Receipt | None) -> Receipt | None:
        """What is to stay of a group in a store: all but what is to be computed again and still can be."""
        stays = self._stays[index]
        slots = tuple(result for result in receipt.slots if stays[result.slot]) if receipt else ()
        return replace(receipt, slots=slots) if slots else None


def _slots_that_stay(store: StoreWork, plan: pd.DataFrame, recordings: Recordings, force: bool) -> np.ndarray:
    """The slots that have a result that is not to be computed again, or cannot be; bool [slots]."""
    slots = store.receipts.column("slot")
    again = store.receipts.column("retry") | (force and store.asked)
    gone = recordings.look(plan["file"].iloc[slots[again]])[0] == ABSENT
    return _mask(len(plan), np.concatenate([slots[~again], slots[again][gone]]))


def _mask(n_slots: int, slots: np.ndarray) -> np.ndarray:
    mask = np.zeros(n_slots, bool)
    mask[slots] = True
    return mask


def _chunks_there(store: Path) -> list[int]:
    folder = store / "features" / "c"
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return [int(name) for name in names if name.isdecimal()]
