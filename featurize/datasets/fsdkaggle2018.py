"""FSDKaggle2018 as it is published on Zenodo, its archives unpacked side by side.

DATA/FSDKaggle2018.meta/train_post_competition.csv                fname,label,manually_verified,...
DATA/FSDKaggle2018.audio_train/FNAME
DATA/FSDKaggle2018.meta/test_post_competition_scoring_clips.csv   fname,label,usage,...; optional
DATA/FSDKaggle2018.audio_test/FNAME

usage says what a test clip counted for: Public and Private for a leaderboard, Ignored for none. Without the CSV of
the scoring clips, test_post_competition.csv is read, which lists every test clip.

Source: https://zenodo.org/records/2552860
"""

import pandas as pd

from cache.storage import Storage
from featurize.datasets.listing import DatasetError, Layout, Listing, check_folder, clips_of, first, read_csv

_META, _TRAIN, _TEST = (f"FSDKaggle2018.{name}" for name in ("meta", "audio_train", "audio_test"))
_TEST_CSVS = [f"{_META}/test_post_competition{scoring}.csv" for scoring in ("_scoring_clips", "")]
_USAGES = {"public": "Public", "private": "Private", "ignored": "Ignored", "": ""}


def read_fsdkaggle2018(folder: Storage) -> Listing:
    """The clips of both CSV files; the recordings are not looked at."""
    csv = f"{_META}/train_post_competition.csv"
    train = read_csv(folder, csv, ["fname", "label"])
    check_folder(folder, _TRAIN, csv)
    tables = [clips_of(f"{folder}/{csv}", train, f"{_TRAIN}/" + train["fname"])]
    if csv := next(filter(folder.look, _TEST_CSVS), None):
        test, where = read_csv(folder, csv, ["fname", "label", "usage"]), f"{folder}/{csv}"
        check_folder(folder, _TEST, csv)
        test = test.assign(usage=_usages(where, test))
        tables.append(clips_of(where, test, f"{_TEST}/" + test["fname"], split="test"))
    return Listing(tables)


def _usages(where: str, rows: pd.DataFrame) -> pd.Series:
    known = rows["usage"].str.strip().str.lower().map(_USAGES)
    for row in first(known.isna()):
        raise DatasetError(
            f"{where}: usage of {rows['fname'].iloc[row]} must be Public, Private or Ignored, got "
            f"{rows['usage'].iloc[row]!r}; correct it"
        )
    return known


FSDKAGGLE2018 = Layout(f"{_META}/, .audio_train/", read_fsdkaggle2018, marks=(_META, _TRAIN))
