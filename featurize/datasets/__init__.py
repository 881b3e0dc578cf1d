"""Datasets: what a folder of labelled recordings is read into, and the list of the layouts that are known.

A layout is one file here with one Layout, and one line in LAYOUTS.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import pandas as pd

from cache.storage import Storage
from common.text import listed
from featurize.datasets.any_csv import ANY_CSV
from featurize.datasets.esc50 import ESC50
from featurize.datasets.folders import FOLDERS, folder_of_labels
from featurize.datasets.fsdkaggle2018 import FSDKAGGLE2018
from featurize.datasets.kaggle import KAGGLE
from featurize.datasets.listing import DatasetError, Layout, Listing, alike_but_for_case, check_labels
from featurize.datasets.unlabelled import UNLABELLED
from featurize.datasets.urbansound8k import URBANSOUND8K
from featurize.datasets.walk import find_recordings

__all__ = ["LAYOUTS", "Dataset", "DatasetError", "Layout", "Listing", "read_dataset", "recognise"]

LAYOUTS: dict[str, Layout] = {
    "kaggle": KAGGLE,
    "fsdkaggle2018": FSDKAGGLE2018,
    "esc50": ESC50,
    "urbansound8k": URBANSOUND8K,
    "folders": FOLDERS,
    "csv": ANY_CSV,
    "unlabelled": UNLABELLED,
}
_FIRST = ["clip", "split", "label", "manually_verified"]
_MOST_INSIDE = 100  # names in a folder up to which folders in it are looked at as well
_LINES = 4  # that show the layouts


@dataclass(frozen=True)
class Dataset:
    """A dataset's folder and its clips.

    clips: one row a clip in the order of the CSV files, training clips first: clip, split, label (of a test clip ""
        where it is not known), manually_verified (Int8, <NA> where not said), the other columns of the CSV as text,
        and file, the recording's path relative to the folder.
    layout: a key of LAYOUTS, "" where the clips come from elsewhere. remarks: lines that the user should read.
    """

    folder: Storage
    clips: pd.DataFrame
    layout: str = ""
    remarks: tuple[str, ...] = ()


def read_dataset(
    folder: Storage, limit: int | None = None, layout: str | None = None, **flags: str | None
) -> Dataset:
    """Read what a dataset lists; the recordings are not decoded.

    Args:
        limit: take only so many clips of each split: the first ones, or the first of each label where they lie
            label by label. layout: a key of LAYOUTS; recognised unless given.
        flags: of the layout.
    Raises:
        DatasetError: no folder, no layout that fits or several, or a file, column, label or name in it that is
            missing or wrong.
    """
    if not folder.exists():
        if folder.is_local and folder.path().is_file():
            raise DatasetError(
                f"{folder}: dataset must be a folder, got a file; name its folder with --data, and a CSV with --csv"
            )
        raise DatasetError(
            f"{folder}: dataset folder must exist, got none; name yours with --data, "
            "or make a small one there with --demo"
        )
    layout = layout or recognise(folder)
    listing = LAYOUTS[layout].read(folder, **flags)
    labels = pd.concat([table["label"] for table in listing.tables])
    check_labels(str(folder), labels)
    clips = pd.concat([_first(table, limit) for table in listing.tables], ignore_index=True)
    if clips.empty:
        raise _no_dataset(folder, f"must hold recordings in the layout {layout}")
    clips = clips.reindex(columns=[*_FIRST, *clips.columns.difference(_FIRST, sort=False)])
    clips["manually_verified"] = clips["manually_verified"].astype("Int8")
    texts = clips.columns.difference(["manually_verified"])
    clips[texts] = clips[texts].fillna("")
    return Dataset(folder, clips, layout, (*listing.remarks, *alike_but_for_case(labels)))


def recognise(folder: Storage) -> str:
    """The layout of a folder: the one whose files are there, else what the places of its recordings say.

    Raises:
        DatasetError: none fits, or several do.
    """
    fitting = [name for name, layout in LAYOUTS.items() if layout.is_marked(folder)]
    if not fitting:
        _refuse_a_level_too_high(folder)
        found = find_recordings(folder)
        if not found.recordings:
            raise _no_dataset(folder, "must hold a dataset", found.others)
        fitting = [name for name, layout in LAYOUTS.items() if layout.fits and layout.fits(found.recordings)]
        if fitting == ["unlabelled"] and (inside := folder_of_labels(found.recordings)):
            raise DatasetError(
                f"{folder}: must be the dataset's folder, got one that holds folders of recordings in {inside}; "
                f"give --data {folder / inside}, or --layout unlabelled if they are not named as labels"
            )
    if len(fitting) > 1:
        raise DatasetError(
            f"{folder}: must have one layout, got a folder that fits {' and '.join(fitting)}; say which with "
            f"{' or '.join(f'--layout {name}' for name in fitting)}"
        )
    return fitting[0]


def _refuse_a_level_too_high(folder: Storage) -> None:
    """A folder that holds a dataset's folder would pass for one of recordings without labels."""
    names = folder.names() if folder.is_local else []
    for inside in (folder / name for name in names if len(names) <= _MOST_INSIDE):
        with suppress(OSError):  # a folder that is closed to us
            if any(layout.is_marked(inside) for layout in LAYOUTS.values()):
                raise DatasetError(
                    f"{folder}: must be the dataset's folder, got the one that holds it; give --data {inside}"
                )


def _no_dataset(folder: Storage, rule: str, others: Sequence[str] = ()) -> DatasetError:
    got = f"only files of no suffix that is decoded ({listed(others, 3)})" if others else "none"
    advice = "name its folder with --data, or lay it out in one of these ways, shown in docs/datasets.md:"
    error = DatasetError(f"{folder}: {rule}, got {got}; {advice}")
    shown = [f"{name:<15}{layout.holds:<36}" for name, layout in LAYOUTS.items()]
    error.more = [f"  {''.join(shown[line::_LINES])}".rstrip() for line in range(_LINES)]
    return error


def _first(clips: pd.DataFrame, limit: int | None) -> pd.DataFrame:
    """The first clips; where they lie label by label, the first of each label."""
    if limit is not None:
        labels = clips["label"]
        if (labels != labels.shift()).sum() == labels.nunique():
            turns = clips.groupby("label").cumcount().sort_values(kind="stable")
            return clips.loc[turns.index[:limit].sort_values()]
    return clips.head(limit)
