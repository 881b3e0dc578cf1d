"""`python -m cache compact`: what a new cache would be, without decoding, whatever kills it."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cache import open_cache
from cache.compact import compact, plan_compaction, waste
from cache.layout import chunks_per_slot, feature_chunk_key, n_chunks, pack, slot_starts
from cache.lock import holding
from cache.receipts import Status, begun_with, done_groups, read_receipt, read_receipts, withdraw, write_receipt
from cache.specification import MfccSpecification, RawSpecification
from cache.storage import CacheError, DamagedError, LocalStorage
from cache.verify import verify_store, verify_tables
from cache.writer import GroupWriter, writing

from .conftest import result_of

RAW, MFCC = RawSpecification(sample_rate=100), MfccSpecification(n_mfcc=4, sample_rate=2000)
RATE = 100
ROOT = Path(__file__).parents[2]
OLD = [("a", 100, 1), ("b", 120, 2), ("c", 100, 3), ("d", 30, 4)]  # name, seconds, seed of the features
NOW = [("b", 90, 5), ("long", 600, 6), ("a", 100, 1), ("empty", 0, 0), ("d", 30, 4)]


def _grow(folder: Path, *versions: list) -> Path:
    """A cache that was featurized for each version of a dataset, as lists of recordings in the dataset's order."""
    plan, slot_of = pd.DataFrame(columns=["file"]), {}
    with writing(folder) as writer:
        plan = writer.tables.plan
        for recordings in versions:
            new = [recording for recording in recordings if recording not in slot_of]
            slot_of |= {recording: len(plan) + i for i, recording in enumerate(new)}
            native, rates = np.array([RATE * each[1] for each in new]), np.full(len(new), RATE)
            rows = {
                "file": [f"audio_train/{name}.wav" for name, _, _ in new],
                "size": 44 + 2 * native,
                "mtime_ns": native + 7,
                "digest": [f"{seed:032x}" for _, _, seed in new],
                "native_rate": rates,
                "native_samples": native,
                "group": pack(native, rates, n_chunks(plan)),
            }
            first, plan = len(plan), pd.concat([plan, pd.DataFrame(rows)], ignore_index=True)
            for specification in (RAW, MFCC):
                _write_groups(writer.storage / specification.name, specification, plan, first, new)
        clips = pd.DataFrame(
            {
                "clip": [name for name, _, _ in recordings],
                "split": "train",
                "label": "Rain",
                "manually_verified": pd.array([1] * len(recordings), "Int8"),
                "slot": [slot_of[recording] for recording in recordings],
            }
        )
        writer.write_tables(clips, plan)
        for specification in (RAW, MFCC):
            receipts = read_receipts(writer.storage / specification.name)
            writer.update_store(specification, plan, receipts, begun_with(receipts))
    return folder


def _write_groups(store, specification, plan, first: int, new: list) -> None:
    starts, widths = slot_starts(plan, specification), chunks_per_slot(plan)
    capacity = specification.capacity(plan["native_samples"].to_numpy(), plan["native_rate"].to_numpy())
    for group, slots in plan.iloc[first:].groupby("group").groups.items():
        offsets = {int(slot): int(starts[slot] - group * specification.chunk_length) for slot in slots}
        writer, results = GroupWriter(store, specification, int(group), int(widths[slots].max()), offsets), []
        for slot in offsets:
            random = np.random.default_rng(new[slot - first][2])
            shape = (int(capacity[slot]), *specification.item_shape)
            length, checksum = writer.write(slot, [random.integers(-999, 999, shape).astype(specification.dtype)])
            status = Status.OK if length else Status.EMPTY
            results.append(result_of(plan, slot, status=status, length=length, checksum=checksum, value=0.25))
        writer.commit(results, {"numpy": "2.0"})


def _files(cache: Path) -> dict:
    """All files; of manifest and stores what they say of a cache's contents, without its generation."""
    paths = (path for path in cache.rglob("*") if path.is_file() and not path.name.startswith("writer."))
    files = {str(path.relative_to(cache)): path.read_bytes() for path in paths}
    for name in [name for name in files if name == "manifest.json" or name.endswith(".zarr/zarr.json")]:
        said = json.loads(files[name])
        said.get("attributes", said).pop("generation")
        files[name] = {**said, "checksum": ""}
    return files


def _bytes(cache: Path) -> dict[str, bytes]:
    paths = (path for path in cache.rglob("*") if path.is_file() and not path.name.startswith("writer."))
    return {str(path.relative_to(cache)): path.read_bytes() for path in paths}


def _compact(cache: Path) -> None:
    with writing(cache):
        compact(plan_compaction(open_cache(cache)))


@pytest.fixture
def grown(tmp_path) -> Path:
    """A cache whose recordings changed, left and were joined by others, a long one among them."""
    return _grow(tmp_path / "work" / "cache", OLD, NOW)


def test_the_result_is_what_a_new_cache_would_be_but_for_the_generation(grown, tmp_path, run):
    code, out, err = run("compact")
    fresh = _grow(tmp_path / "fresh", NOW)
    assert (code, err) == (0, "") and _files(grown) == _files(fresh)
    size = RAW.chunk_bytes + MFCC.chunk_bytes
    won, before, after = (n * size / 1e6 for n in (2, 7, 5))
    assert out == f"work/cache: {won:.1f} MB won, {before:.1f} MB before, {after:.1f} MB now\n"
    storage = LocalStorage(grown)
    tables, findings = verify_tables(storage)
    assert findings == [] and tables.generation == 1
    assert all(verify_store(storage, tables, specification.name) == [] for specification in (RAW, MFCC))
    assert run("compact")[1].startswith("work/cache: nothing to win, ")
    assert open_cache(grown).generation == 1


