import json
import shutil

import pytest
import zarr

from cache import Cache, CacheError, open_cache
from cache.clips import FILE_NAME
from cache.receipts import Status, withdraw
from cache.specification import MfccSpecification, RawSpecification

RAW = RawSpecification(100)
MFCC = MfccSpecification(4, 2000)


def test_the_clip_table_and_the_plan_are_read(make_cache):
    cache = open_cache(make_cache().path)
    assert cache.clips["clip"].tolist() == [f"clip {i}.wav" for i in range(6)]
    assert list(cache.clips) == ["clip", "split", "label", "manually_verified", "slot"]
    assert cache.plan["group"].tolist() == [0, 0, 0, 1, 2, 5]


def test_a_path_may_be_a_string(make_cache):
    assert open_cache(str(make_cache().path)).store_paths()


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_no_cache_is_said(tmp_path, make):
    make(tmp_path / "cache")
    with pytest.raises(CacheError, match=r"/cache: no cache here; run `python -m featurize` first"):
        open_cache(tmp_path / "cache")


def test_a_foreign_clip_table_is_refused_at_once(make_cache):
    made = make_cache()
    made.plan.to_parquet(made.path / FILE_NAME)
    with pytest.raises(CacheError, match=r"clips\.parquet: must be earmark's clips table, got a foreign file"):
        open_cache(made.path)


def test_a_newer_clip_table_is_refused_at_once(make_cache, monkeypatch):
    monkeypatch.setattr("cache.tables.VERSION", 2)
    made = make_cache()
    monkeypatch.undo()
    with pytest.raises(
        CacheError, match=r"clips\.parquet: format version must be at most 1, got 2; update earmark"
    ):
        open_cache(made.path)


def test_stores_are_listed_by_name(make_cache):
    made = make_cache(specifications=[RAW, MFCC, RawSpecification(50)])
    (made.path / "notes.zarr").write_text("a file")
    names = [path.name for path in open_cache(made.path).store_paths()]
    assert names == ["mfcc-4-2000.zarr", "raw-100.zarr", "raw-50.zarr"]


def test_nothing_needs_to_be_said_where_one_store_fits(make_cache):
    cache = open_cache(make_cache().path)
    assert cache.open_store("raw").name == "raw-100.zarr"
    assert cache.open_store("mfcc").name == "mfcc-4-2000.zarr"
    assert cache.open_store("mfcc", sample_rate=2000, n_mfcc=4).specification == MFCC


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (
            {"kind": "raw", "sample_rate": 50},
            r"must hold raw features for --sr 50, got mfcc-4-2000\.zarr, raw-100\.zarr; run python -m featurize --sr 50$",
        ),
        (
            {"kind": "mfcc", "sample_rate": 44100, "n_mfcc": 4},
            r"must hold mfcc features for --mfcc-sr 44100 --mfcc 4, got .*; run .* featurize --mfcc-sr 44100 --mfcc 4$",
        ),
        (
            {"kind": "mfcc", "n_mfcc": 5},
            r"must hold mfcc features for --mfcc 5, got .*; run python -m featurize --mfcc 5$",
        ),
    ],
)
def test_a_store_that_is_not_there_is_asked_for_with_its_flags(make_cache, asked, says):
    with pytest.raises(CacheError, match="/cache: " + says):
        open_cache(make_cache().path).open_store(**asked)


def test_a_log_mel_store_is_advised_with_a_number_of_bands(make_cache):
    with pytest.raises(
        CacheError, match=r"must hold logmel features, got .*; run python -m featurize --logmel 64$"
    ):
        open_cache(make_cache().path).open_store("logmel")


def test_kinds_are_those_of_the_stores(make_cache):
    assert open_cache(make_cache().path).kinds == {"raw", "mfcc"}


def test_a_cache_without_stores_says_so(make_cache):
    cache = open_cache(make_cache(specifications=[]).path)
    with pytest.raises(CacheError, match=r"must hold raw features, got no store; run python -m featurize$"):
        cache.open_store("raw")


def test_two_sample_rates_are_chosen_from_by_a_flag(make_cache):
    cache = open_cache(make_cache(specifications=[RAW, RawSpecification(50)]).path)
    with pytest.raises(
        CacheError, match=r"one raw store must fit, got raw-100\.zarr and raw-50\.zarr; choose with --sr$"
    ):
        cache.open_store("raw")
    assert cache.open_store("raw", sample_rate=50).name == "raw-50.zarr"


def test_mfccs_that_differ_in_both_numbers_are_chosen_from_by_both_flags(make_cache):
    cache = open_cache(make_cache(specifications=[MFCC, MfccSpecification(2, 1000)]).path)
    with pytest.raises(CacheError, match=r"one mfcc store must fit, got .*; choose with --mfcc-sr or --mfcc$"):
        cache.open_store("mfcc")
    assert cache.open_store("mfcc", sample_rate=1000).name == "mfcc-2-1000.zarr"


def test_stores_that_no_flag_tells_apart_are_named(make_cache):
    cache = open_cache(make_cache(specifications=[RAW, RawSpecification(100, "float32")]).path)
    with pytest.raises(
        CacheError, match=r"got raw-100-.*\.zarr and raw-100\.zarr; remove all but one with .* rm STORE"
    ):
        cache.open_store("raw", sample_rate=100)


