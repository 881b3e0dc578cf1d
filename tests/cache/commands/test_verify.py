import json

import pytest

from cache.lock import writing
from cache.receipts import done_groups, receipt_path, withdraw
from cache.specification import MfccSpecification, RawSpecification
from cache.store import Store

RAW, MFCC = RawSpecification(100), MfccSpecification(4, 2000)


def _flip(path) -> None:
    data = bytearray(path.read_bytes())
    data[77] ^= 16
    path.write_bytes(data)


def test_verify_finds_nothing_in_a_sound_cache(run, made):
    assert run("verify") == (0, "tables: ok\nmfcc-4-2000.zarr: ok\nraw-100.zarr: ok\n", "")


def test_verify_names_the_clips_of_a_bad_chunk_and_withdraws_its_receipt(run, made):
    chunk = Store(made.path / RAW.name).chunk_path(0)
    _flip(chunk)
    code, out, err = run("verify")
    lines = out.splitlines()
    assert (code, err) == (1, "")
    assert lines[:2] == ["tables: ok", "mfcc-4-2000.zarr: ok"]
    assert lines[2].startswith("work/cache/raw-100.zarr/features/c/0: damaged chunk: checksum must be ")
    assert lines[2].endswith(": clip 0.wav, clip 1.wav, clip 2.wav")
    assert lines[3:] == ["raw-100.zarr: BAD, run the same featurize again to repair"]
    assert done_groups(made.path / RAW.name) == {1, 2, 5}
    assert done_groups(made.path / MFCC.name) == {0, 1, 2, 5}


def test_verify_takes_one_store(run, made):
    _flip(Store(made.path / RAW.name).chunk_path(0))
    assert run("verify", "mfcc-4-2000") == (0, "tables: ok\nmfcc-4-2000.zarr: ok\n", "")
    assert run("verify", RAW.name)[0] == 1


def test_verify_says_what_metadata_it_refuses_and_goes_on(run, made):
    for key in ("zarr.json", "features/zarr.json"):
        (made.path / MFCC.name / key).write_text("{")
    code, out, _ = run("verify")
    assert code == 1
    assert out.splitlines() == [
        "tables: ok",
        "mfcc-4-2000.zarr: refused: work/cache/mfcc-4-2000.zarr/zarr.json: damaged or foreign metadata; "
        "run featurize to mend it",
        "raw-100.zarr: ok",
    ]


@pytest.mark.parametrize("attribute", [{"format": "x"}, {"format_version": 9}, {"versions": {}}, {"receipts": []}])
def test_verify_names_damaged_metadata_of_a_store(run, made, attribute):
    path = made.path / RAW.name / "zarr.json"
    metadata = json.loads(path.read_text())
    metadata["attributes"] |= attribute
    path.write_text(json.dumps(metadata, indent=2))
    code, out, _ = run("verify")
    assert code == 1
    assert out.splitlines()[2:] == [
        "work/cache/raw-100.zarr/zarr.json: not what plan and receipts give; the next featurize writes it again",
        "raw-100.zarr: BAD, run the same featurize again to repair",
    ]


def test_verify_finds_a_damaged_array_by_slot(run, made):
    _flip(made.path / RAW.name / "scale" / "c" / "0")
    code, out, _ = run("verify", RAW.name)
    assert code == 1
    assert out.splitlines()[1].startswith(
        "work/cache/raw-100.zarr/scale/c/0: not what plan and receipts give; the next featurize"
    )
    assert done_groups(made.path / RAW.name) == {0, 1, 2, 5}


@pytest.mark.parametrize("name", ["clips.parquet", "plan.parquet", "copies/clips.parquet", "copies/plan.parquet"])
@pytest.mark.parametrize("lost", [False, True])
def test_verify_names_a_bad_table_and_goes_on(run, made, name, lost):
    path = made.path / name
    path.unlink() if lost else _flip(path)
    chunk = Store(made.path / RAW.name).chunk_path(1)
    _flip(chunk)
    code, out, err = run("verify")
    what = "missing table" if lost else "damaged table: its checksum does not match"
    lines = out.splitlines()
    assert (code, err) == (1, "")
    assert lines[:3] == [
        f"work/cache/{name}: {what}; the next featurize writes it again",
        "tables: BAD, run the same featurize again to repair",
        "mfcc-4-2000.zarr: ok",
    ]
    assert lines[3].startswith("work/cache/raw-100.zarr/features/c/1: damaged chunk") and lines[3].endswith(
        ": clip 3.wav"
    )


def test_verify_goes_on_without_any_plan(run, made):
    for name in ("plan.parquet", "copies/plan.parquet"):
        _flip(made.path / name)
    _flip(Store(made.path / RAW.name).chunk_path(1))
    code, out, err = run("verify")
    lines = out.splitlines()
    assert (code, err) == (1, "")
    mend = "restore it from elsewhere, or move the cache away and run featurize again"
    assert lines[0] == f"work/cache/plan.parquet: damaged table: its checksum does not match; {mend}"
    assert lines[3] == "work/cache/mfcc-4-2000.zarr: its metadata cannot be checked without clip table and plan"
    assert any(line.startswith("work/cache/raw-100.zarr/features/c/1: damaged chunk") for line in lines)


