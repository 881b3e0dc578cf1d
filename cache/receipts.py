"""Receipts: a group's chunks count as done once its receipt exists.

One small JSON file for each group and store, in `NAME.receipts/` beside `NAME.zarr/`, written after the group's
chunks. It holds the chunks' checksums, what became of each slot, with the checksum of the slot's own bytes and
what the plan says of its recording, and the versions of the libraries that computed it. The last field is the
checksum of the file up to there. Slots lie in columns. Everything that is read is checked like input from outside.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np
import pandas as pd
import pyarrow as pa
import xxhash

from cache.storage import CacheError, DamagedError, Storage, each

VERSION = 3
_SCHEMA = pa.schema(
    [
        ("slot", pa.int64()),
        ("digest", pa.binary()),  # 16 bytes, or none
        ("status", pa.uint8()),
        ("length", pa.int64()),
        ("value", pa.float64()),
        ("reason", pa.string()),
        ("retry", pa.bool_()),
        ("checksum", pa.uint64()),
        ("file", pa.string()),
        ("size", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("native_rate", pa.int32()),
        ("native_samples", pa.int64()),
    ]
)
_MAY_BE_NEGATIVE = {"value", "mtime_ns", "size"}  # size: -1, of a recording that was not there
_KINDS = {name: str for name in ("digest", "reason", "checksum", "file")} | {"retry": bool, "value": float}
_MOST = {name: 2**63 - 1 for name in _SCHEMA.names} | {"status": 255, "native_rate": 2**31 - 1, "value": math.inf}
_HEX = {"digest": {0, 32}, "checksum": {0, 16}}  # how many digits
_ROWS = 1 << 13  # results that are Python objects at a time
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
    digest, file, size, mtime_ns, native_rate, native_samples: the recording, as in the plan.
    """

    slot: int
    digest: str
    status: Status
    length: int = 0
    value: float = 0.0
    reason: str = ""
    retry: bool = False
    checksum: str = ""
    file: str = ""
    size: int = 0
    mtime_ns: int = 0
    native_rate: int = 0
    native_samples: int = 0


@dataclass(frozen=True)
class Receipt:
    """One group's result in one store; checksums: of the group's chunk files, in order."""

    group: int
    checksums: tuple[str, ...]
    slots: tuple[SlotResult, ...]
    versions: dict[str, str]


class Receipts(Mapping[int, Receipt]):
    """The receipts of a store by group, in the order of the groups; results in columns, 110 bytes each.

    checksum: xxh3-64 over the groups, their chunks' checksums and their slots' digests.
    """

    def __init__(self, receipts: Iterable[Receipt | dict]):
        """receipts: by ascending group; as objects, or as plain values with columns."""
        self._heads: dict[int, tuple[tuple[str, ...], dict, int, int]] = {}
        hashed, parts, waiting, n, n_waiting = xxhash.xxh3_64(), {name: [] for name in _SCHEMA.names}, [], 0, 0
        last: dict[str, str] = {}
        for receipt in receipts:
            body = receipt if isinstance(receipt, dict) else _body(receipt)
            columns, n_slots = body["slots"], len(body["slots"]["slot"])
            digests = list(zip(columns["slot"], columns["digest"], strict=True))
            hashed.update(f"{body['group']} {tuple(body['checksums'])} {digests}".encode())
            last = last if last == body["versions"] else body["versions"]  # one object for all receipts
            self._heads[body["group"]] = (tuple(body["checksums"]), last, n, n_slots)
            waiting.append(columns)
            n, n_waiting = n + n_slots, n_waiting + n_slots
            if n_waiting >= _ROWS:
                waiting, n_waiting = _flush(waiting, parts), 0
        _flush(waiting, parts)
        columns = [pa.concat_arrays(parts.pop(name)) for name in _SCHEMA.names]  # which frees each one's parts
        self._table = pa.Table.from_arrays(columns, schema=_SCHEMA)
        pa.default_memory_pool().release_unused()
        self.checksum = hashed.hexdigest()

    def column(self, name: str) -> np.ndarray:
        """A numeric field of `SlotResult`, or "group", of every result; [results]."""
        if name == "group":
            return np.repeat(np.array(list(self._heads), np.int64), [head[3] for head in self._heads.values()])
        return self._table[name].to_numpy()

    def texts(self, name: str) -> pa.ChunkedArray:
        """Digest, reason or file of every result; [results]."""
        if name == "digest":
            return pa.chunked_array([[digest.hex() for digest in self._table[name].to_pylist()]], pa.string())
        return self._table[name]

    def __getitem__(self, group: int) -> Receipt:
        checksums, versions, first, n_slots = self._heads[group]
        rows = self._table.slice(first, n_slots).to_pylist()
        for row in rows:
            row["checksum"] = f"{row['checksum']:016x}" if row["length"] else ""
            row |= {"digest": row["digest"].hex(), "status": Status(row["status"])}
        slots = tuple(SlotResult(**row) for row in rows)
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
    return f"{xxhash.xxh3_64_intdigest(data):016x}"


def receipts_folder(store: Storage) -> Storage:
    """Where a store's receipts lie: NAME.receipts beside NAME.zarr."""
    return store.parent / f"{store.name.removesuffix('.zarr')}.receipts"


def write_receipt(store: Storage, receipt: Receipt, durable: bool = False) -> None:
    """Write a receipt; from then on the group's chunks are done. durable: as in `Storage.write`."""
    body = {"earmark": "receipt", "version": VERSION, **_body(receipt)}
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

    def sound(group: int) -> dict | None:
        try:
            body = _read(folder, group)
        except (DamagedError, OSError):
            return None
        slots = body["slots"]["slot"]
        if groups is not None and not (max(slots, default=0) < len(groups) and (groups[slots] == group).all()):
            return None
        chunks = range(group, group + len(body["checksums"]))
        return body if lost_chunks or all(chunk in there for chunk in chunks) else None

    bodies = each(sound, sorted(done_groups(store)), store)
    return Receipts(body for body in bodies if body is not None)


