"""What layouts share: a CSV read as text and checked, and the clips that it lists.

Everything is read as strings (the label "None" is a label). A name that would leave its folder, a label that is
missing, and a quote that swallows rows are refused by name.
"""

import io
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from cache.storage import Storage
from common import EarmarkError
from common.text import escaped, listed

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "development"), "train"),  # folds are drawn from both
    **dict.fromkeys(("test", "testing"), "test"),
}
OWN_FOLDS = "its own folds are the column fold; train on them with --fold-column fold"
_MOST_COLUMNS = 1000
_OURS = ("clip", "split", "label", "file", "slot")  # a CSV's other columns of these names get csv_ before them
OUTSIDE = (
    r"^/|(?:^|/)\.\.(?:/|$)|^(?:\./+)*\.?$|\x00"  # absolute, with a step up, the folder itself, or no name at all
)


class DatasetError(EarmarkError):
    """A dataset that cannot be used as it is; the message is one line for the user."""


@dataclass(frozen=True)
class Listing:
    """What a layout finds in a folder.

    tables: one row a clip, in order, those of train before those of test: clip, split, file (the recording's path
    relative to the dataset's folder), label ("" where it is not known) and, where there are any, manually_verified
    (Int8, <NA> where not said) and the other columns of the CSV as text. remarks: lines that the user should read.
    """

    tables: Sequence[pd.DataFrame]
    remarks: Sequence[str] = ()


@dataclass(frozen=True)
class Layout:
    """A way in which people lay out a dataset.

    holds: what lies in the folder, in a few words. read: finds what a folder lists, given the flags of the layout,
    if it has any; raises DatasetError. marks: files and folders; any of them tells the layout. fits: where no mark
    is there, whether the paths of the recordings can be of the layout.
    """

    holds: str
    read: Callable[..., Listing]
    marks: tuple[str, ...] = ()
    fits: Callable[[list[str]], bool] | None = None

    def is_marked(self, folder: Storage) -> bool:
        """Whether a folder has one of the marks."""
        return any(folder.look(mark) or (folder / mark).exists() for mark in self.marks)


def read_csv(folder: Storage, csv: str, columns: Sequence[str] = ()) -> pd.DataFrame:
    """A CSV file as text, "" where a field is empty.

    Args:
        csv: its path below the folder. columns: those that it must have; the first one names its rows in errors.
    Raises:
        DatasetError: no such file, not a CSV file in UTF-8, without one of the columns, without rows, or with line
            breaks in a field.
    """
    where = f"{folder}/{csv}"
    if folder.look(csv) is None:
        raise DatasetError(f"{where}: must be a CSV file, got none; --data names the folder that holds it")
    rows = _parsed(where, folder.read(csv))
    for column in columns:
        if column not in rows.columns:
            raise DatasetError(f"{where}: must have a column {column}, got {listed(rows.columns)}; add it")
    if rows.empty:
        raise DatasetError(f"{where}: must list at least one clip, got none; add rows")
    _check_line_breaks(where, rows, (columns or rows.columns)[0])
    return rows


def clips_of(
    where: str,
    rows: pd.DataFrame,
    files: pd.Series,
    name: str = "fname",
    label: str | None = "label",
    split: str | pd.Series = "train",
) -> pd.DataFrame:
    """The clips that the rows of a CSV list, as `Listing` has them.

    Args:
        where: the CSV, in errors. files: the path of each recording, relative to the dataset's folder. name, label:
            the columns of those; without one of labels there are none. split: of all rows, or of each.
    Raises:
        DatasetError: a name that leaves the folder or is there twice, or a training clip without a label.
    """
    names = rows[name]
    _check_names(where, name, names)
    if label is None:
        return _with_our_names(rows, name, label).assign(split=split, label="", file=files)
    labels = _checked_labels(where, names, rows[label], split == "train")
    rows = rows.assign(**{label: labels, "manually_verified": _verified(where, rows, names)})
    return _with_our_names(rows, name, label).assign(split=split, file=files)


def check_folder(folder: Storage, audio: str, csv: str) -> None:
    """Refuse a dataset without the folder of a CSV's recordings.

    Raises:
        DatasetError: there is none.
    """
    if not (folder / audio).exists():
        raise DatasetError(f"{folder / audio}: must be the folder of the clips of {csv}, got none; put it there")


