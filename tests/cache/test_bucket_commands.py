"""`python -m cache` on a cache in a bucket: the same answers as on disk."""

import pytest

from cache.receipts import done_groups
from cache.specification import MfccSpecification, RawSpecification
from cache.zarr_files import feature_chunk_key

RAW, MFCC = RawSpecification(100), MfccSpecification(4, 2000)


@pytest.fixture
def place(make_cache, bucket, upload):
    return upload(make_cache().path, bucket / "cache")


def test_ls_and_info_say_what_a_cache_on_disk_says(place, make_cache, run):
    made = make_cache("here")
    code, out, err = run("ls", "--cache", place)
    assert (code, err) == (0, "")
    assert out == run("ls", "--cache", made.path)[1].replace(str(made.path), str(place))
    there, here = run("info", "raw-100", "--cache", place), run("info", "raw-100", "--cache", made.path)
    assert there[1].replace(str(place), "CACHE") == here[1].replace(str(made.path), "CACHE")


def test_verify_finds_nothing_in_a_sound_cache(place, run):
    assert run("verify", "--cache", place) == (0, "tables: ok\nmfcc-4-2000.zarr: ok\nraw-100.zarr: ok\n", "")


def test_verify_names_a_bad_chunk_and_withdraws_its_receipt(place, run):
    chunk = place / RAW.name / feature_chunk_key(RAW, 0)
    chunk.write_bytes(b"\7" + chunk.read_bytes()[1:])
    code, out, err = run("verify", "--cache", place)
    assert (code, err) == (1, "")
    assert f"{chunk}: damaged chunk: checksum must be " in out
    assert out.endswith("raw-100.zarr: BAD, run the same featurize again to repair\n")
    assert done_groups(place / RAW.name) == {1, 2, 5} and done_groups(place / MFCC.name) == {0, 1, 2, 5}


def test_rm_removes_a_store_and_its_receipts_and_nothing_else(place, run):
    assert run("rm", "raw-100", "--cache", place) == (0, f"{place}/raw-100.zarr: removed\n", "")
    assert {path.name for path in place.iterdir()} >= {MFCC.name, "clips.parquet", "plan.parquet"}
    assert not any(path.name.startswith("raw-100") for path in place.iterdir())


def test_no_cache_in_a_bucket_is_said(bucket, run):
    says = f"cache: {bucket}/none: no cache here; run `python -m featurize` first\n"
    assert run("ls", "--cache", bucket / "none") == (2, "", says)


def test_a_bucket_that_is_not_there_is_one_line(s3, run):
    code, out, err = run("verify", "--cache", "s3://no-such-bucket/x")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("cache: s3://no-such-bucket/x: bucket must exist, got none (")


def test_compact_needs_a_disk(place, run):
    code, out, err = run("compact", "--cache", place)
    assert (code, out, err.count("\n")) == (2, "", 1) and err.startswith(f"cache: {place}: must be ")
