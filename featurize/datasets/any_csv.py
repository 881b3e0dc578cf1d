"""Any CSV that lists recordings, one a row, wherever the CSV itself lies.

A column names the recordings, by paths below DATA/AUDIO_DIR; others name their labels and, where there is a test
part, their splits (`listing.SPLITS`). Every other column is kept.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from cache.storage import Storage, open_storage
from common.text import listed
from featurize.datasets.listing import OUTSIDE, SPLITS, DatasetError, Layout, Listing, clips_of, first, read_csv

AUDIO_COLUMNS = ("fname", "filename", "file", "path", "audio")
LABEL_COLUMNS = ("label", "category", "class", "target")
SPLIT_COLUMNS = ("split",)
_LOOKED_AT = 20  # recordings, of which one must be there


def read_any_csv(
    folder: Storage,
    csv: str,
    audio_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    audio_dir: str = "",
) -> Listing:
    """The clips that a CSV lists.

    Args:
        csv: its path, or its path below the folder. audio_column, label_column, split_column: unless given, the
            first one there is of the usual names; without a column of splits every clip is a training clip.
        audio_dir: below the folder, what the names of recordings are relative to.
    Raises:
        DatasetError: a column that is missing, or a value that is wrong; a folder without any of the recordings.
    """
    place, file = (open_storage(Path(csv).parent), Path(csv).name) if Path(csv).is_file() else (folder, csv)
    if not place.look(file):
        raise DatasetError(
            f"--csv: must be a CSV file, or one in {folder}, got {csv!r}, which is not there; correct it"
        )
    rows, where = read_csv(place, file), f"{place}/{file}"
    audio = _column(where, rows, "--audio-column", audio_column, AUDIO_COLUMNS)
    label = _column(where, rows, "--label-column", label_column, LABEL_COLUMNS)
    if label in (audio, "manually_verified"):
        raise DatasetError(f"{where}: --label-column must be a column of labels, got {label!r}; name another")
    has_splits = split_column is not None or any(name.strip().lower() in SPLIT_COLUMNS for name in rows)
    split = "train"
    if has_splits:
        split = _splits(where, rows, _column(where, rows, "--split-column", split_column, SPLIT_COLUMNS), audio)
    if audio_dir and re.search(OUTSIDE, audio_dir) and audio_dir != ".":
        raise DatasetError(f"--audio-dir: must be a folder inside {folder}, got {audio_dir!r}; name one below it")
    below = f"{audio_dir.rstrip('/')}/" if audio_dir not in ("", ".") else ""
    clips = clips_of(where, rows, below + rows[audio], audio, label, split)
    if not any(map(folder.look, clips["file"].head(_LOOKED_AT))):
        raise DatasetError(
            f"{where}: recordings must lie in {folder / below if below else folder}, got none at "
            f"{folder}/{clips['file'].iloc[0]}; give --audio-dir, or another --audio-column than {audio}"
        )
    return Listing([clips[clips["split"] == name] for name in ("train", "test")])


def _column(where: str, rows: pd.DataFrame, flag: str, given: str | None, usual: Iterable[str]) -> str:
    if given is not None:
        if given not in rows:
            raise DatasetError(
                f"{where}: {flag} must be a column of it ({listed(rows.columns, 20)}), got {given!r}"
            )
        return given
    named = {column.strip().lower(): column for column in reversed(rows.columns)}
    for name in usual:
        if name in named:
            return named[name]
    raise DatasetError(
        f"{where}: must have a column {' or '.join(usual)}, got {listed(rows.columns, 20)}; name one with {flag}"
    )


def _splits(where: str, rows: pd.DataFrame, column: str, audio: str) -> pd.Series:
    known = rows[column].str.strip().str.lower().map(SPLITS)
    for row in first(known.isna()):
        raise DatasetError(
            f"{where}: {column} of {rows[audio].iloc[row]} (row {row + 1}) must be {', '.join(SPLITS)}, got "
            f"{rows[column].iloc[row]!r}; correct it, or name another --split-column"
        )
    return known


ANY_CSV = Layout("--csv FILE, of your own", read_any_csv)
