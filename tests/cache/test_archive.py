"""`python -m cache pack` and `unpack`: the same bytes again, valid Zarr on the way, nothing believed unchecked."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorstore
import xarray
import zarr

from cache import open_cache
from cache.archive import pack, unpack
from cache.compact import compact, plan_compaction
from cache.layout import feature_chunk_key
from cache.receipts import signed, unsigned, withdraw
from cache.specification import MfccSpecification, RawSpecification
from cache.storage import CacheError, DamagedError, LocalStorage
from cache.writer import writing
from common import EarmarkError

RAW, MFCC = RawSpecification(sample_rate=100), MfccSpecification(n_mfcc=4, sample_rate=2000)
N_BYTES = 6 * (RAW.chunk_bytes + MFCC.chunk_bytes)


def _files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("writer."))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def _unpack(archive: Path, target: Path) -> None:
    unpack(LocalStorage(archive), target)


def _pack(cache: Path, target: Path, *names: str) -> None:
    opened = open_cache(cache)
    pack(opened, names or opened.stores(), target)


def _say(archive: Path, **changes) -> None:
    """Have an archive's manifest say something else, with a checksum that fits."""
    path = archive / "manifest.json"
    body = unsigned(path.read_bytes())
    path.write_bytes(signed({**{name: value for name, value in body.items() if name != "checksum"}, **changes}))


@pytest.fixture
def packed(made, tmp_path) -> Path:
    """An archive of all stores of `made`."""
    _pack(made.path, tmp_path / "packed")
    return tmp_path / "packed"


def test_a_round_trip_gives_every_file_as_it_was(made, run, tmp_path):
    code, out, err = run("pack", "--all", "packed")
    before, after = (
        f"{N_BYTES / 1e6:.1f} MB",
        sum(len(data) for key, data in _files(tmp_path / "packed").items() if "/c/" in key and "features" in key),
    )
    assert (code, err) == (0, "")
    said = f"packed: mfcc-4-2000.zarr, raw-100.zarr packed, {before} to {after / 1e6:.1f} MB (ratio {N_BYTES / after:.2f}), "
    assert out.startswith(said) and out.endswith(" MB/s\n")
    shutil.move(tmp_path / "packed", tmp_path / "sent")
    code, out, err = run("unpack", "sent", "again")
    assert (code, err) == (0, "") and out.startswith(f"again: {before} unpacked and checked, ")
    assert _files(tmp_path / "again") == _files(made.path)
    assert {path.name for path in tmp_path.iterdir()} == {"work", "sent", "again"}
    assert run("verify", "--cache", "again")[0] == 0


def test_one_store_travels_alone(made, tmp_path):
    _pack(made.path, tmp_path / "packed", MFCC.name)
    _unpack(tmp_path / "packed", tmp_path / "again")
    assert _files(tmp_path / "again") == {
        k: data for k, data in _files(made.path).items() if not k.startswith("raw-")
    }
    assert open_cache(tmp_path / "again").open_store("mfcc")


@pytest.mark.parametrize("name", [RAW.name, MFCC.name])
def test_zarr_tensorstore_and_xarray_open_a_packed_store(made, packed, name):
    expected = made.features[name]
    np.testing.assert_array_equal(zarr.open_group(packed / name, mode="r")["features"][:], expected)
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(packed / name / "features")}}
    np.testing.assert_array_equal(tensorstore.open(spec).result().read().result(), expected)
    opened = xarray.open_zarr(packed / name, consolidated=False)
    np.testing.assert_array_equal(opened["features"].values, expected)
    np.testing.assert_array_equal(opened["status"].values, open_cache(made.path).store(name).status)


def test_zarr_can_write_such_a_chunk_itself(made, packed, tmp_path):
    """So the codec in the metadata is the one of the bytes."""
    shutil.copytree(packed / RAW.name, tmp_path / "written")
    array = zarr.open_group(tmp_path / "written", mode="r+")["features"]
    array[: RAW.chunk_length] = made.features[RAW.name][: RAW.chunk_length]
    chunk = feature_chunk_key(RAW, 0)
    assert (tmp_path / "written" / chunk).read_bytes() == (packed / RAW.name / chunk).read_bytes()


def test_users_files_beside_the_target_stay(made, tmp_path):
    for name in ("packed.partial", "again.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine").write_text("mine")
    _pack(made.path, tmp_path / "packed")
    _unpack(tmp_path / "packed", tmp_path / "again")
    assert all((tmp_path / name / "mine").read_text() == "mine" for name in ("packed.partial", "again.partial"))


