"""Receipts: a group's chunks count as done once its receipt exists.

One small JSON file for each group and store, in `NAME.receipts/` beside `NAME.zarr/`, written after the group's
chunks. It holds the chunks' checksums, what became of each slot, with the checksum of the slot's own bytes and
what the plan says of its recording, and the versions of the libraries that computed it. The last field is the
checksum of the file up to there. Slots lie in columns. Everything that is read is checked like input from outside.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from itertools import islice
from typing import Annotated, get_type_hints

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import xxhash
from msgspec import Meta

from cache.storage import CacheError, DamagedError, Storage, each

VERSION = 3
_MOST = (1 << 63) - 1
_Count = Annotated[int, Meta(ge=0, le=_MOST)]
_Checksum = Annotated[str, Meta(pattern=r"\A[0-9a-f]{16}\Z")]
_AT_A_TIME = 64  # receipts that are Python objects
_MOST_BYTES = 1 << 26  # of a receipt that is read
_END = b'"\n}'


class Status(IntEnum):
    """What became of a slot in a store; the numbers are those in the store's `status` array."""

    PENDING = 0
    OK = 1
    TRUNCATED = 2  # less data than the header claims, used as far as it goes
    EMPTY = 3  # no samples, or too few for one at the store's rate
    FAILED = 4  # could not be decoded; the receipt has the reason


@dataclass(frozen=True)
class SlotResult:
    """One slot's result.

    length: samples or frames. value: the scale (raw) or the silence (mfcc, logmel). retry: the reason was an I/O
    error, so the next run tries again. checksum: of the slot's own bytes in the store, "" where length is 0.
    digest, file, size (-1: it was not there), mtime_ns, native_rate, native_samples: the recording, as in the plan.
    """

    slot: _Count
    digest: Annotated[str, Meta(pattern=r"\A([0-9a-f]{32})?\Z")]
    status: Status
    length: _Count = 0
    value: float = 0.0
    reason: str = ""
    retry: bool = False
    checksum: Annotated[str, Meta(pattern=r"\A([0-9a-f]{16})?\Z")] = ""
    file: str = ""
    size: Annotated[int, Meta(ge=-1, le=_MOST)] = 0
    mtime_ns: Annotated[int, Meta(ge=-_MOST, le=_MOST)] = 0
    native_rate: Annotated[int, Meta(ge=0, lt=1 << 31)] = 0
    native_samples: _Count = 0


@dataclass(frozen=True)
class Receipt:
    """One group's result in one store; checksums: of the group's chunk files, in order."""

    group: int
    checksums: tuple[str, ...]
    slots: tuple[SlotResult, ...]
    versions: dict[str, str]


_ARROW = {int: pa.int64(), float: pa.float64(), bool: pa.bool_(), str: pa.string(), Status: pa.uint8()}
_SCHEMA = pa.schema([(name, _ARROW[kind]) for name, kind in get_type_hints(SlotResult).items()])
_Columns = msgspec.defstruct(
    "_Columns", [(name, list[kind]) for name, kind in get_type_hints(SlotResult, include_extras=True).items()]
)


class _Body(msgspec.Struct):
    """A receipt as it lies in its file: slots in columns."""

    group: _Count
    checksums: Annotated[tuple[_Checksum, ...], Meta(min_length=1)]
    slots: _Columns
    versions: dict[str, str]


class _Version(msgspec.Struct):
    version: object = None


class Receipts(Mapping[int, Receipt]):
    """The receipts of a store by group, in the order of the groups; results in columns, 150 bytes each.

    checksum: xxh3-64 over the groups, their chunks' checksums and their slots' digests.
    """

    def __init__(self, receipts: "Iterable[Receipt | _Body]"):
        """receipts: by ascending group."""
        self._heads: dict[int, tuple[tuple[str, ...], dict, int, int]] = {}
        hashed, parts, n, versions = xxhash.xxh3_64(), {name: [] for name in _SCHEMA.names}, 0, {}
        bodies = (_body(receipt) if isinstance(receipt, Receipt) else receipt for receipt in receipts)
        while some := list(islice(bodies, _AT_A_TIME)):
            for body in some:
                digests = list(zip(body.slots.slot, body.slots.digest, strict=True))
                hashed.update(f"{body.group} {body.checksums} {digests}".encode())
                versions = versions if versions == body.versions else body.versions  # one object for all receipts
                self._heads[body.group] = (body.checksums, versions, n, len(digests))
                n += len(digests)
            for name, arrays in parts.items():
                values = [value for body in some for value in getattr(body.slots, name)]
                arrays.append(pa.array(values, _SCHEMA.field(name).type))
        empty = _SCHEMA.empty_table()
        columns = [pa.chunked_array(parts.pop(name), empty[name].type).combine_chunks() for name in _SCHEMA.names]
        self._table = pa.table(columns, schema=_SCHEMA)
        pa.default_memory_pool().release_unused()
        self.checksum = hashed.hexdigest()

    def column(self, name: str) -> np.ndarray:
        """A numeric field of `SlotResult`, or "group", of every result; [results]."""
        if name == "group":
            return np.repeat(np.array(list(self._heads), np.int64), [head[3] for head in self._heads.values()])
        return self._table[name].to_numpy()

    def texts(self, name: str) -> pa.ChunkedArray:
        """Digest, reason or file of every result; [results]."""
        return self._table[name]

    def __getitem__(self, group: int) -> Receipt:
        checksums, versions, first, n_slots = self._heads[group]
        rows = self._table.slice(first, n_slots).to_pylist()
        slots = tuple(SlotResult(**{**row, "status": Status(row["status"])}) for row in rows)
        return Receipt(group, checksums, slots, versions)

    def __iter__(self) -> Iterator[int]:
        return iter(self._heads)

    def __len__(self) -> int:
        return len(self._heads)


