import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorstore
import xarray
import zarr

from cache import open_cache
from cache.commands.pack import Pack
from cache.commands.unpack import Unpack
from cache.errors import CacheError, DamagedError
from cache.packing.package import MANIFEST
from cache.receipts import withdraw
from cache.specification import MfccSpecification, RawSpecification
from cache.store import Store

RAW, MFCC = RawSpecification(100), MfccSpecification(4, 2000)
pytestmark = pytest.mark.filterwarnings("ignore:Empty filters detected")  # 128 mel bands in 1 kHz


def _run(command) -> list[str]:
    return list(command.run())


def _unpack(packed: Path, target: Path) -> Unpack:
    return Unpack(str(packed), str(target))


def _files(cache: Path) -> dict[str, bytes]:
    paths = (path for path in cache.rglob("*") if path.is_file() and not path.name.startswith("writer."))
    return {str(path.relative_to(cache)): path.read_bytes() for path in paths}


@pytest.fixture
def cache(recorded, tmp_path, featurize) -> Path:
    """A featurized cache of six recordings."""
    featurize(recorded, tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def packed(cache, tmp_path) -> Path:
    """A package of all of its stores."""
    _run(Pack(cache=cache, names=(str(tmp_path / "packed"),), all=True))
    return tmp_path / "packed"


def test_a_round_trip_gives_every_file_as_it_was(cache, packed, tmp_path):
    shutil.move(packed, tmp_path / "sent")
    (line,) = _run(_unpack(tmp_path / "sent", tmp_path / "again"))
    assert _files(tmp_path / "again") == _files(cache)
    n_bytes = 3 * (2 * RAW.chunk_length + 16 * MFCC.chunk_length)
    assert line.startswith(f"{tmp_path / 'again'}: {n_bytes / 1e6:.1f} MB unpacked and checked, ")
    assert not (tmp_path / "again.partial").exists()


def test_sizes_and_ratio_are_said(cache, tmp_path):
    (line,) = _run(Pack(cache=cache, names=("raw-100", str(tmp_path / "packed"))))
    before = 3 * 2 * RAW.chunk_length
    after = sum(path.stat().st_size for path in (tmp_path / "packed" / RAW.name / "features" / "c").iterdir())
    said = f"{before / 1e6:.1f} MB to {after / 1e6:.1f} MB (ratio {before / after:.2f}), "
    assert line.startswith(f"{tmp_path / 'packed'}: raw-100.zarr packed, {said}") and line.endswith(" MB/s")
    assert after < before


def test_one_store_travels_alone(cache, tmp_path):
    _run(Pack(cache=cache, names=("mfcc-4-2000", str(tmp_path / "packed"))))
    _run(_unpack(tmp_path / "packed", tmp_path / "again"))
    expected = {name: data for name, data in _files(cache).items() if not name.startswith("raw-")}
    assert _files(tmp_path / "again") == expected
    assert open_cache(tmp_path / "again").open_store("mfcc")


@pytest.mark.parametrize("name", [RAW.name, MFCC.name])
def test_zarr_tensorstore_and_xarray_open_a_packed_store(cache, packed, name):
    expected = zarr.open_group(cache / name, mode="r")["features"][:]
    assert expected.any()
    np.testing.assert_array_equal(zarr.open_group(packed / name, mode="r")["features"][:], expected)
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(packed / name / "features")}}
    np.testing.assert_array_equal(tensorstore.open(spec).result().read().result(), expected)
    opened = xarray.open_zarr(packed / name, consolidated=False)
    np.testing.assert_array_equal(opened["features"].values, expected)


def test_every_flipped_bit_is_named_or_does_no_harm(cache, packed, tmp_path):
    random, sound = np.random.default_rng(0), _files(cache)
    names = sorted(_files(packed))
    for flip in range(60):
        path = packed / names[flip % len(names)]
        before = path.read_bytes()
        data, bit = bytearray(before), int(random.integers(8 * len(before)))
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        try:
            _run(_unpack(packed, tmp_path / "again"))
        except CacheError as error:
            assert "damaged package" in str(error) and "send or pack it again" in str(error), str(error)
            assert not (tmp_path / "again").exists() and not (tmp_path / "again.partial").exists()
        else:
            assert _files(tmp_path / "again") == sound, path
            shutil.rmtree(tmp_path / "again")
        path.write_bytes(before)


