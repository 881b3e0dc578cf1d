"""A CSV file that lists the clips of one split: read as text, and checked as what it is, input from outside.

Everything is read as strings (the label "None" is a label). A name that would leave its folder, a label that is
missing, and a quote that swallows rows are refused by name.
"""

import io
import re
import warnings
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from cache.storage import Storage
from common import EarmarkError
from common.text import listed

_MOST_COLUMNS = 1000
_OURS = ("clip", "split", "file", "slot")  # columns of ours; a CSV's own of these names get csv_ before them
_OUTSIDE = r"^/|(^|/)\.\.(/|$)|^(\./+)*\.?$|\x00"  # absolute, with a step up, the folder itself, or no name at all


class DatasetError(EarmarkError):
    """A dataset that cannot be used as it is; the message is one line for the user."""


@dataclass(frozen=True)
class Listing:
    """The clips of one split.

    split: "train" or "test". clips: one row a clip in the file's order: clip, file (the recording, relative to the
    dataset's folder), label, manually_verified (Int8, <NA> where not said), and the file's other columns as text.
    """

    split: str
    clips: pd.DataFrame


def read_listing(folder: Storage, split: str, csv: str, audio: str, clip: str, label: str | None) -> Listing:
    """Read the clips of a split from a CSV file; the recordings are not looked at.

    Args:
        csv: the file, relative to the dataset's folder. audio: the folder of its recordings.
        clip: the column of the recordings' names. label: the column of the labels; None: the clips have none, and
            the file's other columns are left out.
    Raises:
        DatasetError: a file, folder, column, label or name that is missing or wrong.
    """
    where = f"{folder}/{csv}"
    rows = _read(folder, csv)
    for column in filter(None, (clip, label)):
        if column not in rows.columns:
            raise DatasetError(f"{where}: must have a column {column}, got {listed(rows.columns)}; add it")
    if rows.empty:
        raise DatasetError(f"{where}: must list at least one clip, got none; add rows")
    if not (folder / audio).exists():
        raise DatasetError(f"{folder / audio}: must be the folder of the clips of {csv}, got none; put it there")
    _check_line_breaks(where, rows, clip)
    _check_names(where, rows[clip])
    if label is None:
        rows = rows[[clip]]
    else:
        _check_labels(where, rows[clip], rows[label])
        rows = rows.assign(manually_verified=_verified(where, rows, clip))
    clips = _with_our_names(rows, {clip: "clip"} | ({label: "label"} if label else {}))
    return Listing(split, clips.assign(file=audio + "/" + clips["clip"]))


def _read(folder: Storage, csv: str) -> pd.DataFrame:
    where = f"{folder}/{csv}"
    if folder.look(csv) is None:
        raise DatasetError(f"{where}: must be a CSV file, got none; --data names the folder that holds it")
    data = folder.read(csv)
    n_columns = re.match(rb"[^\r\n]*", data).group().count(b",") + 1
    if n_columns > _MOST_COLUMNS:
        raise DatasetError(
            f"{where}: must have at most {_MOST_COLUMNS:,} columns, got {n_columns:,}; leave some out"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # of rows longer than the header
            return pd.read_csv(
                io.BytesIO(data), dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False
            ).fillna("")
    except (ValueError, pd.errors.ParserWarning) as error:  # pandas' own errors are ValueErrors
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        if quote := re.search(r"EOF inside string starting at row (\d+)", reason):
            raise DatasetError(
                f"{where}: row {quote[1]} opens a quote that is never closed; close or remove it"
            ) from error
        raise DatasetError(
            f"{where}: must be a CSV file in UTF-8, no row longer than its header, got {reason!r}; correct it"
        ) from error


def _check_line_breaks(where: str, rows: pd.DataFrame, clip: str) -> None:
    """A quote too many swallows rows up to the next one: what is left of it is a value with line breaks."""
    for column in rows.columns:
        for row in _rows_where(pc.match_substring_regex(_text(rows[column]), "[\r\n]")):
            raise DatasetError(
                f"{where}: row {row + 1} ({rows[clip].iloc[row][:80]!r}) has a line break in its column {column}, "
                "as if a quote were not closed; close the quote, or remove the line break"
            )


def _check_names(where: str, names: pd.Series) -> None:
    for row in _rows_where(pc.match_substring_regex(_text(names), _OUTSIDE)):
        raise DatasetError(
            f"{where}: row {row + 1}: {names.name} must be a path inside the folder of its clips, got "
            f"{names.iloc[row]!r}; correct or remove the row"
        )
    for name in names[names.duplicated()].head(1):
        raise DatasetError(f"{where}: each clip must be listed once, got {name} twice; remove one row")


def _check_labels(where: str, names: pd.Series, labels: pd.Series) -> None:
    for row in (labels.str.strip() == "").to_numpy().nonzero()[0][:1]:
        raise DatasetError(
            f"{where}: label of {names.iloc[row]} (row {row + 1}) must not be empty, got {labels.iloc[row]!r}; "
            "give it one"
        )
    seen: dict[str, str] = {}
    for label in labels.unique():
        other = seen.setdefault(" ".join(label.split()), label)
        if other != label:
            raise DatasetError(
                f"{where}: labels must differ in more than blanks, got {other!r} and {label!r}; write both the same"
            )


def _verified(where: str, rows: pd.DataFrame, clip: str) -> pd.Series:
    """What manually_verified says: 1, 0, or nothing where it is blank or there is no such column."""
    if "manually_verified" not in rows:
        return pd.Series(pd.NA, index=rows.index, dtype="Int8")
    given = rows["manually_verified"].str.strip()
    known = given.map({"0": 0, "1": 1, "": pd.NA})
    for row in (known.isna() & (given != "")).to_numpy().nonzero()[0][:1]:
        raise DatasetError(
            f"{where}: manually_verified of {rows[clip].iloc[row]} must be 0, 1 or blank, got {given.iloc[row]!r}; "
            "correct it"
        )
    return known.astype("Int8")


def _with_our_names(rows: pd.DataFrame, renamed: dict[str, str]) -> pd.DataFrame:
    """The columns under our names; one of the CSV's own that would be taken for ours gets csv_ before it."""
    taken = {*_OURS, *renamed.values(), *rows.columns}
    for column in rows.columns:
        if column not in renamed and column in {*_OURS, *renamed.values()}:
            name = f"csv_{column}"
            while name in taken:
                name = f"csv_{name}"
            taken.add(name)
            renamed = {**renamed, column: name}
    return rows.rename(columns=renamed)


def _text(column: pd.Series) -> pa.Array:
    return pa.array(column, pa.large_string())


def _rows_where(found: pa.BooleanArray) -> list[int]:
    return pc.indices_nonzero(found).to_pylist()[:1]