def checksum(data: bytes | memoryview) -> str:
    """The xxh3-64 of some bytes, 16 hexadecimal digits.

    >>> checksum(b"")
    '2d06800538d394c2'
    """
    return xxhash.xxh3_64_hexdigest(data)


def receipts_folder(store: Storage) -> Storage:
    """Where a store's receipts lie: NAME.receipts beside NAME.zarr."""
    return store.parent / f"{store.name.removesuffix('.zarr')}.receipts"


def write_receipt(store: Storage, receipt: Receipt, durable: bool = False) -> None:
    """Write a receipt; from then on the group's chunks are done. durable: as in `Storage.write`."""
    body = {"earmark": "receipt", "version": VERSION, **msgspec.to_builtins(_body(receipt))}
    receipts_folder(store).write(_key(receipt.group), signed(body), durable)


def read_receipt(store: Storage, group: int) -> Receipt:
    """Read a receipt.

    Raises:
        CacheError: it is damaged, or of another version. FileNotFoundError: the group is not done.
    """
    return Receipts([_read(receipts_folder(store), group)])[group]


def read_receipts(store: Storage, plan: pd.DataFrame | None = None, lost_chunks: bool = False) -> Receipts:
    """All sound receipts of a store whose chunk files are there; the groups of the others are to be done again.

    Args:
        plan: give only those whose slots lie in this plan, and in their group there.
        lost_chunks: give those as well of which a chunk file is missing.
    Raises:
        CacheError: a receipt of another version.
    """
    there, folder = chunk_files(store), receipts_folder(store)
    groups = None if plan is None else plan["group"].to_numpy()

    def sound(group: int) -> _Body | None:
        try:
            body = _read(folder, group)
        except (DamagedError, OSError):
            return None
        slots = body.slots.slot
        if groups is not None and not (max(slots, default=0) < len(groups) and (groups[slots] == group).all()):
            return None
        return body if lost_chunks or there.keys() >= set(range(group, group + len(body.checksums))) else None

    bodies = each(sound, sorted(done_groups(store)), store)
    return Receipts(body for body in bodies if body is not None)


def begun_with(receipts: Mapping[int, Receipt]) -> dict[str, str]:
    """The versions of the libraries that a store was begun with, by its first receipt; none without one."""
    return receipts[min(receipts)].versions if receipts else {}


def done_groups(store: Storage) -> set[int]:
    """The groups that have a receipt, sound or not."""
    names = set(receipts_folder(store).names())
    groups = (int(name[:-5]) for name in names if name.endswith(".json") and name[:-5].isdecimal())
    return {group for group in groups if _key(group) in names}


def withdraw(store: Storage, group: int) -> None:
    """Remove a receipt: the group's chunks no longer count as done."""
    receipts_folder(store).remove(_key(group))


def chunk_files(store: Storage) -> dict[int, int]:
    """Bytes of each feature chunk's file that is there, by its number."""
    files = ((file.key.split("/")[2:], file.size) for file in store.files("features/c"))
    return {int(number): size for (number, *zeros), size in files if number.isdecimal() and set(zeros) <= {"0"}}


def signed(body: dict) -> bytes:
    """A JSON file of body; its last field, `checksum`, is the xxh3-64 of the file up to there."""
    text = json.dumps({**body, "checksum": ""}, indent=1).encode().removesuffix(_END)
    return text + checksum(text).encode() + _END


def unsigned(data: bytes, kind: type = dict):
    """The body that `signed` made a file of, as a dict or checked by a Struct's types.

    Raises:
        ValueError: these are not the bytes that `signed` made, or fields of other names, types or ranges.
    """
    text = data[: -16 - len(_END)]
    if data != text + checksum(text).encode() + _END:
        raise ValueError("its checksum does not match")
    try:
        return msgspec.json.decode(data, type=kind)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _read(folder: Storage, group: int) -> _Body:
    """A receipt as it lies in its file; errors as of `read_receipt`."""
    key = _key(group)
    data = folder.read(key, _MOST_BYTES)
    try:
        if (version := unsigned(data, _Version).version) != VERSION:
            raise CacheError(
                f"{folder / key}: receipt version must be {VERSION}, got {version!s:.20}; "
                "use the version of earmark that wrote it, or move the cache away and run featurize again"
            )
        body = unsigned(data, _Body)
        if body.group != group:
            raise ValueError("it is that of another group")
        n_slots = len(set(body.slots.slot))  # no slot is there twice
        if {len(column) for column in msgspec.structs.astuple(body.slots)} != {n_slots}:
            raise ValueError("it must have each field once for each slot")
    except CacheError:
        raise
    except ValueError as error:
        what = f"damaged receipt ({error!s:.80}); run featurize to make its chunk again"
        raise DamagedError(f"{folder / key}: {what}") from error
    return body


def _key(group: int) -> str:
    return f"{group:06d}.json"


def _body(receipt: Receipt) -> _Body:
    columns = {name: [getattr(slot, name) for slot in receipt.slots] for name in _SCHEMA.names}
    columns["value"] = [float(value) for value in columns["value"]]
    return _Body(receipt.group, receipt.checksums, _Columns(**columns), receipt.versions)