def test_unpacking_into_the_current_folder_works_where_it_is_empty(made, packed, tmp_path, run, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    unpack(LocalStorage(packed), Path())
    assert _files(tmp_path / "here") == _files(made.path)
    code, out, err = run("unpack", "packed", ".")
    says = f"cache: {tmp_path}: must be a new or an empty folder, but something is there; give another one\n"
    assert (code, out, err) == (2, "", says)


@pytest.mark.slow
def test_an_archive_is_read_from_a_bucket(made, packed, tmp_path, bucket, upload, run):
    place = upload(packed, bucket / "deep" / "packed")
    assert run("unpack", place, "again")[0] == 0
    assert _files(tmp_path / "again") == _files(made.path)


def test_no_name_in_a_manifest_is_a_path(packed, tmp_path):
    """A store's folder is named by its specification, whose numbers and fields are checked."""
    specification, digits = unsigned((packed / "manifest.json").read_bytes())["stores"][0]
    _say(packed, stores=[[{**specification, "sample_rate": 99}, digits]])
    before = _files(tmp_path)
    with pytest.raises(
        CacheError, match=r"packed/mfcc-4-99\.zarr: damaged archive, some of its receipts are missing"
    ):
        _unpack(packed, tmp_path / "again")
    _say(packed, stores=[[{**specification, "sample_rate": "../../victim"}, digits]])
    with pytest.raises(CacheError, match=r"manifest\.json: damaged archive, Expected `int`, got `str`"):
        _unpack(packed, tmp_path / "again")
    _say(packed, stores=[[{**specification, "window": "/victim"}, digits]])
    with pytest.raises(CacheError, match=r"manifest\.json: damaged archive, Invalid enum value '/victim'"):
        _unpack(packed, tmp_path / "again")
    assert {**_files(tmp_path), "packed/manifest.json": b""} == {**before, "packed/manifest.json": b""}


@pytest.mark.parametrize(
    "changes",
    [
        {"stores": {}},
        {"stores": [7]},
        {"stores": [[{"kind": "raw", "sample_rate": "100"}, ""]]},
        {"stores": [[{"kind": "raw", "sample_rate": 10**30}, ""]]},
        {"stores": [[{"kind": ["raw"]}, ""]]},
        {"manifest": None},
        {"manifest": "{}"},
    ],
)
def test_odd_manifests_are_refused_in_one_line(packed, tmp_path, changes, run):
    _say(packed, **changes)
    code, out, err = run("unpack", "packed", "again")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "damaged archive" in err and "unexpected" not in err
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"earmark": "archive"}', b"\xff\xfe", b"[" * 99999])
def test_a_manifest_that_is_not_ours_is_refused(tmp_path, content):
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "manifest.json").write_bytes(content)
    with pytest.raises(
        DamagedError, match=r"manifest\.json: damaged archive, its checksum does not match; pack or"
    ):
        _unpack(tmp_path / "packed", tmp_path / "again")


def test_a_manifest_that_is_a_pipe_hangs_nothing(tmp_path):
    (tmp_path / "packed").mkdir()
    os.mkfifo(tmp_path / "packed" / "manifest.json")
    with pytest.raises(DamagedError, match=r"manifest\.json: damaged archive, .*not a regular file"):
        _unpack(tmp_path / "packed", tmp_path / "again")


def test_another_version_is_refused(packed, tmp_path):
    _say(packed, version=9)
    with pytest.raises(
        CacheError, match=r"manifest\.json: version must be 3, got 9; update earmark, or pack it again"
    ):
        _unpack(packed, tmp_path / "again")


def test_a_cache_is_no_archive_and_an_archive_no_cache(made, packed, tmp_path, run):
    with pytest.raises(CacheError, match="cache: must be an archive, got a cache; `python -m cache pack` makes"):
        _unpack(made.path, tmp_path / "again")
    with pytest.raises(CacheError, match=r"packed: no archive here|nothing: no archive here; give a folder that"):
        _unpack(tmp_path / "nothing", tmp_path / "again")
    for command in (["ls"], ["info", "raw-100"], ["verify"], ["rm", "raw-100"], ["compact"]):
        code, out, err = run(*command, "--cache", "packed")
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "must be that of a cache, got that of an archive; make a cache of it with `cache unpack`" in err


@pytest.mark.parametrize(
    ("lost", "says"),
    [
        ("clips.parquet", r"clips\.parquet: damaged archive, the file is missing; pack or send it again"),
        ("plan.parquet", r"plan\.parquet: damaged archive, the file is missing; pack or send it again"),
        ("raw-100.receipts/000001.json", r"raw-100\.zarr: damaged archive, some of its receipts are missing or"),
        ("raw-100.zarr/features/c/1", r"features/c/1: damaged archive, the file is missing; pack or send it again"),
        ("manifest.json", r"packed: no archive here; give a folder that `python -m cache pack` made"),
    ],
)
def test_a_file_that_got_lost_is_named(packed, tmp_path, lost, says):
    (packed / lost).unlink()
    with pytest.raises(CacheError, match=says):
        _unpack(packed, tmp_path / "again")
    assert {path.name for path in tmp_path.iterdir()} == {"work", "packed"}


@pytest.mark.parametrize("n_bytes", [0, 3, 16, -1])
def test_a_chunk_that_was_cut_is_refused_unopened(made, tmp_path, n_bytes, monkeypatch):
    _pack(made.path, tmp_path / "packed", RAW.name)
    path = tmp_path / "packed" / RAW.name / feature_chunk_key(RAW, 0)
    path.write_bytes(path.read_bytes()[:n_bytes])
    monkeypatch.setattr("numcodecs.Blosc.decode", lambda *_: pytest.fail("opened"))
    says = rf"c/0: damaged archive, the chunk must hold {RAW.chunk_bytes} bytes and be whole; pack or send"
    with pytest.raises(DamagedError, match=says):
        _unpack(tmp_path / "packed", tmp_path / "again")


