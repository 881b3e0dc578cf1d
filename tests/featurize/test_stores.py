"""Asked stores are found or made up; the cache's others come along."""

import pytest

from cache import CacheError, MfccSpecification, RawSpecification
from cache.folder import Cache
from featurize.stores import stores_to_update

RAW, MFCC = RawSpecification(100), MfccSpecification(4, sample_rate=2000)


@pytest.fixture
def cache(tmp_path, write_dataset, noise, featurize):
    data = write_dataset(tmp_path / "data", {"a.wav": noise(1, 2000)})
    featurize(data, tmp_path / "cache", [RAW, MFCC])
    return Cache(tmp_path / "cache")


def names(stores):
    return [(store.path.name, store.asked) for store in stores]


def test_a_new_store_is_named_by_its_specification(tmp_path):
    assert names(stores_to_update(Cache(tmp_path), [RAW])) == [("raw-100.zarr", True)]


def test_others_come_along(cache):
    stores = stores_to_update(cache, [RawSpecification(200)])
    assert names(stores) == [("raw-200.zarr", True), ("mfcc-4-2000.zarr", False), ("raw-100.zarr", False)]


def test_more_coefficients_serve_fewer(cache):
    fewer = MfccSpecification(2, sample_rate=2000)
    assert names(stores_to_update(cache, [fewer])) == [("mfcc-4-2000.zarr", True), ("raw-100.zarr", False)]


def test_fewer_coefficients_do_not_serve_more(cache):
    assert ("mfcc-9-2000.zarr", True) in names(stores_to_update(cache, [MfccSpecification(9, sample_rate=2000)]))


def test_an_asked_store_of_another_specification_is_refused_by_name(cache):
    (cache.path / "raw-100.zarr").rename(cache.path / "raw-300.zarr")
    message = r"raw-300\.zarr: specification must be the one its name says, got that of raw-100\.zarr"
    with pytest.raises(CacheError, match=message):
        stores_to_update(cache, [RawSpecification(300)])


def test_a_store_not_asked_for_and_not_ours_is_left_alone(cache):
    for key in ("zarr.json", "features/zarr.json"):
        (cache.path / "raw-100.zarr" / key).write_text('{"attributes": {}}')
    assert names(stores_to_update(cache, [MFCC])) == [("mfcc-4-2000.zarr", True)]