def test_tables_of_before_and_a_store_of_after_are_never_mixed(grown):
    """A compaction gives slots other numbers: the same slot would be another clip's audio."""
    before = open_cache(grown)
    opened = before.open_store("raw")
    mapped = opened.read(0, 10).copy()
    _compact(grown)
    with pytest.raises(
        CacheError, match=r"raw-100\.zarr: is of generation 1, but the tables read are of generation 0"
    ):
        before.open_store("raw")
    np.testing.assert_array_equal(opened.read(0, 10), mapped)
    with pytest.raises(CacheError, match=r"raw-100\.zarr: was replaced or removed while it was read; start again"):
        opened.read(RAW.chunk_length, RAW.chunk_length + 10)


def test_nothing_is_done_where_nothing_can_be_won(tmp_path, run):
    cache = _grow(tmp_path / "work" / "cache", NOW)
    before = _bytes(cache)
    size = 5 * (RAW.chunk_bytes + MFCC.chunk_bytes) / 1e6
    assert run("compact") == (0, f"work/cache: nothing to win, {size:.1f} MB are packed densely\n", "")
    assert _bytes(cache) == before


def test_versions_that_meet_in_a_group_are_all_named(grown):
    store = LocalStorage(grown / RAW.name)
    for group in sorted(done_groups(store))[2:]:  # those of the second run
        receipt = read_receipt(store, group)
        write_receipt(store, replace(receipt, versions={"numpy": "9.9", "new": "1"}))
    _compact(grown)
    found = [read_receipt(store, group).versions for group in sorted(done_groups(store))]
    assert {"numpy": "9.9, 2.0", "new": "1"} in found or {"numpy": "2.0, 9.9", "new": "1"} in found


def test_damaged_features_are_not_copied(grown):
    chunk = grown / RAW.name / feature_chunk_key(RAW, 0)
    data = bytearray(chunk.read_bytes())
    data[0] ^= 1
    chunk.write_bytes(data)
    before = _bytes(grown)
    with pytest.raises(
        DamagedError, match=r"raw-100\.zarr: has damaged features; run `python -m cache verify`, then"
    ):
        _compact(grown)
    assert _bytes(grown) == before


def test_an_incomplete_store_is_refused(grown):
    withdraw(LocalStorage(grown / RAW.name), 0)
    with pytest.raises(CacheError, match=r"raw-100\.zarr: incomplete store, 1 of 5 clips are missing"):
        _compact(grown)


def test_receipts_of_a_store_that_was_removed_by_hand_leave(grown, run):
    """They count slots by numbers that a compaction gives to other recordings."""
    for path in sorted((grown / RAW.name).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (grown / RAW.name).rmdir()
    assert run("compact")[0] == 0
    assert done_groups(LocalStorage(grown / RAW.name)) == set()


def test_an_interrupted_switch_is_read_by_nobody_and_finished(grown, run):
    (grown / ".earmark-compacted").mkdir()
    with pytest.raises(CacheError, match="a compaction was interrupted; finish it with `python -m cache compact`"):
        open_cache(grown)
    assert run("compact")[0] == 0
    assert open_cache(grown).open_store("raw")


def test_another_writer_is_waited_for_by_nobody(grown, run):
    with holding(LocalStorage(grown)):
        code, out, err = run("compact")
    assert (code, out) == (2, "") and "is writing the cache; wait for it to end" in err


def test_no_cache_is_said_and_none_is_made(tmp_path, run):
    assert run("compact") == (2, "", "cache: work/cache: no cache here; run `python -m featurize` first\n")
    assert list(tmp_path.iterdir()) == []


def test_waste_is_what_no_clip_refers_to_and_padding(grown):
    cache = open_cache(grown)
    assert waste(cache, cache.store("raw-100"), read_receipts(LocalStorage(grown / RAW.name))) == {
        "slots": 2,
        "slot_bytes": 2 * RATE * (120 + 100),
        "padding_bytes": 7 * RAW.chunk_bytes - 2 * RATE * (100 + 120 + 100 + 30 + 90 + 600),
        "compact_wins_bytes": 2 * RAW.chunk_bytes,
    }


@pytest.mark.slow
def test_killed_at_any_write_the_next_compaction_ends_with_the_same_bytes(grown, tmp_path):
    script = Path(__file__).with_name("killed_compactions.py")
    (tmp_path / "runs").mkdir()
    command = [sys.executable, script, grown, tmp_path / "runs", 3]  # every third write
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout) > 20


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Empty filters detected")  # 128 mel bands in 1 kHz
def test_the_result_is_what_featurizing_anew_gives(recorded, write_dataset, noise, tmp_path, featurize, run):
    folder = tmp_path / "work" / "cache"
    featurize(recorded, folder)
    clips = {
        f"clip {i}.wav": noise(90, RATE, seed=10 + i) if i in {0, 3} else noise(100, RATE, seed=i) for i in range(5)
    }
    write_dataset(recorded, {"long.wav": noise(600, RATE, seed=20), **clips})
    (recorded / "audio_train" / "clip 4.wav").write_text("no sound")
    featurize(recorded, folder, prune=True)
    assert run("compact")[0] == 0
    featurize(recorded, tmp_path / "fresh")
    assert _files(folder) == _files(tmp_path / "fresh")
