"""What all receipts of a store say, in columns: a million results take 70 MB, not a gigabyte of objects."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import xxhash

from cache.receipts import Receipt, SlotResult, Status

_SCHEMA = pa.schema(
    [
        ("slot", pa.int64()),
        ("digest", pa.large_string()),
        ("status", pa.uint8()),
        ("length", pa.int64()),
        ("value", pa.float64()),
        ("reason", pa.large_string()),
        ("retry", pa.bool_()),
    ]
)
_ROWS = 1 << 13  # results that are objects at a time


class Results(Mapping[int, Receipt]):
    """The receipts of a store by group, in the order of the groups.

    checksum: xxh3 over the groups, their chunks' checksums, and their slots' digests.
    """

    def __init__(self, receipts: Iterable[dict]):
        """receipts: each as `cache.receipts.read_body` gives it, by ascending group."""
        self._groups, self._checksums, self._versions, self._ends = [], [], [], [0]
        checksum, batches, rows = xxhash.xxh3_64(), [], []
        for body in receipts:
            group, slots, checksums = body["group"], body["slots"], tuple(body["checksums"])
            digests = [(row["slot"], row["digest"]) for row in slots]
            checksum.update(f"{group} {checksums} {digests}".encode())
            rows += slots
            if len(rows) >= _ROWS:
                batches.append(pa.RecordBatch.from_pylist(rows, _SCHEMA))
                rows = []
            self._groups.append(group)
            self._checksums.append(checksums)
            self._versions.append(_shared(body["versions"], self._versions))
            self._ends.append(self._ends[-1] + len(slots))
        batches.append(pa.RecordBatch.from_pylist(rows, _SCHEMA))
        self._table = pa.Table.from_batches(batches)
        self._place = {group: place for place, group in enumerate(self._groups)}
        self.checksum = checksum.hexdigest()

    @classmethod
    def of(cls, receipts: Iterable[Receipt]) -> "Results":
        """Receipts that are objects, in columns."""
        return cls(asdict(receipt) for receipt in sorted(receipts, key=lambda receipt: receipt.group))

    def column(self, name: str) -> np.ndarray:
        """Slot, status, length, value or retry of every result; [results]."""
        return self._table[name].to_numpy()

    def texts(self, name: str) -> pa.ChunkedArray:
        """Digest or reason of every result; [results]."""
        return self._table[name]

    def __getitem__(self, group: int) -> Receipt:
        place = self._place[group]
        first, end = self._ends[place], self._ends[place + 1]
        rows = self._table.slice(first, end - first).to_pylist()
        slots = tuple(SlotResult(**{**row, "status": Status(row["status"])}) for row in rows)
        return Receipt(group, self._checksums[place], slots, self._versions[place])

    def __iter__(self) -> Iterator[int]:
        return iter(self._groups)

    def __len__(self) -> int:
        return len(self._groups)


def _shared(versions: dict, before: list[dict]) -> dict:
    """The last receipt's versions where these are the same: all receipts of a store hold one object."""
    return before[-1] if before and before[-1] == versions else versions
