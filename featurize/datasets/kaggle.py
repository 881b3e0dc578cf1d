"""The Kaggle layout, that of FSDKaggle2018.

DATA/train.csv               fname,label[,manually_verified][, any other columns]
DATA/audio_train/FNAME
DATA/sample_submission.csv   fname[,label]; its rows are the test clips. Without it there are none.
DATA/audio_test/FNAME

Everything is read as strings (the label "None" is a label). A name that would leave its folder, a label that is
missing, and a quote that swallows rows are refused by name.
"""

import io
import re
import warnings
from collections.abc import Iterator

import pandas as pd

from cache.storage import Storage
from common import EarmarkError
from common.text import listed

_MOST_COLUMNS = 1000
_OURS = ("clip", "split", "file", "slot")  # columns of ours; a CSV's own of these names get csv_ before them
_OUTSIDE = (
    r"^/|(?:^|/)\.\.(?:/|$)|^(?:\./+)*\.?$|\x00"  # absolute, with a step up, the folder itself, or no name at all
)


class DatasetError(EarmarkError):
    """A dataset that cannot be used as it is; the message is one line for the user."""


def read_kaggle(folder: Storage) -> Iterator[pd.DataFrame]:
    """The training clips, then the test clips; the recordings are not looked at.

    Yields:
        one row a clip in the file's order: clip, split, file (the recording, relative to the folder) and, of the
        training clips, label, manually_verified (Int8, <NA> where not said) and the file's other columns as text.
    Raises:
        DatasetError: a file, folder, column, label or name that is missing or wrong.
    """
    yield _read_split(folder, "train", "train.csv", "audio_train")
    if folder.look("sample_submission.csv"):
        yield _read_split(folder, "test", "sample_submission.csv", "audio_test")


def _read_split(folder: Storage, split: str, csv: str, audio: str) -> pd.DataFrame:
    where, rows, has_labels = f"{folder}/{csv}", _read(folder, csv), split == "train"
    for column in ("fname", "label") if has_labels else ("fname",):
        if column not in rows.columns:
            raise DatasetError(f"{where}: must have a column {column}, got {listed(rows.columns)}; add it")
    if rows.empty:
        raise DatasetError(f"{where}: must list at least one clip, got none; add rows")
    if not (folder / audio).exists():
        raise DatasetError(f"{folder / audio}: must be the folder of the clips of {csv}, got none; put it there")
    _check_line_breaks(where, rows)
    _check_names(where, rows["fname"])
    if has_labels:
        _check_labels(where, rows["fname"], rows["label"])
        rows = rows.assign(manually_verified=_verified(where, rows))
    clips = _with_our_names(rows if has_labels else rows[["fname"]])
    return clips.assign(split=split, file=audio + "/" + clips["clip"])


def _read(folder: Storage, csv: str) -> pd.DataFrame:
    where = f"{folder}/{csv}"
    if folder.look(csv) is None:
        raise DatasetError(f"{where}: must be a CSV file, got none; --data names the folder that holds it")
    data = folder.read(csv)
    n_columns = re.match(rb"[^\r\n]*", data).group().count(b",") + 1
    if n_columns > _MOST_COLUMNS:
        what = f"must have at most {_MOST_COLUMNS:,} columns, got {n_columns:,}"
        raise DatasetError(f"{where}: {what}; leave some out")
    form = {"dtype": str, "keep_default_na": False, "encoding": "utf-8-sig", "index_col": False}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # of rows longer than the header
            return pd.read_csv(io.BytesIO(data), **form).fillna("")
    except (ValueError, pd.errors.ParserWarning) as error:  # pandas' own errors are ValueErrors
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        if quote := re.search(r"EOF inside string starting at row (\d+)", reason):
            raise DatasetError(
                f"{where}: row {quote[1]} opens a quote that is never closed; close or remove it"
            ) from error
        raise DatasetError(
            f"{where}: must be a CSV file in UTF-8, no row longer than its header, got {reason!r}; correct it"
        ) from error


def _check_line_breaks(where: str, rows: pd.DataFrame) -> None:
    """A quote too many swallows rows up to the next one: what is left of it is a value with line breaks."""
    for column in rows.columns:
        for row in _first(rows[column].str.contains("[\r\n]")):
            raise DatasetError(
                f"{where}: row {row + 1} ({rows['fname'].iloc[row][:80]!r}) has a line break in its column "
                f"{column}, as if a quote were not closed; close the quote, or remove the line break"
            )


def _check_names(where: str, names: pd.Series) -> None:
    for row in _first(names.str.contains(_OUTSIDE)):
        raise DatasetError(
            f"{where}: row {row + 1}: fname must be a path inside the folder of its clips, got "
            f"{names.iloc[row]!r}; correct or remove the row"
        )
    for row in _first(names.duplicated()):
        raise DatasetError(f"{where}: each clip must be listed once, got {names.iloc[row]} twice; remove one row")


def _check_labels(where: str, names: pd.Series, labels: pd.Series) -> None:
    for row in _first(labels.str.strip() == ""):
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


def _verified(where: str, rows: pd.DataFrame) -> pd.Series:
    """What manually_verified says: 1, 0, or nothing where it is blank or there is no such column."""
    if "manually_verified" not in rows:
        return pd.Series(pd.NA, index=rows.index, dtype="Int8")
    given = rows["manually_verified"].str.strip()
    known = given.map({"0": 0, "1": 1, "": pd.NA})
    for row in _first(known.isna() & (given != "")):
        raise DatasetError(
            f"{where}: manually_verified of {rows['fname'].iloc[row]} must be 0, 1 or blank, "
            f"got {given.iloc[row]!r}; correct it"
        )
    return known.astype("Int8")


def _with_our_names(rows: pd.DataFrame) -> pd.DataFrame:
    """fname becomes clip; a column of the CSV that has a name of ours gets csv_ before it."""
    renamed, taken = {"fname": "clip"}, {*_OURS, *rows.columns}
    for column in rows.columns.intersection(_OURS, sort=False):
        name = f"csv_{column}"
        while name in taken:
            name = f"csv_{name}"
        taken.add(name)
        renamed[column] = name
    return rows.rename(columns=renamed)


def _first(found: pd.Series) -> list[int]:
    """The number of the first row that was found, if any."""
    return found.to_numpy().nonzero()[0][:1].tolist()
