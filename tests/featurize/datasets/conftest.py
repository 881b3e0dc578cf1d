"""Every layout, made by links of one dataset in Kaggle's layout.

As a command: python tests/featurize/datasets/conftest.py KAGGLE TARGET makes TARGET/LAYOUT of each.
"""

import sys
from pathlib import Path

import pandas as pd
import pytest

from cache.storage import open_storage
from featurize.datasets import DatasetError, read_dataset

USAGES = ("Public", "Private", "Ignored")


@pytest.fixture
def lay_out():
    """A function that makes a dataset of another layout from one in Kaggle's: layout, source, target."""
    return lambda layout, source, target: _LAYOUTS[layout](source, target)


@pytest.fixture
def kaggle(tmp_path, write_dataset, noise) -> Path:
    """Six labelled clips of three labels, of which None is one, and two test clips, in Kaggle's layout."""
    train = {f"{i}.wav": noise(0.1, seed=i) for i in range(6)}
    test = {f"t{i}.wav": noise(0.1, seed=9 + i) for i in range(2)}
    return write_dataset(tmp_path / "kaggle", train, test)


@pytest.fixture
def read():
    """A function that reads a dataset from a folder."""
    return lambda folder, **options: read_dataset(open_storage(folder), **options)


@pytest.fixture
def refusal(read):
    """A function that gives the line that a folder is refused with."""

    def refusal(folder, **options):
        with pytest.raises(DatasetError) as error:
            read(folder, **options)
        assert "\n" not in str(error.value)
        return str(error.value)

    return refusal


def _fsdkaggle2018(source: Path, target: Path) -> Path:
    train, test = _tables(source)
    usage = [USAGES[i % 3] for i in range(len(test))]
    _link(source, target, "audio_train/" + train["fname"], "FSDKaggle2018.audio_train/" + train["fname"])
    _link(source, target, "audio_test/" + test["fname"], "FSDKaggle2018.audio_test/" + test["fname"])
    own = pd.DataFrame({"manually_verified": 1, "freesound_id": range(len(train)), "license": "CC0"})
    _write(target, "FSDKaggle2018.meta/train_post_competition.csv", train[["fname", "label"]].join(own))
    scoring = "FSDKaggle2018.meta/test_post_competition_scoring_clips.csv"
    _write(target, scoring, test.assign(usage=usage, freesound_id="7", license="CC0"))
    return target


def _esc50(source: Path, target: Path) -> Path:
    train, _ = _tables(source)
    _link(source, target, "audio_train/" + train["fname"], "audio/" + train["fname"])
    rows = {"filename": train["fname"], "fold": _folds(train, 5), "target": train["label"].factorize()[0]}
    _write(target, "meta/esc50.csv", pd.DataFrame({**rows, "category": train["label"], "esc10": True}))
    return target


def _urbansound8k(source: Path, target: Path) -> Path:
    train, _ = _tables(source)
    folds = _folds(train, 10)
    _link(source, target, "audio_train/" + train["fname"], "audio/fold" + folds + "/" + train["fname"])
    rows = {"slice_file_name": train["fname"], "fsID": "1", "fold": folds, "classID": "0", "class": train["label"]}
    _write(target, "metadata/UrbanSound8K.csv", pd.DataFrame(rows))
    return target


def _folders(source: Path, target: Path, train_folder: str = "", test_folder: str = "") -> Path:
    train, test = _tables(source)
    _link(source, target, "audio_train/" + train["fname"], train_folder + train["label"] + "/" + train["fname"])
    if test_folder:
        _link(source, target, "audio_test/" + test["fname"], test_folder + test["fname"])
    return target


def _split_folders(source: Path, target: Path) -> Path:
    return _folders(source, target, "train/", "test/")


def _csv(source: Path, target: Path) -> Path:
    train, test = _tables(source)
    _link(source, target, "audio_train/" + train["fname"], "sounds/" + train["fname"])
    _link(source, target, "audio_test/" + test["fname"], "sounds/" + test["fname"])
    rows = pd.concat([train.assign(split="training"), test.assign(split="testing")])
    _write(target, "list.csv", rows.rename(columns={"fname": "path", "label": "class"})[["path", "class", "split"]])
    return target


def _unlabelled(source: Path, target: Path) -> Path:
    train, _ = _tables(source)
    _link(source, target, "audio_train/" + train["fname"], train["fname"])
    return target


def _tables(source: Path) -> list[pd.DataFrame]:
    """The clips of a dataset in Kaggle's layout; the first test clips have labels."""
    train, test = (
        pd.read_csv(source / name, dtype=str, keep_default_na=False)
        for name in ("train.csv", "sample_submission.csv")
    )
    labels = train["label"].unique()
    return [train, test[["fname"]].assign(label=[labels[i % len(labels)] for i in range(len(test))])]


def _folds(clips: pd.DataFrame, n_folds: int) -> pd.Series:
    """Folds, from 1, over which the clips of each label are spread."""
    return (clips.groupby("label").cumcount() % n_folds + 1).astype(str)


def _link(source: Path, target: Path, files: pd.Series, names: pd.Series) -> None:
    for file, name in zip(files, names, strict=True):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).symlink_to(source.resolve() / file)


def _write(target: Path, csv: str, rows: pd.DataFrame) -> None:
    (target / csv).parent.mkdir(parents=True, exist_ok=True)
    rows.to_csv(target / csv, index=False)


_LAYOUTS = {
    "fsdkaggle2018": _fsdkaggle2018,
    "esc50": _esc50,
    "urbansound8k": _urbansound8k,
    "folders": _folders,
    "split folders": _split_folders,
    "csv": _csv,
    "unlabelled": _unlabelled,
}

if __name__ == "__main__":
    for name, make in _LAYOUTS.items():
        make(Path(sys.argv[1]), Path(sys.argv[2]) / name.replace(" ", "-"))