def test_a_chunk_of_another_clip_is_refused(packed, tmp_path):
    shutil.copy(packed / RAW.name / feature_chunk_key(RAW, 0), packed / RAW.name / feature_chunk_key(RAW, 1))
    with pytest.raises(
        DamagedError, match="c/1: damaged archive, the chunk's checksum does not match; pack or send"
    ):
        _unpack(packed, tmp_path / "again")


def test_a_damaged_chunk_is_not_packed(made, tmp_path):
    path = made.path / RAW.name / feature_chunk_key(RAW, 1)
    path.write_bytes(b"x" + path.read_bytes()[1:])
    with pytest.raises(
        DamagedError, match=r"features/c/1: damaged chunk; run `python -m cache verify`, then featurize"
    ):
        _pack(made.path, tmp_path / "packed")
    assert {path.name for path in tmp_path.iterdir()} == {"work"}


def test_an_incomplete_store_is_not_packed(made, tmp_path):
    withdraw(LocalStorage(made.path / RAW.name), 1)
    with pytest.raises(CacheError, match=r"raw-100\.zarr: incomplete store, 1 of 6 clips are missing"):
        _pack(made.path, tmp_path / "packed")


def test_what_was_opened_is_packed_whatever_becomes_of_the_tables(made, tmp_path):
    before, opened = _files(made.path), open_cache(made.path)
    with writing(made.path) as writer:
        writer.write_tables(writer.tables.clips.drop(0), writer.tables.plan)
    pack(opened, opened.stores(), tmp_path / "packed")
    _unpack(tmp_path / "packed", tmp_path / "again")
    assert _files(tmp_path / "again") == before


def test_a_cache_that_was_compacted_meanwhile_is_refused(made, tmp_path):
    opened = open_cache(made.path)
    with writing(made.path) as writer:
        writer.write_tables(writer.tables.clips.drop(4), writer.tables.plan)
        compact(plan_compaction(open_cache(made.path)))
    with pytest.raises(CacheError, match="is of generation 1, but the tables read are of generation 0"):
        pack(opened, opened.stores(), tmp_path / "packed")
    assert {path.name for path in tmp_path.iterdir()} == {"work"}


@pytest.mark.parametrize("arguments", [[], ["out"], ["--all"], ["--all", "raw-100", "out"]])
def test_what_to_pack_and_where_must_be_said(made, run, arguments):
    code, out, err = run("pack", *arguments)
    assert (code, out) == (2, "")
    assert "pack: must get names of stores and DIR, or --all and DIR, got " in err


def test_a_target_with_something_in_it_is_left_alone(made, packed):
    before = _files(packed)
    with pytest.raises(
        EarmarkError, match="packed: must be a new or an empty folder, but something is there; give"
    ):
        _pack(made.path, packed)
    with pytest.raises(EarmarkError, match="work/cache: must be a new or an empty folder, but something is there"):
        _unpack(packed, made.path)
    assert _files(packed) == before


@pytest.mark.slow
def test_a_target_in_a_bucket_is_refused(made, packed, run, bucket):
    for command in (["pack", "--all"], ["unpack", "packed"]):
        code, out, err = run(*command, bucket / "x")
        assert (code, out, err.count("\n")) == (2, "", 1) and "must be on a disk, got a place in a bucket" in err


def test_too_small_a_disk_is_said(packed, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 100_000))
    with pytest.raises(EarmarkError, match=r"free disk space must be at least [\d.]+ MB, got 0\.1 MB; free some"):
        _unpack(packed, tmp_path / "again")
    assert not (tmp_path / "again").exists()


@pytest.mark.slow
def test_every_flipped_bit_is_named_or_does_no_harm(made, packed, tmp_path):
    random, sound = np.random.default_rng(0), _files(made.path)
    for name in sorted(_files(packed)):
        path = packed / name
        before = path.read_bytes()
        for _ in range(4):
            data, bit = bytearray(before), int(random.integers(8 * len(before)))
            data[bit // 8] ^= 1 << bit % 8
            path.write_bytes(data)
            try:
                _unpack(packed, tmp_path / "again")
            except CacheError as error:
                assert "damaged archive" in str(error) and "pack or send it again" in str(error)
                assert not (tmp_path / "again").exists()
            else:
                assert _files(tmp_path / "again") == sound, path
                shutil.rmtree(tmp_path / "again")
        path.write_bytes(before)


def test_the_packed_metadata_name_codec_and_format(packed):
    metadata = json.loads((packed / RAW.name / "features" / "zarr.json").read_text())
    assert [codec["name"] for codec in metadata["codecs"]] == ["bytes", "blosc"]
    assert metadata["attributes"]["format"] == "earmark-archived-store"