@pytest.mark.parametrize("harm", [_flip, lambda path: path.unlink()])
@pytest.mark.parametrize("harm_copy", [_flip, lambda path: path.unlink()])
def test_verify_promises_no_repair_without_any_plan(run, made, harm, harm_copy):
    harm(made.path / "plan.parquet")
    harm_copy(made.path / "copies" / "plan.parquet")
    receipt_path(made.path / RAW.name, 1).write_text("{")
    code, out, _ = run("verify")
    lines, verdict = out.splitlines(), "BAD, featurize refuses the cache until its plan.parquet is restored"
    assert code == 1
    assert lines[2:] == [
        f"tables: {verdict}",
        "work/cache/mfcc-4-2000.zarr: its metadata cannot be checked without clip table and plan",
        f"mfcc-4-2000.zarr: {verdict}",
        "work/cache/raw-100.receipts/000001.json: damaged receipt",
        "work/cache/raw-100.zarr: its metadata cannot be checked without clip table and plan",
        f"raw-100.zarr: {verdict}",
    ]


def test_verify_still_promises_repair_without_any_clip_table(run, made):
    for name in ("clips.parquet", "copies/clips.parquet"):
        _flip(made.path / name)
    lines = run("verify", RAW.name)[1].splitlines()
    assert lines[2:] == [
        "tables: BAD, run the same featurize again to repair",
        "work/cache/raw-100.zarr: its metadata cannot be checked without clip table and plan",
        "raw-100.zarr: BAD, run the same featurize again to repair",
    ]


def test_verify_names_tables_that_differ(run, make_cache, made):
    other = make_cache("other", seconds=[3])
    (made.path / "copies" / "plan.parquet").write_bytes((other.path / "plan.parquet").read_bytes())
    assert run("verify")[1].startswith(
        "work/cache/copies/plan.parquet: must be the same as plan.parquet, got another table; the next featurize"
    )


def test_verify_names_extra_files(run, made):
    store = made.path / RAW.name
    for path in (
        store / "notes.txt",
        store / "features/c/77",
        store / "features/c/0.partial",
        store.with_suffix(".receipts") / "7.json",
    ):
        path.write_text("x")
    code, out, _ = run("verify", RAW.name)
    assert code == 1
    assert out.splitlines() == [
        "tables: ok",
        "work/cache/raw-100.receipts/7.json: extra file, none of the store's; move it away",
        "work/cache/raw-100.zarr/features/c/0.partial: left by a run that broke off; the next featurize removes it",
        "work/cache/raw-100.zarr/features/c/77: extra chunk, no receipt counts it; `cache compact` removes it",
        "work/cache/raw-100.zarr/notes.txt: extra file, none of the store's; move it away",
        "raw-100.zarr: sound, but for the extra files named",
    ]


def test_verify_names_what_is_missing(run, made):
    store = made.path / RAW.name
    (store / "scale" / "zarr.json").unlink()
    Store(made.path / MFCC.name).chunk_path(5).unlink()
    lines = run("verify")[1].splitlines()
    assert lines[1:3] == [
        "work/cache/mfcc-4-2000.zarr/features/c/5/0: missing chunk: clip 5.wav",
        "mfcc-4-2000.zarr: BAD, run the same featurize again to repair",
    ]
    assert lines[3].startswith("work/cache/raw-100.zarr/scale/zarr.json: not what plan and receipts give; the next")


def test_verify_names_the_clips_of_lost_receipts(run, made):
    withdraw(made.path / RAW.name, 0)
    code, out, _ = run("verify", RAW.name)
    assert code == 1
    assert out.splitlines()[1:] == [
        "work/cache/raw-100.receipts: incomplete: clips without a result: clip 0.wav, clip 1.wav, clip 2.wav",
        "raw-100.zarr: incomplete, run the same featurize again to go on",
    ]


def test_verify_counts_clips_beyond_the_eighth(run, make_cache):
    made = make_cache("work/cache", seconds=[1] * 10)
    receipt_path(made.path / RAW.name, 0).write_text("{")
    assert run("verify", RAW.name)[1].splitlines()[1].endswith("clip 6.wav, clip 7.wav and 2 more")


def test_verify_after_verify_says_incomplete(run, made):
    _flip(Store(made.path / RAW.name).chunk_path(1))
    run("verify")
    assert run("verify", RAW.name)[1].endswith("raw-100.zarr: incomplete, run the same featurize again to go on\n")


def test_verify_withdraws_nothing_under_another_writer(run, made):
    _flip(Store(made.path / RAW.name).chunk_path(0))
    with writing(made.path):
        code, out, err = run("verify")
    assert code == 2 and "damaged chunk" in out
    assert err.startswith("cache: work/cache: one writer at a time, got a second one; process ")
    assert done_groups(made.path / RAW.name) == {0, 1, 2, 5}
