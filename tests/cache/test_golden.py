"""The committed golden store, `tests/golden`: this version reads it, and writes it again."""

import importlib.util
import json
import shutil
from pathlib import Path

import librosa
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import soundfile as sf
import soxr

from cache import Status, open_cache
from cache.storage import open_storage
from cache.writer import load_tables
from featurize.datasets import read_dataset

GOLDEN = Path(__file__).parents[1] / "golden"
RAW, MFCC, LOGMEL = STORES = ("raw-100.zarr", "mfcc-2-1000.zarr", "logmel-3-1000.zarr")
pytestmark = [  # 128 mel bands in 500 Hz, clips of less than 2,048 samples
    pytest.mark.filterwarnings("ignore:Empty filters detected"),
    pytest.mark.filterwarnings("ignore:n_fft=2048 is too large"),
]


def _load(path: Path):
    spec = importlib.util.spec_from_file_location("golden_make", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKE = _load(GOLDEN / "make.py")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    """The recordings that the golden store was made from."""
    return MAKE.write_recordings(tmp_path_factory.mktemp("recordings"))


@pytest.fixture(scope="module")
def again(tmp_path_factory, recordings) -> Path:
    """The golden folder, made again by this version."""
    folder = tmp_path_factory.mktemp("golden")
    MAKE.make(folder, recordings)
    return folder


def test_the_golden_files_are_those_that_were_committed():
    assert MAKE.missing_or_changed(GOLDEN) == []


def test_a_golden_file_that_is_missing_or_changed_is_a_failure(tmp_path):
    copy = shutil.copytree(GOLDEN, tmp_path / "golden")
    for name in json.loads((GOLDEN / "files.json").read_text()):
        data = (copy / name).read_bytes()
        (copy / name).unlink()
        assert MAKE.missing_or_changed(copy) == [name]
        (copy / name).write_bytes(data[:-1])
        assert MAKE.missing_or_changed(copy) == [name]
        (copy / name).write_bytes(data)
    (copy / "files.json").unlink()
    with pytest.raises(FileNotFoundError):
        MAKE.missing_or_changed(copy)


def test_the_golden_store_stays_small():
    sizes = [path.stat().st_size for path in GOLDEN.rglob("*") if path.is_file()]
    assert max(sizes) < 300_000 and sum(sizes) < 900_000


def test_the_clip_table_is_read():
    clips = open_cache(GOLDEN / "cache").clips
    expected = pd.DataFrame(
        [
            ("long noise.wav", "train", "None", 1, "CC0"),
            ("Glöckchen.wav", "train", "Bell", 0, "NA"),
            ("silent.wav", "train", "Silence", pd.NA, ""),
            ("empty.wav", "train", "Silence", 1, "a,b"),
            ("truncated.wav", "train", "Bell", 0, "ö"),
            ("broken.wav", "train", "None", 1, "CC0"),
            ("stereo.wav", "test", "", pd.NA, ""),
            ("empty too.wav", "test", "", pd.NA, ""),
        ],
        columns=["clip", "split", "label", "manually_verified", "license"],
    )
    expected = expected.astype({"manually_verified": "Int8"}).assign(slot=range(8))
    pd.testing.assert_frame_equal(clips, expected, check_dtype=False)


def test_the_plan_is_read():
    plan = open_cache(GOLDEN / "cache").plan
    assert plan["group"].tolist() == [0, 2, 2, 2, 2, 2, 2, 2]
    assert plan["native_rate"].tolist() == [100, 1000, 200, 8000, 1000, 0, 8000, 44100]
    assert plan["native_samples"].tolist()[:4] == [26000, 1500, 600, 0]
    assert (plan["digest"].str.len() == 32).all()


@pytest.mark.parametrize("name", STORES)
def test_the_stores_are_read(name):
    cache = open_cache(GOLDEN / "cache")
    store = cache.open_store(name.split("-")[0])
    slots = cache.clips["slot"].to_numpy()
    expected = np.load(GOLDEN / "expected" / f"{name}.slots.npy")
    value = store.scale if name == RAW else store.silence
    for field, values in {
        "start": store.start,
        "length": store.length,
        "status": store.status,
        "value": value,
    }.items():
        np.testing.assert_array_equal(values[slots], expected[field])
    read = [store.read(start, start + n) for start, n in zip(store.start[slots], store.length[slots], strict=True)]
    np.testing.assert_array_equal(np.concatenate(read), np.load(GOLDEN / "expected" / f"{name}.features.npy"))


def test_every_status_is_among_the_clips():
    store = open_cache(GOLDEN / "cache").open_store("raw", sample_rate=100)
    kinds = [
        Status.OK,
        Status.OK,
        Status.OK,
        Status.EMPTY,
        Status.TRUNCATED,
        Status.FAILED,
        Status.OK,
        Status.EMPTY,
    ]
    assert store.status.tolist() == kinds
    assert store.n_chunks == 3 and store.start.tolist()[:2] == [0, 2 * store.specification.chunk_length]


def test_the_plan_is_what_the_receipts_give(tmp_path):
    folder = shutil.copytree(GOLDEN / "cache", tmp_path / "cache")
    (folder / "plan.parquet").unlink()
    tables, rebuilt = load_tables(open_storage(folder))
    assert len(rebuilt) == 1
    pd.testing.assert_frame_equal(tables.plan, open_cache(GOLDEN / "cache").plan, check_dtype=False)


def test_the_expected_numbers_are_those_of_soxr_and_librosa(recordings):
    """An independent reference, so that the store is not merely what it was once."""
    cache = open_cache(GOLDEN / "cache")
    raw, mfcc, logmel = (cache.open_store(kind) for kind in ("raw", "mfcc", "logmel"))
    for clip, split, slot in cache.clips[["clip", "split", "slot"]].itertuples(index=False):
        if not raw.length[slot]:
            continue
        samples, rate = sf.read(recordings / f"audio_{split}" / clip, dtype="float32", always_2d=True)
        waveform = soxr.resample(samples.mean(axis=1), rate, 100, "HQ")
        read = raw.read(raw.start[slot], raw.start[slot] + raw.length[slot]) * raw.scale[slot]
        np.testing.assert_allclose(read, waveform, rtol=0, atol=0.51 * raw.scale[slot] + 1e-7)
        waveform = soxr.resample(samples.mean(axis=1), rate, 1000, "HQ")
        expected = librosa.feature.mfcc(y=waveform, sr=1000, n_mfcc=2).T
        read = mfcc.read(mfcc.start[slot], mfcc.start[slot] + mfcc.length[slot])
        np.testing.assert_allclose(read, expected, rtol=0, atol=2e-3)
        power = librosa.feature.melspectrogram(y=waveform, sr=1000, n_mels=3)
        read = logmel.read(logmel.start[slot], logmel.start[slot] + logmel.length[slot])
        np.testing.assert_allclose(read, librosa.power_to_db(power).T, rtol=0, atol=2e-3)


def test_featurizing_again_writes_the_same_files(again):
    assert _names(again / "cache") == _names(GOLDEN / "cache")


@pytest.mark.parametrize("name", ["clips.parquet", "plan.parquet"])
def test_featurizing_again_writes_the_same_tables(again, name):
    old, new = GOLDEN / "cache" / name, again / "cache" / name
    pd.testing.assert_frame_equal(pd.read_parquet(new), pd.read_parquet(old))
    assert pq.read_schema(new).equals(pq.read_schema(old))
    if pq.read_metadata(new).created_by == pq.read_metadata(old).created_by:
        assert new.read_bytes() == old.read_bytes()


@pytest.mark.parametrize("store", STORES)
def test_featurizing_again_writes_the_same_metadata_and_geometry(again, store):
    exact = [f"{name}/zarr.json" for name in _arrays(store)] + ["start/c/0", "length/c/0", "status/c/0"]
    for key in exact:
        assert (again / "cache" / store / key).read_bytes() == (GOLDEN / "cache" / store / key).read_bytes(), key
    assert _root(again, store) == _root(GOLDEN, store)
    for path in _receipts(GOLDEN, store):
        assert _receipt(again / path) == _receipt(GOLDEN / path)


@pytest.mark.parametrize("store", STORES)
def test_featurizing_again_gives_the_same_features(again, store):
    """To a last bit of int16, and to 1e-3: processors and library versions round differently."""
    old, new = (np.load(folder / "expected" / f"{store}.features.npy") for folder in (GOLDEN, again))
    assert new.dtype == old.dtype
    np.testing.assert_allclose(new.astype(float), old.astype(float), rtol=0, atol=1 if store == RAW else 1e-3)
    old, new = (np.load(folder / "expected" / f"{store}.slots.npy") for folder in (GOLDEN, again))
    assert new[["start", "length", "status"]].tolist() == old[["start", "length", "status"]].tolist()
    np.testing.assert_allclose(new["value"], old["value"], rtol=1e-4, atol=0)


def test_what_is_not_resampled_has_the_same_bytes_everywhere(again):
    """The long clip is recorded at the store's rate: its chunks come from correctly rounded operations alone."""
    for chunk in ("0", "1"):
        old, new = (folder / "cache" / RAW / "features" / "c" / chunk for folder in (GOLDEN, again))
        assert new.read_bytes() == old.read_bytes()


def test_featurizing_into_the_golden_store_has_nothing_to_do(tmp_path, recordings, featurize):
    folder = shutil.copytree(GOLDEN / "cache", tmp_path / "cache")
    work = featurize(recordings, folder, MAKE.SPECIFICATIONS)
    assert not work.jobs and (work.scan.n_new, work.scan.n_changed) == (0, 0)
    for name in _names(GOLDEN / "cache"):
        if not name.endswith(".parquet") and name != "manifest.json":  # another Parquet writer has other bytes
            assert (folder / name).read_bytes() == (GOLDEN / "cache" / name).read_bytes(), name


def test_the_golden_store_grows_without_moving_anything(tmp_path, recordings, featurize):
    folder = shutil.copytree(GOLDEN / "cache", tmp_path / "cache")
    data = shutil.copytree(recordings, tmp_path / "data")
    shutil.copy(data / "audio_train" / "silent.wav", data / "audio_train" / "new.wav")
    with open(data / "train.csv", "a", encoding="utf-8") as file:
        file.write("new.wav,None,1,CC0\n")
    work = featurize(data, folder, MAKE.SPECIFICATIONS)
    assert [job.group for job in work.jobs] == [3]
    assert read_dataset(open_storage(data)).clips["clip"].tolist() == open_cache(folder).clips["clip"].tolist()
    for name in _names(GOLDEN / "cache"):
        if "/features/c/" in name or ".receipts/" in name:
            assert (folder / name).read_bytes() == (GOLDEN / "cache" / name).read_bytes(), name
    store = open_cache(folder).open_store("raw")
    assert store.start.tolist()[:8] == np.load(GOLDEN / "expected" / f"{RAW}.slots.npy")["start"].tolist()


def _names(folder: Path) -> list[str]:
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if name != "writer.lock")


