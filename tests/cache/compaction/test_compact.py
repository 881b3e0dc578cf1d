import csv
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from cache import open_cache
from cache.commands.compact import Compact
from cache.commands.verify import Verify
from cache.compaction.compact import compact, plan_compaction
from cache.compaction.switch import is_switching
from cache.errors import CacheError, DamagedError
from cache.lock import writing
from cache.receipts import done_groups, read_receipt, withdraw, write_receipt
from cache.specification import MfccSpecification, RawSpecification
from cache.store import Store

RAW, MFCC = RawSpecification(100), MfccSpecification(4, 2000)
ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.filterwarnings("ignore:Empty filters detected")  # 128 mel bands in 1 kHz


def _run(command) -> tuple[int, list[str]]:
    lines, run = [], command.run()
    while True:
        try:
            lines.append(next(run))
        except StopIteration as end:
            return end.value, lines


def _files(cache: Path) -> dict[str, bytes]:
    paths = (path for path in cache.rglob("*") if path.is_file() and not path.name.startswith("writer."))
    return {str(path.relative_to(cache)): path.read_bytes() for path in paths}


def _change(data: Path, clip: str, seed: int) -> None:
    sf.write(data / "audio_train" / clip, np.random.default_rng(seed).uniform(-0.5, 0.5, 9000), 100)


@pytest.fixture
def grown(recorded, tmp_path, featurize) -> Path:
    """A cache of recordings of which some changed, one left, and some came late: `data` beside it is as it is now."""
    folder = tmp_path / "cache"
    featurize(recorded, folder)
    for seed, clip in enumerate(("clip 0.wav", "clip 3.wav", "clip 0.wav")):
        _change(recorded, clip, seed)
        featurize(recorded, folder)
    sf.write(recorded / "audio_train" / "long.wav", np.random.default_rng(5).uniform(-0.5, 0.5, 60000), 100)
    (recorded / "audio_train" / "broken.wav").write_text("no sound")
    rows = list(csv.reader(open(recorded / "train.csv", newline="")))
    rows[2:3] = [["broken.wav", "Bell"], ["long.wav", "Bell"]]
    csv.writer(open(recorded / "train.csv", "w", newline="")).writerows(rows)
    featurize(recorded, folder, prune=True)
    return folder


def test_the_result_is_what_a_new_cache_would_be(grown, recorded, tmp_path, featurize):
    chunks = len(list((grown / RAW.name / "features" / "c").iterdir()))
    code, (line,) = _run(Compact(cache=grown))
    featurize(recorded, tmp_path / "fresh")
    fresh = _files(tmp_path / "fresh")
    assert _files(grown) == fresh
    now = len(list((grown / RAW.name / "features" / "c").iterdir()))
    assert (code, now < chunks) == (0, True)
    size = 2 * RAW.chunk_length + 16 * MFCC.chunk_length
    won, before, after = (n * size / 1e6 for n in (chunks - now, chunks, now))
    assert line == f"{grown}: {won:.1f} MB won, {before:.1f} MB before, {after:.1f} MB now"
    assert len(featurize(recorded, grown).jobs) == 0
    assert _files(grown) == fresh
    assert _run(Verify(cache=grown))[0] == 0


def test_the_recordings_need_not_be_there(grown, recorded, tmp_path, featurize):
    featurize(recorded, tmp_path / "fresh")
    shutil.rmtree(recorded)
    assert _run(Compact(cache=grown))[0] == 0
    assert _files(grown) == _files(tmp_path / "fresh")


def test_who_reads_meanwhile_gets_no_other_clips_features(grown):
    store = open_cache(grown).open_store("raw")
    mapped = store.read(0, 10).copy()
    _run(Compact(cache=grown))
    np.testing.assert_array_equal(store.read(0, 10), mapped)
    with pytest.raises(
        CacheError, match=r"raw-100\.zarr: must stay while it is read, got it replaced by a compaction"
    ):
        store.read(RAW.chunk_length, RAW.chunk_length + 10)


def test_clips_that_the_dataset_does_not_list_are_kept(recorded, tmp_path, featurize):
    folder = tmp_path / "cache"
    featurize(recorded, folder)
    for clip in ("clip 0.wav", "clip 1.wav"):
        _change(recorded, clip, 1)
        featurize(recorded, folder)
    (recorded / "train.csv").write_text("fname,label\nclip 0.wav,Bell\nclip 5.wav,Bell\n")
    featurize(recorded, folder)
    before = open_cache(folder)
    store, clips = before.open_store("raw"), before.clips
    features = [store.read(a, a + n).copy() for a, n in zip(store.start, store.length, strict=True)]
    assert _run(Compact(cache=folder))[0] == 0
    after = open_cache(folder)
    assert after.clips["clip"].tolist() == clips["clip"].tolist() and after.clips["slot"].tolist() == list(range(6))
    compacted = after.open_store("raw")
    for slot, old in enumerate(clips["slot"]):
        start, length = compacted.start[slot], compacted.length[slot]
        np.testing.assert_array_equal(compacted.read(start, start + length), features[old])