def test_fewer_coefficients_are_served_by_more(make_cache):
    cache = open_cache(make_cache().path)
    assert cache.open_store("mfcc", n_mfcc=2).name == "mfcc-4-2000.zarr"


def test_the_fewest_coefficients_that_serve_are_taken(make_cache):
    cache = open_cache(make_cache(specifications=[MFCC, MfccSpecification(2, 2000)]).path)
    assert cache.open_store("mfcc", n_mfcc=2).name == "mfcc-2-2000.zarr"
    assert cache.open_store("mfcc", n_mfcc=3).name == "mfcc-4-2000.zarr"
    assert cache.open_store("mfcc", n_mfcc=1).name == "mfcc-2-2000.zarr"
    with pytest.raises(CacheError, match=r"one mfcc store must fit, got .*; choose with --mfcc$"):
        cache.open_store("mfcc")


def test_a_store_that_cannot_be_opened_is_only_in_the_way_where_no_other_fits(make_cache):
    cache = open_cache(make_cache().path)
    (cache.path / "raw-50.zarr").mkdir()
    assert cache.open_store("raw").name == "raw-100.zarr"
    with pytest.raises(CacheError, match=r"raw-50\.zarr/zarr\.json: missing, a run broke off"):
        cache.open_store("raw", sample_rate=50)


def test_an_incomplete_store_is_refused_by_name(make_cache):
    cache = open_cache(make_cache(without=[1, 5]).path)
    with pytest.raises(
        CacheError,
        match=r"/raw-100\.zarr: incomplete store, 2 of 6 clips are missing, clip 3\.wav for one; "
        r"run the same featurize again, it goes on from what is done",
    ):
        cache.open_store("raw")


def test_a_withdrawn_receipt_makes_a_store_incomplete(make_cache):
    made = make_cache()
    withdraw(made.path / RAW.name, 2)
    with pytest.raises(CacheError, match=r"raw-100\.zarr: incomplete store, 1 of 6 clips are missing, clip 4\.wav"):
        open_cache(made.path).open_store("raw")
    assert open_cache(made.path).open_store("mfcc")


def test_a_receipt_that_is_not_folded_yet_does_not_count(make_cache):
    whole, broken = make_cache("whole"), make_cache("broken", without=[1])
    for kind in ("raw-100", "mfcc-4-2000"):
        shutil.copytree(whole.path / f"{kind}.receipts", broken.path / f"{kind}.receipts", dirs_exist_ok=True)
    cache = open_cache(broken.path)
    with pytest.raises(CacheError, match="incomplete store, 1 of 6 clips are missing"):
        cache.open_store("raw")


def test_clips_that_the_store_does_not_know_yet_are_missing(make_cache):
    small, large = make_cache("small", seconds=[3, 3]), make_cache("large", seconds=[3, 3, 3])
    shutil.copy(large.path / FILE_NAME, small.path / FILE_NAME)
    cache = open_cache(small.path)
    with pytest.raises(CacheError, match=r"incomplete store, 1 of 3 clips are missing, clip 2\.wav for one"):
        cache.open_store("raw")


def test_failed_and_empty_clips_are_not_missing(make_cache):
    store = open_cache(make_cache().path).open_store("raw")
    assert store.status[1] == Status.EMPTY and store.length[1] == 0


def test_a_foreign_store_is_refused_by_name(make_cache):
    made = make_cache(specifications=[])
    zarr.create_group(made.path / "raw-100.zarr", zarr_format=3, attributes={"made": "elsewhere"})
    with pytest.raises(
        CacheError, match=r"raw-100\.zarr: must be a store of earmark, got a foreign one; move it away"
    ):
        open_cache(made.path).open_store("raw")


def test_a_newer_store_is_refused_by_name(make_cache, monkeypatch):
    monkeypatch.setattr("cache.fold.VERSION", 2)
    made = make_cache()
    monkeypatch.undo()
    with pytest.raises(
        CacheError, match=r"raw-100\.zarr: store format version must be 1, got 2; update earmark to read"
    ):
        open_cache(made.path).open_store("raw")


def test_a_store_under_the_name_of_another_is_refused(make_cache):
    made = make_cache()
    (made.path / "raw-100.zarr").rename(made.path / "raw-16000.zarr")
    with pytest.raises(
        CacheError, match=r"raw-16000\.zarr: specification must be the one its name says, got that of raw-100"
    ):
        open_cache(made.path).open_store("raw")


def test_a_store_whose_specification_differs_from_its_name_is_refused(make_cache):
    made = make_cache()
    for key in ("zarr.json", "features/zarr.json"):
        path = made.path / MFCC.name / key
        metadata = json.loads(path.read_text())
        metadata["attributes"]["specification"]["hop_length"] = 256
        path.write_text(json.dumps(metadata))
    with pytest.raises(
        CacheError, match=r"mfcc-4-2000\.zarr: specification must be the one its name says, got .* move"
    ):
        open_cache(made.path).open_store("mfcc")


def test_reading_a_cache_writes_nothing(make_cache):
    made = make_cache()
    before = {path: path.stat().st_mtime_ns for path in made.path.rglob("*")}
    store = Cache(made.path).open_store("raw")
    store.read(0, 100)
    assert {path: path.stat().st_mtime_ns for path in made.path.rglob("*")} == before