def _arrays(store: str) -> tuple[str, ...]:
    return ("features", "start", "length", "status", "scale" if store == RAW else "silence")


def _root(folder: Path, store: str) -> str:
    """The root's metadata as text, without what depends on library versions and last bits."""
    root = json.loads((folder / "cache" / store / "zarr.json").read_text())
    assert root["attributes"].pop("versions").keys() >= {"librosa", "numpy", "soxr"}
    assert len(root["attributes"]["receipts"].pop("checksum")) == 16
    return json.dumps(root, indent=2)


def _receipts(folder: Path, store: str) -> list[Path]:
    paths = (folder / "cache" / store).with_suffix(".receipts").iterdir()
    return sorted(path.relative_to(folder) for path in paths)


def _receipt(path: Path) -> dict:
    """A receipt without what depends on library versions and last bits."""
    receipt = json.loads(path.read_text())
    slots = receipt["slots"]
    vague = {
        "value": [type(value) for value in slots["value"]],
        "reason": [bool(reason) for reason in slots["reason"]],
    }
    vague["checksum"] = [len(digits) for digits in slots["checksum"]]
    sizes = {"checksums": len(receipt["checksums"]), "checksum": len(receipt["checksum"])}
    return {**receipt, **sizes, "slots": {**slots, **vague}, "versions": set(receipt["versions"])}
