"""Settings give features and options their defaults, and refuse numbers out of range."""

from pathlib import Path

import pytest

from cache import LogmelSpecification, MfccSpecification, RawSpecification
from featurize.engine import default_jobs
from featurize.settings import Settings, SettingsError, check


def test_defaults_are_the_notebooks():
    settings = Settings()
    assert settings.specifications == (RawSpecification(16000, "int16"), MfccSpecification(40, 44100))
    assert settings.cache_path == Path("work/cache") and settings.options.n_jobs == default_jobs()
    check(settings)


def test_kinds_are_chosen_and_logmel_added():
    assert Settings(features=("raw",)).specifications == (RawSpecification(),)
    assert Settings(features=(), logmel=64).specifications == (LogmelSpecification(64, 44100),)


def test_no_kind_is_refused():
    with pytest.raises(SettingsError, match="--features: must name a kind, got none; name raw or mfcc, or give"):
        check(Settings(features=()))


def test_cache_goes_where_it_is_told():
    assert Settings(work=Path("w")).cache_path == Path("w/cache")
    assert Settings(work=Path("w"), cache=Path("c")).cache_path == Path("c")


def test_stop_on_error():
    assert Settings(on_error="stop").options.stop_on_error and not Settings().options.stop_on_error


@pytest.mark.parametrize(
    ("name", "value"), [("sr", -1), ("mfcc", 0), ("mfcc_sr", 10**7), ("jobs", 0), ("limit", -3)]
)
def test_numbers_out_of_range_are_refused(name, value):
    with pytest.raises(
        SettingsError, match=rf"--{name.replace('_', '-')}: must be from 1 to \d+, got {value}; give"
    ):
        check(Settings(**{name: value}))


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            {"engine": "dask"},
            r"--scheduler: must be the address of a Dask scheduler with --engine dask, got none; give one, such as tcp:",
        ),
        (
            {"scheduler": "tcp://h:1"},
            r"--scheduler: must be with --engine dask, got --engine threads; give both or neither",
        ),
        (
            {"engine": "dask", "scheduler": "tcp://h:1", "jobs": 3},
            r"--jobs: must be without --engine dask, whose worker threads take a job each, got 3; leave it out",
        ),
    ],
)
def test_an_engine_and_what_does_not_go_with_it(settings, line):
    with pytest.raises(SettingsError, match=line):
        check(Settings(**settings))


def test_a_cluster_without_its_extra(monkeypatch):
    monkeypatch.setattr("featurize.settings.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r'got none installed; pip install "earmark\[dask\]"'):
        check(Settings(engine="dask", scheduler="tcp://h:1"))


def test_a_cluster_is_an_option():
    options = Settings(engine="dask", scheduler="tcp://h:1").options
    assert (options.engine, options.scheduler) == ("dask", "tcp://h:1")
