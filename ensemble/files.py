"""Whole files, written atomically and read with suspicion: JSON, CSV and .npy.

A file is written as `NAME.partial` and renamed, so a reader sees the old one or the new one, never a part.
Reading never unpickles, and turns whatever a damaged file does to its parser into one PredictionsError.
"""

import csv
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from ensemble.csv_tables import decode, encode
from ensemble.errors import PredictionsError

FOLD_AGAIN = "remove that fold's finished_*.json, if it has one, and train the fold again"
_AGAIN = "train into a new folder (--force moves this one aside)"


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, indented; see `plain` for what else than JSON's own types it may hold."""
    with _replacing(path) as file:
        file.write((json.dumps(plain(value), indent=2, ensure_ascii=False) + "\n").encode())


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table of text with its header and without its index, quoted where a value needs it."""
    with _replacing(path) as file:
        file.writelines(encode(table))


def write_array(path: Path, array: np.ndarray) -> None:
    """Write an array as .npy."""
    with _replacing(path) as file:
        np.save(file, array, allow_pickle=False)


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        PredictionsError: missing or broken.
    """
    content = _existing(path).read_bytes()
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _broken(path, "JSON", error) from error


def read_csv(path: Path, columns: list[str]) -> pd.DataFrame:
    """A table of text; no value is taken for a number or for a missing one, so that a label "None" survives.

    Raises:
        PredictionsError: missing, broken, or with other columns.
    """
    content = _existing(path).read_bytes()
    table = decode(content, columns)
    return _read_closely(path, content, columns) if table is None else table


def _read_closely(path: Path, content: bytes, columns: list[str]) -> pd.DataFrame:
    """Read a table that somebody else wrote, or say what is wrong with it."""
    try:
        rows = [row for row in csv.reader(io.StringIO(content.decode(), newline=""), strict=True) if row]
    except (ValueError, csv.Error) as error:
        raise _broken(path, "CSV", error) from error
    if rows[:1] != [columns]:
        found = ",".join(rows[0]) if rows else "none"
        raise PredictionsError(f"{path}: columns must be {','.join(columns)}, got {found}; {_AGAIN}")
    for row, values in enumerate(rows[1:]):
        if len(values) != len(columns):
            raise PredictionsError(
                f"{path}: row {row} must have {len(columns)} values, got {len(values)}; {_AGAIN}"
            )
    return pd.DataFrame(rows[1:], columns=columns, dtype=str)


def read_array(path: Path) -> np.ndarray:
    """The array in a .npy file, never unpickled.

    Raises:
        PredictionsError: missing, truncated, pickled, or no .npy file.
    """
    with open(_existing(path, FOLD_AGAIN), "rb") as file:
        try:
            return np.lib.format.read_array(file, allow_pickle=False)
        except (ValueError, EOFError, OverflowError, MemoryError) as error:
            raise _broken(path, "an unpickled .npy array", error, FOLD_AGAIN) from error


def plain(value: Any) -> Any:
    """A value as JSON gives it back: tuples as lists, NumPy's numbers as numbers, paths as text, NaN null."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | None) else str(value)


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # a marker must not outlive, in a power cut, what it vouches for
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _existing(path: Path, advice: str = _AGAIN) -> Path:
    if not path.is_file():
        raise PredictionsError(f"{path}: file must be there, got none; {advice}")
    return path


def _broken(path: Path, kind: str, error: Exception, advice: str = _AGAIN) -> PredictionsError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return PredictionsError(f"{path}: file must be {kind}, got a broken one ({reason}); {advice}")