@pytest.mark.parametrize(
    ("lost", "says"),
    [
        ("clips.parquet", r"clips\.parquet: damaged package, the table's checksum does not match; send or pack"),
        ("plan.parquet", r"plan\.parquet: damaged package, the table's checksum does not match; send or pack"),
        (
            "raw-100.receipts/000001.json",
            r"raw-100\.receipts: damaged package, 1 of 3 receipts missing or bad; send",
        ),
        (
            "raw-100.zarr/features/c/1",
            r"features/c/1: damaged package, the chunk is missing; send or pack it again",
        ),
        (MANIFEST, r"packed: must be what `python -m cache pack` made, got no packed\.json there"),
    ],
)
def test_a_file_that_got_lost_is_named(packed, tmp_path, lost, says):
    (packed / lost).unlink()
    with pytest.raises(CacheError, match=says):
        _run(_unpack(packed, tmp_path / "again"))
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("n_bytes", [0, 3, 16, -1])
def test_a_chunk_that_was_cut_is_refused_unopened(cache, tmp_path, n_bytes, monkeypatch):
    _run(Pack(cache=cache, names=("raw-100", str(tmp_path / "packed"))))
    path = tmp_path / "packed" / RAW.name / "features" / "c" / "0"
    path.write_bytes(path.read_bytes()[:n_bytes])
    monkeypatch.setattr("numcodecs.blosc.decompress", lambda data: pytest.fail("opened"))
    with pytest.raises(
        DamagedError, match=r"c/0: damaged package, the chunk must hold \d+ bytes and be whole; send"
    ):
        _run(_unpack(tmp_path / "packed", tmp_path / "again"))


def test_a_chunk_of_another_clip_is_refused(packed, tmp_path):
    chunks = packed / RAW.name / "features" / "c"
    shutil.copy(chunks / "0", chunks / "1")
    with pytest.raises(
        DamagedError, match="c/1: damaged package, the chunk's checksum does not match; send or pack"
    ):
        _run(_unpack(packed, tmp_path / "again"))


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"earmark": "package"}', b"\xff\xfe"])
def test_a_manifest_that_is_not_ours_is_refused(tmp_path, content):
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / MANIFEST).write_bytes(content)
    with pytest.raises(DamagedError, match=r"packed\.json: damaged package \(its checksum does not match\); send"):
        _run(_unpack(tmp_path / "packed", tmp_path / "again"))


def test_a_newer_package_is_refused(cache, tmp_path, monkeypatch):
    monkeypatch.setattr("cache.packing.package.VERSION", 2)
    _run(Pack(cache=cache, names=(str(tmp_path / "packed"),), all=True))
    monkeypatch.undo()
    with pytest.raises(CacheError, match=r"packed\.json: format version must be at most 1, got 2; update earmark"):
        _run(_unpack(tmp_path / "packed", tmp_path / "again"))


def test_a_package_is_no_cache(packed):
    with pytest.raises(CacheError, match=r"packed: must be a cache, got a packed one; .* `python -m cache unpack`"):
        open_cache(packed)


def test_a_packed_store_among_those_of_a_cache_is_refused(cache, packed):
    shutil.rmtree(cache / RAW.name)
    shutil.copytree(packed / RAW.name, cache / RAW.name)
    with pytest.raises(
        CacheError, match=r"raw-100\.zarr: must be a mapped store, got a packed one; run `python -m"
    ):
        Store(cache / RAW.name)


def test_a_damaged_chunk_is_not_packed(cache, tmp_path):
    path = Store(cache / RAW.name).chunk_path(1)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(
        DamagedError, match=r"features/c/1: checksum must be .*; run `python -m cache verify`, then"
    ):
        _run(Pack(cache=cache, names=(str(tmp_path / "packed"),), all=True))
    assert not (tmp_path / "packed").exists() and not (tmp_path / "packed.partial").exists()


def test_an_incomplete_store_is_not_packed(cache, tmp_path):
    withdraw(cache / RAW.name, 1)
    with pytest.raises(
        CacheError, match=r"raw-100\.zarr: must be complete, got 2 of 6 clips missing; run featurize"
    ):
        _run(Pack(cache=cache, names=(str(tmp_path / "packed"),), all=True))


@pytest.mark.parametrize(
    ("names", "all_stores"), [((), False), (("out",), False), ((), True), (("raw-100", "out"), True)]
)
def test_what_to_pack_and_where_must_be_said(cache, names, all_stores):
    with pytest.raises(
        CacheError, match=r"pack: must name stores and TARGET, or --all and TARGET, got .*; see --help"
    ):
        _run(Pack(cache=cache, names=names, all=all_stores))


def test_a_target_with_something_in_it_is_left_alone(cache, packed):
    before = _files(packed)
    for command in (Pack(cache=cache, names=(str(packed),), all=True), _unpack(packed, cache)):
        with pytest.raises(
            CacheError, match="must be a new or an empty folder, got one with something in it; name an"
        ):
            _run(command)
    assert _files(packed) == before


def test_what_a_killed_command_left_is_replaced(packed, cache, tmp_path):
    (tmp_path / "again.partial").mkdir()
    (tmp_path / "again.partial" / "junk").write_text("junk")
    (tmp_path / "again").mkdir()
    _run(_unpack(packed, tmp_path / "again"))
    assert _files(tmp_path / "again") == _files(cache)


def test_too_small_a_disk_is_said(packed, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 100_000))
    with pytest.raises(CacheError, match=r"again: free disk must be at least [\d.]+ MB, got 0\.1 MB; free some"):
        _run(_unpack(packed, tmp_path / "again"))


def test_the_packed_metadata_name_the_codec(packed):
    metadata = json.loads((packed / RAW.name / "features" / "zarr.json").read_text())
    assert [codec["name"] for codec in metadata["codecs"]] == ["bytes", "blosc"]
    assert metadata["attributes"]["format"] == "earmark-packed-store"
