"""Datasets: what a folder of labelled recordings is read into, and the list of the layouts that are known.

A layout is one file here with one function, and one line in LAYOUTS.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pandas as pd

from cache.storage import Storage
from featurize.datasets.kaggle import DatasetError, read_kaggle

__all__ = ["LAYOUTS", "Dataset", "DatasetError", "read_dataset"]

LAYOUTS: dict[str, Callable[[Storage], Iterable[pd.DataFrame]]] = {"kaggle": read_kaggle}
_FIRST = ["clip", "split", "label", "manually_verified"]


@dataclass(frozen=True)
class Dataset:
    """A dataset's folder and its clips.

    clips: one row a clip in the order of the CSV files, training clips first: clip, split, label ("" in test),
    manually_verified (Int8, <NA> where not said), the other columns of the CSV as text, and file, the recording's
    path relative to the folder.
    """

    folder: Storage
    clips: pd.DataFrame


def read_dataset(folder: Storage, limit: int | None = None, layout: str = "kaggle") -> Dataset:
    """Read what a dataset lists; the recordings are not looked at.

    Args:
        limit: take only the first so many clips of each split. layout: a key of LAYOUTS.
    Raises:
        DatasetError: no folder, or a file, column, label or name in it that is missing or wrong.
    """
    if not folder.exists():
        raise DatasetError(
            f"{folder}: dataset folder must exist, got none; name yours with --data, "
            "or make a small one there with --demo"
        )
    clips = pd.concat([split.head(limit) for split in LAYOUTS[layout](folder)], ignore_index=True)
    texts = clips.columns.difference(["manually_verified"])
    clips[texts] = clips[texts].fillna("")
    return Dataset(folder, clips[[*_FIRST, *clips.columns.difference(_FIRST, sort=False)]])
