"""Files of a predictions folder: JSON, tables of text and arrays.

A file is written whole and synced to the disk, or not at all. What is read is checked like input from outside: a
PredictionsError names the file that is missing, damaged or odd, and ends with advice. Rows are counted from 0.
"""

import csv
import io
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, BinaryIO, get_type_hints

import msgspec
import numpy as np
import pandas as pd

from common import EarmarkError
from common.files import replacing, write_atomic

AGAIN = "train again with --force, which moves the folder aside, or with another --name"
NOTHING = object()
_DEEPEST = 20  # JSON's lists and objects inside each other; files of ours have 4


class PredictionsError(EarmarkError):
    """A predictions folder is missing, damaged or in use, or does not fit the others."""


def short(value: object) -> str:
    """A value from outside as a message shows it."""
    text = "nothing" if value is NOTHING else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def require(right: object, path: Path, name: str, rule: object, value: object, advice: str = AGAIN) -> None:
    """Raise a PredictionsError that says rule and value, unless the value is right."""
    if not right:
        raise PredictionsError(f"{path}: {name} must be {rule}, got {short(value)}; {advice}")


def require_equal(path: Path, values: dict[str, Any], name: str, right: int, advice: str = AGAIN) -> None:
    """Require that a value of a JSON object is a certain whole number, which True and 1.0 are not."""
    value = values.get(name, NOTHING)
    require(type(value) is int and value == right, path, name, right, value, advice)


def require_fields(path: Path, values: dict[str, Any], kind: type[msgspec.Struct], advice: str = AGAIN) -> None:
    """Require that a JSON object has the fields of a Struct, whose descriptions are the rules, among others."""
    try:
        msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        name = re.findall(r"`(?:\$\.)?(\w+)", str(error))[-1]  # "Expected `int`, got `str` - at `$.name`"
        rule = get_type_hints(kind, include_extras=True)[name].__metadata__[0].description
        require(False, path, name, rule, values.get(name, NOTHING), advice)


def number(kind: type, least: float, most: float) -> Any:
    """The type of such a field for a number in a range; kind: int or float."""
    rule = f"{'a whole number, ' if kind is int else ''}{least} to {most:,}"
    return Annotated[kind, msgspec.Meta(ge=least, le=most, description=rule)]


def plain(value: Any) -> Any:
    """A value as JSON gives it back: tuples as lists, NumPy's numbers as numbers, paths as text, NaN as null."""

    def otherwise(value: Any) -> Any:
        return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)

    return msgspec.json.decode(msgspec.json.encode(value, enc_hook=otherwise))


def write_json(path: Path, value: Any) -> None:
    """Write a value of JSON's own types (see `plain`), indented; NaN becomes null."""
    write_atomic(path, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n", durable=True)


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table of text with its header and without its index, quoted where a value needs it."""
    text = table.to_csv(index=False, lineterminator="\n")
    if "\r" in text:  # pandas writes it without quotes, and readers take it for the end of a line
        text = table.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_ALL)
    write_atomic(path, text.encode(), durable=True)


def write_array(path: Path, array: np.ndarray) -> None:
    """Write an array as .npy."""
    with replacing(path, durable=True) as temporary:
        np.save(temporary, array, allow_pickle=False)


def read_json(path: Path, advice: str = AGAIN, kind: type = dict, rule: str = "a JSON object") -> Any:
    """The object in a JSON file, or a list; NaN, half a character and deep nesting, never ours, are damage."""
    with _reading(path, advice) as file:
        value = msgspec.json.decode(content := file.read())
        if b"\n" + b" " * _DEEPEST in msgspec.json.format(content, indent=1):
            raise ValueError(f"{_DEEPEST} lists and objects inside each other")
    require(isinstance(value, kind), path, "the file", rule, value, advice)
    return value


def read_csv(path: Path, columns: list[str], more: bool = False, advice: str = AGAIN) -> pd.DataFrame:
    """A table of text; nothing is taken for a number or for missing, so that a label "None" survives.

    columns: of the file, in their order. more: it may have others, in any order, and a byte order mark (BOM).
    """
    with _reading(path, advice) as file:
        text = file.read().decode("utf-8-sig" if more else "utf-8")
        if not text:
            raise ValueError("it is empty")
        if text.startswith("\ufeff"):
            raise ValueError("it begins with a byte order mark (BOM)")
        header, *rows = list(csv.reader(io.StringIO(text, newline=""), strict=True)) or [[]]
        if header != columns and not (more and {*columns} <= {*header} and len({*header}) == len(header)):
            raise ValueError(f"columns must be {','.join(columns)}, got {short(','.join(header))}")
        for i, row in enumerate(rows):
            if len(row) != len(header):
                raise ValueError(f"row {i} must have {len(header)} values, got {len(row)}")
        if "\0" in text:
            raise ValueError("odd control characters")
    return pd.DataFrame(rows, columns=header, dtype=str)


def read_array(path: Path, advice: str) -> np.ndarray:
    """The array in a .npy file, mapped into memory; nothing is unpickled, and no size of a header trusted."""
    with _reading(path, advice, most_bytes=1 << 62):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise ValueError("an archive of arrays")
    return array


@contextmanager
def _reading(path: Path, advice: str, most_bytes: int = 1 << 30) -> Iterator[BinaryIO]:
    """Open a regular file; any error in the block tells of its damage."""
    try:
        # a FIFO would wait for a writer without O_NONBLOCK
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise PredictionsError(f"{path}: this is a FIFO or a device, not a file; {advice}")
            if status.st_size > most_bytes:
                raise PredictionsError(f"{path}: {status.st_size:,} bytes are too many for this file; {advice}")
            yield file
    except (PredictionsError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise PredictionsError(f"{path}: the file is missing; {advice}") from error
    except OSError as error:
        raise PredictionsError(f"{path}: the file cannot be read ({error.strerror}); {advice}") from error
    except Exception as error:  # NumPy's parser raises many kinds
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise PredictionsError(f"{path}: the file is damaged: {reason}; {advice}") from error
