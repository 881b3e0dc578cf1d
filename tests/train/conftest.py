"""Fixtures of the trainer's tests: small caches made by featurize."""

import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf

from cache import MfccSpecification, RawSpecification, open_cache
from cache.storage import LocalStorage
from featurize.datasets import read_dataset
from featurize.run import Options, run
from train.input.dataset import open_dataset
from train.settings import settings_for

RATE = 4000
LABELS = ("Hum", "None", "Rain drops")
SPECIFICATIONS = (RawSpecification(RATE), MfccSpecification(20, RATE))


@pytest.fixture(scope="session")
def small_dataset(tmp_path_factory) -> Path:
    """A dataset of 20 training clips of three labels and 4 test clips.

    Of the training clips one is empty, one no recording at all, and one unverified; column "part" gives folds.
    """
    folder = tmp_path_factory.mktemp("dataset")
    train = [f"clip {number:02}.wav" for number in range(20)]
    test = [f"test {number}.wav" for number in range(4)]
    for number, clip in enumerate(train):
        _write_clip(folder / "audio_train" / clip, number, empty=number == 18)
    for number, clip in enumerate(test):
        _write_clip(folder / "audio_test" / clip, 100 + number, empty=number == 3)
    (folder / "audio_train" / train[19]).write_text("this is no recording")
    rows = [[clip, LABELS[n % 3], int(n != 4), f"part{10 - n % 2}"] for n, clip in enumerate(train)]
    _write_csv(folder / "train.csv", [["fname", "label", "manually_verified", "part"], *rows])
    _write_csv(folder / "sample_submission.csv", [["fname", "label"], *([clip, LABELS[0]] for clip in test)])
    return folder


@pytest.fixture(scope="session")
def featurized():
    """A function that featurizes a dataset's folder into a work folder: folder, work, *specifications."""
    return _featurized


@pytest.fixture(scope="session")
def make_cache(small_dataset):
    """A function that featurizes the small dataset into a work folder."""
    return lambda work, *specifications: _featurized(small_dataset, work, *specifications)


@pytest.fixture(scope="session")
def work(tmp_path_factory, make_cache) -> Path:
    """A work folder whose cache holds the small dataset."""
    return make_cache(tmp_path_factory.mktemp("work"), *SPECIFICATIONS)


@pytest.fixture(scope="session")
def other_work(tmp_path_factory) -> Path:
    """A work folder without test clips and without verification: 8 clips of two labels."""
    folder = tmp_path_factory.mktemp("dataset")
    clips = [f"{number}.wav" for number in range(8)]
    for number, clip in enumerate(clips):
        _write_clip(folder / "audio_train" / clip, number)
    _write_csv(folder / "train.csv", [["fname", "label"], *([clip, LABELS[n % 2]] for n, clip in enumerate(clips))])
    return _featurized(folder, tmp_path_factory.mktemp("work"), *SPECIFICATIONS)


@pytest.fixture
def dataset(work):
    """A function that opens the dataset under some settings."""
    return lambda model="conv1d", **settings: open_dataset(
        open_cache(work / "cache"), settings_for(model, work=work, **settings)
    )


@pytest.fixture
def progress():
    """A progress display that keeps what it is told: `lines` and `results`."""
    said = SimpleNamespace(lines=[], results=[], epochs=[])
    said.say = said.lines.append
    said.begin_fold = lambda *_: None
    said.begin_epoch = lambda *_: None
    said.batch = lambda *_: None
    said.end_epoch = said.epochs.append
    said.end_fold = said.results.append
    return said


@pytest.fixture
def untrained(monkeypatch):
    """Makes runs write made-up predictions in place of training a net; a list of the folds that were asked for.

    Put an error into it under a fold's number, `untrained.errors[1] = OSError()`, and that fold raises it.
    """
    asked = _Asked()

    def train_fold(fold, dataset, folder, progress):
        asked.append(fold)
        if fold in asked.errors:
            raise asked.errors[fold]
        random = np.random.default_rng(fold)
        n_clips, n_labels = len(dataset.train) + len(dataset.test), len(dataset.labels)
        made_up = random.dirichlet(np.ones(n_labels), n_clips)
        result = {"epochs": 2, "kept_epoch": 1, "seconds": 1.0}
        return folder.write_fold(fold, *np.split(made_up, [len(dataset.train)]), result=result)

    monkeypatch.setattr("train.run.train_fold", train_fold)
    return asked


class _Asked(list):
    def __init__(self):
        super().__init__()
        self.errors = {}


def _write_clip(path: Path, number: int, empty: bool = False) -> None:
    """A tone whose pitch goes by the label, of 0.3 to 0.9 s, in noise."""
    path.parent.mkdir(exist_ok=True)
    random = np.random.default_rng(number)
    time = np.arange(0 if empty else random.integers(1200, 3600)) / RATE
    tone = np.sin(2 * np.pi * 200 * (1 + number % 3) * time)
    sf.write(path, 0.4 * tone + 0.1 * random.uniform(-1, 1, len(time)), RATE)


def _write_csv(path: Path, rows: list[list]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def _featurized(folder: Path, work: Path, *specifications) -> Path:
    run(read_dataset(LocalStorage(folder)), LocalStorage(work / "cache"), specifications, Options())
    return work