def check_labels(where: str, labels: pd.Series) -> None:
    """Refuse labels that a reader cannot tell apart.

    Raises:
        DatasetError: two differ in blanks alone.
    """
    seen: dict[str, str] = {}
    for label in labels.unique():
        other = seen.setdefault(" ".join(label.split()), label)
        if other != label:
            raise DatasetError(
                f"{where}: labels must differ in more than blanks, got {other!r} and {label!r}; write both the same"
            )


def alike_but_for_case(labels: pd.Series) -> list[str]:
    """A line for the user where labels differ in case alone: they may be one label, or not.

    >>> alike_but_for_case(pd.Series(["dog", "Rain", "Dog"]))
    ['different labels that differ in case alone: Dog and dog; write them the same if they are one']
    """
    known = pd.Series(sorted(set(labels)), dtype="str")
    alike = [" and ".join(map(escaped, same)) for _, same in known.groupby(known.str.casefold()) if len(same) > 1]
    what = f"different labels that differ in case alone: {listed(alike)}"
    return [f"{what}; write them the same if they are one"] if alike else []


def first(found: pd.Series) -> list[int]:
    """The number of the first row that was found, if any."""
    return found.to_numpy().nonzero()[0][:1].tolist()


def _parsed(where: str, data: bytes) -> pd.DataFrame:
    header = re.match(rb"[^\r\n]*", data).group()
    for separator, name in ((b";", "semicolons"), (b"\t", "tabs")):
        if separator in header and b"," not in header and b"\x00" not in header:
            raise DatasetError(f"{where}: columns must be separated by commas, got {name}; save it with commas")
    n_columns = header.count(b",") + 1
    if n_columns > _MOST_COLUMNS:
        what = f"must have at most {_MOST_COLUMNS:,} columns, got {n_columns:,}"
        raise DatasetError(f"{where}: {what}; leave some out")
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DatasetError(
            f"{where}: must be a CSV file in UTF-8, got the byte 0x{data[error.start]:02x} in line {line}; "
            "save it as UTF-8"
        ) from error
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


def _check_line_breaks(where: str, rows: pd.DataFrame, name: str) -> None:
    """A quote too many swallows rows up to the next one: what is left of it is a value with line breaks."""
    for column in rows.columns:
        for row in first(rows[column].str.contains("[\r\n]")):
            raise DatasetError(
                f"{where}: row {row + 1} ({rows[name].iloc[row][:80]!r}) has a line break in its column "
                f"{column}, as if a quote were not closed; close the quote, or remove the line break"
            )


def _check_names(where: str, column: str, names: pd.Series) -> None:
    for row in first(names.str.contains(OUTSIDE)):
        raise DatasetError(
            f"{where}: row {row + 1}: {column} must be a path inside the folder of its clips, got "
            f"{names.iloc[row]!r}; correct or remove the row"
        )
    for row in first(names.duplicated()):
        raise DatasetError(f"{where}: each clip must be listed once, got {names.iloc[row]} twice; remove one row")


def _checked_labels(where: str, names: pd.Series, labels: pd.Series, needed: pd.Series | bool) -> pd.Series:
    empty = labels.str.strip() == ""
    for row in first(empty & needed):
        raise DatasetError(
            f"{where}: label of {names.iloc[row]} (row {row + 1}) must not be empty, got {labels.iloc[row]!r}; "
            "give it one"
        )
    return labels.mask(empty, "")


def _verified(where: str, rows: pd.DataFrame, names: pd.Series) -> pd.Series:
    """What manually_verified says: 1, 0, or nothing where it is blank or there is no such column."""
    if "manually_verified" not in rows:
        return pd.Series(pd.NA, index=rows.index, dtype="Int8")
    given = rows["manually_verified"].str.strip()
    known = given.map({"0": 0, "1": 1, "": pd.NA})
    for row in first(known.isna() & (given != "")):
        raise DatasetError(
            f"{where}: manually_verified of {names.iloc[row]} must be 0, 1 or blank, "
            f"got {given.iloc[row]!r}; correct it"
        )
    return known.astype("Int8")


def _with_our_names(rows: pd.DataFrame, name: str, label: str | None) -> pd.DataFrame:
    """Names become clip, labels label; another column that has a name of ours gets csv_ before it."""
    renamed = {name: "clip"} | ({label: "label"} if label is not None else {})
    taken = {*_OURS, *rows.columns}
    for column in rows.columns.intersection(_OURS, sort=False).drop(list(renamed), errors="ignore"):
        other = f"csv_{column}"
        while other in taken:
            other = f"csv_{other}"
        taken.add(other)
        renamed[column] = other
    return rows.rename(columns=renamed)
