"""Training from a cache in a bucket: the store that it needs is copied below the work folder, and mapped there."""

from pathlib import Path

import numpy as np
import pytest

import train.__main__
from cache import CacheError, open_cache
from cache.windows.cut import plain_plan
from train.input.dataset import open_dataset
from train.settings import settings_for


@pytest.fixture
def place(work, bucket, upload):
    return upload(work / "cache", bucket / "cache")


@pytest.mark.parametrize("model", ["conv1d", "conv2d"])
def test_windows_are_those_of_the_cache_on_disk(work, place, dataset, tmp_path, model):
    numbers = {} if model == "conv1d" else {"mfcc": 20}
    settings = settings_for(model, work=tmp_path, cache=str(place), **numbers)
    there, here = open_dataset(open_cache(settings.cache_path), settings), dataset(model, **numbers)
    plan = plain_plan(np.arange(24), np.zeros(24, int))
    assert np.array_equal(there.windows.cut(plan), here.windows.cut(plan))
    assert there.reasons.equals(here.reasons) and there.train.equals(here.train)
    assert there.windows.store.identity == here.windows.store.identity


def test_only_the_store_that_is_needed_is_copied(place, tmp_path):
    settings = settings_for("conv1d", work=tmp_path, cache=str(place))
    opened = open_dataset(open_cache(settings.cache_path), settings)
    copy = tmp_path / "cache-copy" / str(place).removeprefix("s3://")
    assert opened.windows.store.storage.path().parent == copy
    assert [path.name for path in copy.glob("*.zarr")] == [opened.windows.store.name]


def test_an_incomplete_store_is_refused_before_anything_is_copied(place, tmp_path):
    place.remove("raw-4000.receipts/000000.json")
    settings = settings_for("conv1d", work=tmp_path, cache=str(place))
    with pytest.raises(CacheError, match=r"^s3://.*/raw-4000\.zarr: incomplete store, \d+ of 24 clips are missing"):
        open_dataset(open_cache(settings.cache_path), settings)
    assert list(tmp_path.iterdir()) == []


def test_a_bucket_that_is_not_there_is_one_line(s3, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert train.__main__.main(["conv1d", "--quick", "--cache", "s3://no-such-bucket/x"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert err.startswith("train: s3://no-such-bucket/x: there is no such bucket")
    assert not Path("work").exists()
