"""Parquet tables that know when they were damaged: the clip table and the plan.

The file's own metadata carries the format's name, its version and an xxh3 checksum of the whole file, taken
with the checksum's own digits at zero. Reading checks all three.
"""

import io
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from cache.errors import CacheError, DamagedError
from cache.files import write_if_changed

VERSION = 1
_MARK = b"xxh3-of-file:"
_ZEROS = b"0" * 16


def write_table(path: Path, frame: pd.DataFrame, schema: pa.Schema, name: str) -> None:
    """Write frame as Parquet, atomically, unless it is there already; name is "clips" or "plan"."""
    table = pa.Table.from_pandas(frame, schema=schema, preserve_index=False).replace_schema_metadata(None)
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, table.schema, compression="zstd", store_schema=False) as writer:
        writer.write_table(table)
        mark = (_MARK + _ZEROS).decode()
        writer.add_key_value_metadata({"earmark": name, "version": str(VERSION), "checksum": mark})
    data = sink.getvalue()
    write_if_changed(path, _with_digits(data, _checksum(data)))


def read_table(path: Path, name: str) -> pd.DataFrame:
    """Read what `write_table` wrote.

    Raises:
        CacheError: the file is damaged, foreign or of a newer version.
        FileNotFoundError: there is none.
    """
    data = path.read_bytes()
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        metadata = file.metadata.metadata or {}
    except (pa.ArrowException, ValueError, OSError) as error:
        raise DamagedError(f"{path}: damaged, not a readable table; {_RESTORE[name]}") from error
    if metadata.get(b"earmark") != name.encode():
        raise CacheError(f"{path}: must be earmark's {name} table, got a foreign file; move it away")
    version = metadata.get(b"version", b"?").decode(errors="replace")
    if version.isdecimal() and int(version) > VERSION:
        raise CacheError(
            f"{path}: format version must be at most {VERSION}, got {version}; update earmark to read it"
        )
    if not _intact(data):
        raise DamagedError(f"{path}: damaged, its checksum does not match; {_RESTORE[name]}")
    return file.read().to_pandas()


_RESTORE = {
    "clips": "remove it and run featurize again: it is made anew from the dataset's CSV files",
    "plan": "restore it from a backup, or move the cache away and run featurize again",
}


def _intact(data: bytes) -> bool:
    return data == _with_digits(data, _checksum(_with_digits(data, _ZEROS)))


def _checksum(data: bytes) -> bytes:
    return f"{xxhash.xxh3_64_intdigest(data):016x}".encode()


def _with_digits(data: bytes, digits: bytes) -> bytes:
    """The file with these digits after its last mark: the footer's metadata come after all that a user writes."""
    begin = data.rfind(_MARK) + len(_MARK)
    return data[:begin] + digits + data[begin + len(digits) :]
