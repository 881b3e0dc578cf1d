"""Settings name features and folders, and refuse numbers out of range and flags that do not go together."""

from pathlib import Path

import pytest

from cache.specification import LogmelSpecification, MfccSpecification, RawSpecification
from cache.storage import CacheError
from featurize.settings import Data, Features, Options, Settings, SettingsError, Table, check


def test_all_three_kinds_are_made_unless_some_are_named():
    assert Settings().features.specifications == (
        RawSpecification(16000, "int16"),
        MfccSpecification(40, 44100),
        LogmelSpecification(64, 44100),
    )
    assert Features(kinds=("logmel",), n_mels=32, mel_sample_rate=8000).specifications == (
        LogmelSpecification(32, 8000),
    )
    check(Settings())


def test_trimming_is_for_every_kind():
    assert {specification.trim_db for specification in Features(trim_db=30.0).specifications} == {30.0}


def test_no_kind_is_refused():
    with pytest.raises(SettingsError, match="--features: must name a kind, got none; name raw, mfcc or logmel"):
        check(Settings(features=Features(kinds=())))


def test_the_cache_lies_in_the_work_folder_unless_it_is_told_where():
    assert Data(work=Path("w")).cache_folder.path() == Path("w/cache")
    assert Data(work=Path("w"), cache="c").cache_folder.path() == Path("c")


def test_what_is_neither_folder_nor_bucket_is_refused():
    with pytest.raises(CacheError, match="^ftp://x/y: must be a folder, or s3://BUCKET/PREFIX"):
        _ = Data(data="ftp://x/y").folder


@pytest.mark.parametrize(
    ("settings", "flag", "value"),
    [
        (Settings(features=Features(sample_rate=0)), "sr", 0),
        (Settings(features=Features(n_mfcc=129)), "mfcc", 129),
        (Settings(features=Features(mel_sample_rate=10**7)), "mfcc-sr", 10**7),
        (Settings(features=Features(n_mels=513)), "n-mels", 513),
        (Settings(features=Features(trim_db=float("nan"))), "trim-db", "nan"),
        (Settings(run=Options(jobs=0)), "jobs", 0),
        (Settings(data=Data(limit=-3)), "limit", -3),
    ],
)
def test_numbers_out_of_range_are_refused(settings, flag, value):
    with pytest.raises(SettingsError, match=rf"^--{flag}: must be from 1 to \d+, got {value}; give one in that"):
        check(settings)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            {"engine": "dask"},
            "--engine dask needs --scheduler with the address of a Dask scheduler, such as tcp://",
        ),
        (
            {"scheduler": "tcp://h:1"},
            "--scheduler is for --engine dask, got --engine threads; give both or neither",
        ),
        (
            {"engine": "dask", "scheduler": "tcp://h:1", "jobs": 3},
            "--jobs 3 is not for --engine dask, where each thread of a worker takes one job; leave it out",
        ),
    ],
)
def test_an_engine_and_what_does_not_go_with_it(options, line):
    with pytest.raises(SettingsError, match=line):
        check(Settings(run=Options(**options)))


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            Settings(data=Data(layout="esc50"), table=Table(csv="a.csv")),
            "^--csv is for --layout csv, got --layout esc50; leave one of them out",
        ),
        (
            Settings(data=Data(layout="kaggle"), table=Table(label_column="x")),
            "^--label-column is for --layout csv, got --layout kaggle; leave one of them out",
        ),
        (
            Settings(data=Data(layout="csv")),
            "^--csv: must name the CSV that lists the recordings, got none; give --csv FILE",
        ),
        (
            Settings(table=Table(audio_dir="x")),
            "^--csv: must name the CSV that lists the recordings, got none; give --csv FILE",
        ),
    ],
)
def test_flags_of_a_csv_are_for_its_layout(settings, line):
    with pytest.raises(SettingsError, match=line):
        check(settings)


def test_a_csv_is_a_layout():
    check(Settings(table=Table(csv="a.csv")))
    check(Settings(data=Data(layout="csv"), table=Table(csv="a.csv")))
    assert Table(csv="a.csv", audio_dir="x").given == {"csv": "a.csv", "audio_dir": "x"}


def test_a_cluster_without_its_extra(monkeypatch):
    monkeypatch.setattr("featurize.settings.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r'needs dask\.distributed; run pip install "earmark\[dask\]"'):
        check(Settings(run=Options(engine="dask", scheduler="tcp://h:1")))