def begun_with(receipts: Mapping[int, Receipt]) -> dict[str, str]:
    """The versions of the libraries that a store was begun with, by its first receipt; none without one."""
    return receipts[min(receipts)].versions if receipts else {}


def done_groups(store: Storage) -> set[int]:
    """The groups that have a receipt, sound or not."""
    stems = (name.removesuffix(".json") for name in receipts_folder(store).names() if name.endswith(".json"))
    return {
        int(stem) for stem in stems if stem.isascii() and stem.isdecimal() and _key(int(stem)) == f"{stem}.json"
    }


def withdraw(store: Storage, group: int) -> None:
    """Remove a receipt: the group's chunks no longer count as done."""
    receipts_folder(store).remove(_key(group))


def chunk_files(store: Storage) -> dict[int, int]:
    """Bytes of each feature chunk's file that is there, by its number."""
    files = ((file.key.split("/")[2:], file.size) for file in store.files("features/c"))
    return {int(number): size for (number, *zeros), size in files if number.isdecimal() and set(zeros) <= {"0"}}


def _read(folder: Storage, group: int) -> dict:
    """A receipt as plain values: the fields of `Receipt`, its slots as columns; errors as of `read_receipt`."""
    key = _key(group)
    data = folder.read(key, _MOST_BYTES)
    try:
        body = unsigned(data)
        if body.get("version") != VERSION:
            raise CacheError(
                f"{folder / key}: receipt version must be {VERSION}, got {body.get('version')!s:.20}; "
                "use the version of earmark that wrote it, or move the cache away and run featurize again"
            )
        _check(body, group)
    except CacheError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        what = f"damaged receipt ({error!s:.80}); run featurize to make its chunk again"
        raise DamagedError(f"{folder / key}: {what}") from error
    return body


def signed(body: dict) -> bytes:
    """A JSON file of body; its last field, `checksum`, is the xxh3-64 of the file up to there."""
    text = json.dumps({**body, "checksum": ""}, indent=1).encode().removesuffix(_END)
    return text + checksum(text).encode() + _END


def unsigned(data: bytes) -> dict:
    """The body that `signed` made a file of.

    Raises:
        ValueError: these are not the bytes that `signed` made.
    """
    text = data[: -16 - len(_END)]
    if data != text + checksum(text).encode() + _END:
        raise ValueError("its checksum does not match")
    try:
        body = json.loads(data)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(body, dict):
        raise ValueError("it is not an object")
    return body


def _key(group: int) -> str:
    return f"{group:06d}.json"


def _body(receipt: Receipt) -> dict:
    columns = {field.name: [getattr(slot, field.name) for slot in receipt.slots] for field in fields(SlotResult)}
    columns["status"] = [int(status) for status in columns["status"]]
    columns["value"] = [float(value) for value in columns["value"]]
    return {
        "group": receipt.group,
        "checksums": list(receipt.checksums),
        "slots": columns,
        "versions": receipt.versions,
    }


def _flush(waiting: list[dict], parts: dict[str, list[pa.Array]]) -> list:
    """Append columns of Python objects to those of Arrow; returns what is waiting then, nothing."""
    for field in _SCHEMA:
        column = [value for columns in waiting for value in columns[field.name]]
        if field.name == "digest":
            column = [bytes.fromhex(digest) for digest in column]
        if field.name == "checksum":
            column = [int(digits or "0", 16) for digits in column]
        parts[field.name].append(pa.array(column, field.type))
    return []


def _check(body: dict, group: int) -> None:
    """Refuse a body of other fields, types or ranges than `write_receipt` writes, with a ValueError or the like."""
    if type(body["group"]) is not int or body["group"] != group:
        raise ValueError("it is that of another group")
    checksums, versions, slots = body["checksums"], body["versions"], body["slots"]
    if not isinstance(checksums, list) or not checksums or not _are_hex(checksums, {16}):
        raise ValueError("checksums must be 16 digits each")
    if not all(isinstance(text, str) for pair in versions.items() for text in pair):
        raise ValueError("versions must be texts")
    n_slots = len(slots["slot"])
    for field in _SCHEMA:
        values = slots[field.name]
        kind = _KINDS.get(field.name, int)
        if type(values) is not list or len(values) != n_slots or not set(map(type, values)) <= {kind}:
            raise ValueError(f"{field.name} must be {kind.__name__} for each slot")
        if kind in {int, float} and values:
            lowest, highest = min(values), max(values)
            too_low = lowest < (-_MOST[field.name] if field.name in _MAY_BE_NEGATIVE else 0)
            if too_low or highest > _MOST[field.name] or (kind is float and not math.isfinite(sum(values))):
                raise ValueError(f"{field.name} is out of range")
        if kind is str and len("".join(values).encode()) and not _are_hex(values, _HEX.get(field.name)):
            raise ValueError(f"{field.name} must be digits")
    if len(set(slots["slot"])) < n_slots or max(slots["status"], default=0) > max(Status):
        raise ValueError("a slot is there twice, or has an unknown status")


def _are_hex(values: list, lengths: set[int] | None) -> bool:
    """Whether values are hexadecimal digits of one of these lengths; None: they need not be."""
    if lengths is None:
        return True
    sound = set(map(type, values)) <= {str} and set(map(len, values)) <= lengths
    return sound and not "".join(values).strip("0123456789abcdef")
