"""Parquet tables that know when they were damaged, kept twice: the clip table and the plan.

The file's own metadata carries the format's name, its version and an xxh3 checksum of the whole file, taken
with the checksum's own digits at zero. Reading checks all three. A second copy lies in `copies/`; it is written
first, so that it is never older, and whichever of the two is damaged or lost is mended from the other.
"""

import io
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from cache.errors import CacheError, DamagedError
from cache.files import write_atomic, write_if_changed

VERSION = 1
COPIES = "copies"
_MARK = b"xxh3-of-file:"
_ZEROS = b"0" * 16
_ROW_GROUP = 1 << 17  # rows that are in memory twice while a table is written


def write_table(path: Path, frame: pd.DataFrame, schema: pa.Schema, name: str, durable: bool = False) -> None:
    """Write frame as Parquet, atomically, unless it is there already; name is "clips" or "plan"."""
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, schema, compression="zstd", store_schema=False) as writer:
        for first in range(0, max(1, len(frame)), _ROW_GROUP):
            rows = frame.iloc[first : first + _ROW_GROUP]
            table = pa.Table.from_pandas(rows, schema=schema, preserve_index=False)
            writer.write_table(table.replace_schema_metadata(None))
        mark = (_MARK + _ZEROS).decode()
        writer.add_key_value_metadata({"earmark": name, "version": str(VERSION), "checksum": mark})
    data = sink.getvalue()
    place, view = _digits(data), memoryview(data)
    data = b"".join((view[: place.start], _checksum(data), view[place.stop :]))
    write_if_changed(copy_path(path), data, durable)
    write_if_changed(path, data, durable)


def read_table(path: Path, name: str) -> pd.DataFrame:
    """Read what `write_table` wrote.

    Raises:
        CacheError: the file is damaged, foreign or of a newer version.
        FileNotFoundError: there is none.
    """
    data = path.read_bytes()
    if _damaged(data):
        mend = _MEND if name == "clips" or table_bytes(copy_path(path)) else _LOST
        raise DamagedError(f"{path}: damaged, its checksum does not match; {mend}")
    metadata = _metadata(data) or {}
    if metadata.get(b"earmark") != name.encode():
        raise CacheError(f"{path}: must be earmark's {name} table, got a foreign file; move it away")
    version = metadata.get(b"version", b"?").decode(errors="replace")
    if version.isdecimal() and int(version) > VERSION:
        raise CacheError(
            f"{path}: format version must be at most {VERSION}, got {version}; update earmark to read it"
        )
    table = pq.ParquetFile(pa.BufferReader(data)).read()
    frame = table.to_pandas(split_blocks=True, self_destruct=True)  # else numbers are in memory twice
    pa.default_memory_pool().release_unused()
    return frame


def copy_path(path: Path) -> Path:
    """Where the second copy of a table lies."""
    return path.parent / COPIES / path.name


def table_bytes(path: Path) -> bytes | None:
    """A table's bytes if they are sound; None where it is damaged, foreign or missing."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return data if _intact(data) else None


def mend_table(path: Path) -> None:
    """Make a damaged or lost table anew from its copy, or the copy from the table.

    Where both are damaged or the table is a foreign file they stay as they are.
    """
    data, copied = table_bytes(path), table_bytes(copy_path(path))
    if data is not None and data != copied:
        write_atomic(copy_path(path), data)
    if data is None and copied is not None and (not path.exists() or is_damaged(path)):
        write_atomic(path, copied)


def is_damaged(path: Path) -> bool:
    """Whether a file was a table of ours and does not hold what was written to it."""
    return _damaged(path.read_bytes())


_MEND = "run featurize to mend it"
_LOST = (
    "its copy in copies/ is not sound either: restore one of them, or move the cache away and run featurize again"
)


def _metadata(data: bytes) -> dict[bytes, bytes] | None:
    """What a Parquet file says of itself; None where it cannot be read."""
    try:
        return pq.ParquetFile(pa.BufferReader(data)).metadata.metadata or {}
    except (pa.ArrowException, ValueError, OSError):
        return None


def _damaged(data: bytes) -> bool:
    """Not intact, and not a foreign file either: those can be read, and bear no mark of ours."""
    if _intact(data):
        return False
    metadata = _metadata(data)
    return metadata is None or _MARK in data or b"earmark" in metadata


def _intact(data: bytes) -> bool:
    return _MARK in data and data[_digits(data)] == _checksum(data)


def _checksum(data: bytes) -> bytes:
    """The xxh3 of a file as if its own digits were zeros."""
    place, view = _digits(data), memoryview(data)
    hashed = xxhash.xxh3_64(view[: place.start])
    hashed.update(_ZEROS)
    hashed.update(view[place.stop :])
    return hashed.hexdigest().encode()


def _digits(data: bytes) -> slice:
    """Where a file's checksum is, after its last mark: the footer's metadata come after all that a user writes."""
    begin = data.rfind(_MARK) + len(_MARK)
    return slice(begin, begin + len(_ZEROS))
