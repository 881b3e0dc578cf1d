"""A dataset in the Kaggle layout, read and checked.

    DATA/train.csv               fname,label[,manually_verified][, any other columns]
    DATA/audio_train/FNAME
    DATA/sample_submission.csv   fname[,label]; its rows are the test clips. Without it there are none.
    DATA/audio_test/FNAME

The CSV files are text from outside: everything is read as strings (the label "None" is a label), and a name
that would leave its folder is refused.
"""

import io
import warnings
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from cache.places import Place

_OURS = ("clip", "split", "file", "slot")  # columns of ours; a CSV's own of these names get csv_ before them
SPLITS = {"train": ("train.csv", "audio_train"), "test": ("sample_submission.csv", "audio_test")}


class DatasetError(ValueError):
    """A dataset that cannot be used as it is; the message is one line for the user."""


@dataclass(frozen=True)
class Dataset:
    """A dataset's folder and its clips.

    clips: one row a clip in the order of the CSV files, training clips first: clip, split, label ("" in test),
    manually_verified (Int8, <NA> where not said), the other columns of train.csv as text, and file, the
    recording's path relative to the folder.
    """

    folder: "Place"
    clips: pd.DataFrame


def read_dataset(folder: "Place", limit: int | None = None) -> Dataset:
    """Read the CSV files of a dataset; the recordings are not looked at.

    Args:
        limit: take only the first so many clips of each split.
    Raises:
        DatasetError: no folder, no train.csv, a column, label or name that is missing or wrong.
    """
    if not folder.is_dir():
        raise DatasetError(
            f"{folder}: dataset folder must exist, got none; name yours with --data, "
            "or make a small one there with --demo"
        )
    train = _read_csv(folder / "train.csv", required=("fname", "label"))
    _check_labels(folder / "train.csv", train)
    train["manually_verified"] = _verified(folder / "train.csv", train)
    splits = {"train": train}
    if (folder / "sample_submission.csv").exists():
        splits["test"] = _read_csv(folder / "sample_submission.csv", required=("fname",))[["fname"]]
    clips = [_split_clips(folder, split, rows.head(limit or len(rows))) for split, rows in splits.items()]
    table = pd.concat(clips, ignore_index=True)
    texts = table.columns.difference(["manually_verified"])
    table[texts] = table[texts].fillna("")
    first = ["clip", "split", "label", "manually_verified"]
    return Dataset(folder, table[[*first, *table.columns.difference(first, sort=False)]])


def _read_csv(path: "Place", required: tuple[str, ...]) -> pd.DataFrame:
    if not path.is_file():
        raise DatasetError(f"{path}: must be a CSV file, got none; --data names the folder that holds it")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # of rows longer than the header
            text = io.BytesIO(path.read_bytes())
            rows = pd.read_csv(text, dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False)
    except (pd.errors.EmptyDataError, pd.errors.ParserError, pd.errors.ParserWarning, UnicodeDecodeError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise DatasetError(
            f"{path}: must be a CSV file in UTF-8, no row longer than its header, got {reason!r}; mend it"
        ) from error
    for column in required:
        if column not in rows.columns:
            raise DatasetError(f"{path}: must have a column {column}, got {', '.join(rows.columns)}; add it")
    if rows.empty:
        raise DatasetError(f"{path}: must list at least one clip, got none; add rows")
    return rows


def _check_labels(path: "Place", rows: pd.DataFrame) -> None:
    for row in (rows["label"].str.strip() == "").to_numpy().nonzero()[0][:1]:
        name = rows["fname"].iloc[row]
        raise DatasetError(f"{path}: label of {name} (row {row + 1}) must not be empty, got ''; give it one")


def _verified(path: "Place", rows: pd.DataFrame) -> pd.Series:
    if "manually_verified" not in rows:
        return pd.Series(pd.NA, index=rows.index, dtype="Int8")
    known = rows["manually_verified"].str.strip().map({"0": 0, "1": 1, "": pd.NA})
    for row in (known.isna() & (rows["manually_verified"].str.strip() != "")).to_numpy().nonzero()[0][:1]:
        name, value = rows["fname"].iloc[row], rows["manually_verified"].iloc[row]
        raise DatasetError(f"{path}: manually_verified of {name} must be 0 or 1, got {value!r}; mend it")
    return known.astype("Int8")


def _split_clips(folder: "Place", split: str, rows: pd.DataFrame) -> pd.DataFrame:
    csv, audio = SPLITS[split]
    if not (folder / audio).is_dir():
        raise DatasetError(f"{folder / audio}: must be the folder of the clips of {csv}, got none; put it there")
    for name in rows["fname"]:
        _check_name(folder / csv, name)
    for name in rows["fname"][rows["fname"].duplicated()].head(1):
        raise DatasetError(f"{folder / csv}: each clip must be listed once, got {name} twice; remove one row")
    clips = rows.rename(columns={name: f"csv_{name}" for name in _OURS}).rename(columns={"fname": "clip"})
    return clips.assign(split=split, file=audio + "/" + clips["clip"])


def _check_name(csv: "Place", name: str) -> None:
    path = PurePosixPath(name)
    inside = path.parts and not path.is_absolute() and ".." not in path.parts and "\0" not in name
    if not inside:
        raise DatasetError(
            f"{csv}: fname must be a path inside the folder of its clips, got {name!r}; mend or remove the row"
        )