def test_nothing_is_done_where_nothing_can_be_won(recorded, tmp_path, featurize):
    featurize(recorded, tmp_path / "cache")
    before = _files(tmp_path / "cache")
    size = 3 * (2 * RAW.chunk_length + 16 * MFCC.chunk_length) / 1e6
    said = f"{tmp_path / 'cache'}: nothing to win, {size:.1f} MB are packed densely"
    assert _run(Compact(cache=tmp_path / "cache")) == (0, [said])
    assert _files(tmp_path / "cache") == before


def test_versions_that_meet_in_a_group_are_all_named(grown):
    own = read_receipt(grown / RAW.name, 0).versions
    for group in done_groups(grown / RAW.name) - {0, 1, 2}:  # all but those of the first run
        receipt = read_receipt(grown / RAW.name, group)
        write_receipt(grown / RAW.name, replace(receipt, versions={**own, "numpy": "9.9", "new": "1"}))
    compact(plan_compaction(open_cache(grown)), grown / "compact.partial")
    store = grown / "compact.partial" / RAW.name
    found = [read_receipt(store, group).versions for group in done_groups(store)]
    alone, both = [own, {**own, "numpy": "9.9", "new": "1"}], {f"{own['numpy']}, 9.9", f"9.9, {own['numpy']}"}
    mixed = [versions for versions in found if versions not in alone]
    assert mixed and all(versions["numpy"] in both and versions["new"] == "1" for versions in mixed)


def test_a_damaged_chunk_is_not_copied(grown):
    chunk = Store(grown / RAW.name).chunk_path(1)
    data = bytearray(chunk.read_bytes())
    data[0] ^= 1
    chunk.write_bytes(data)
    before = _files(grown)
    with pytest.raises(
        DamagedError, match=r"features/c/1: checksum must be .*, got .*; run `python -m cache verify`"
    ):
        _run(Compact(cache=grown))
    assert _files(grown) == before


def test_an_incomplete_store_is_refused(grown):
    withdraw(grown / RAW.name, 1)
    with pytest.raises(
        CacheError, match=r"raw-100\.zarr: must be complete, got 1 of 7 clips missing; run featurize"
    ):
        _run(Compact(cache=grown))


def test_too_small_a_disk_is_said_before_anything_is_written(grown, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 100_000))
    before = _files(grown)
    with pytest.raises(
        CacheError, match=r"cache: free disk must be at least [\d.]+ MB, got 0\.1 MB; free some, the old"
    ):
        _run(Compact(cache=grown))
    assert _files(grown) == before


def test_another_writer_is_waited_for_by_nobody(grown):
    with writing(grown), pytest.raises(CacheError, match="one writer at a time"):
        _run(Compact(cache=grown))


def test_no_cache_is_said_and_none_is_made(tmp_path):
    with pytest.raises(CacheError, match=r"/none: no cache here; run `python -m featurize` first"):
        _run(Compact(cache=tmp_path / "none"))
    assert not (tmp_path / "none").exists()


def test_a_cache_between_its_forms_is_read_by_nobody(grown):
    (grown / "compact.done").mkdir()
    assert is_switching(grown)
    with pytest.raises(
        CacheError, match=r"/cache: a compaction broke off; finish it with `python -m cache compact`"
    ):
        open_cache(grown)
    _run(Compact(cache=grown))
    assert open_cache(grown).open_store("raw")


def _kills(data: Path, cache: Path, folder: Path, step: int) -> int:
    """Kill compactions of a cache at every step-th write."""
    script = ROOT / "tests" / "featurize" / "killed_runs.py"
    folder.mkdir()
    command = map(str, [sys.executable, script, "compact", data, folder, cache, step])
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(list(command), env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return int(done.stdout)


def test_killed_at_some_writes(recorded, grown, tmp_path):
    assert _kills(recorded, grown, tmp_path / "runs", step=11) > 10


@pytest.mark.slow
def test_killed_at_every_write(recorded, grown, tmp_path):
    assert _kills(recorded, grown, tmp_path / "runs", step=1) > 110
