import shutil

from cache.lock import writing
from cache.receipts import receipt_path
from cache.specification import RawSpecification

RAW = RawSpecification(100)


def test_rm_removes_a_store_and_its_receipts_and_nothing_else(run, made):
    assert run("rm", RAW.name) == (0, "work/cache/raw-100.zarr: removed\n", "")
    names = {path.name for path in made.path.iterdir()} - {"writer.lock"}
    assert names == {"clips.parquet", "plan.parquet", "copies", "mfcc-4-2000.zarr", "mfcc-4-2000.receipts"}


def test_rm_takes_a_store_without_receipts_or_metadata(run, made):
    shutil.rmtree(made.path / "raw-100.receipts")
    (made.path / RAW.name / "zarr.json").unlink()
    assert run("rm", "raw-100")[0] == 0
    assert not (made.path / RAW.name).exists()


def test_rm_keeps_the_store_where_its_receipts_cannot_be_removed(run, made, monkeypatch):
    def refuse(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(shutil, "rmtree", refuse)
    code, out, err = run("rm", RAW.name)
    assert (code, out) == (2, "")
    assert err == "cache: work/cache/raw-100.receipts: Permission denied\n"
    assert receipt_path(made.path / RAW.name, 0).exists() and (made.path / RAW.name).exists()


def test_rm_waits_for_no_other_writer(run, made):
    with writing(made.path):
        code, out, err = run("rm", RAW.name)
    assert (code, out) == (2, "") and "one writer at a time" in err
    assert (made.path / RAW.name).exists()


def test_rm_without_a_cache_makes_none(run, tmp_path):
    code, _, err = run("rm", "raw-100")
    assert code == 2 and err == "cache: work/cache: store must be one of those there (none), got 'raw-100'\n"
    assert list(tmp_path.iterdir()) == []
