import json
import os

import numpy as np
import pytest
import soundfile as sf

from cache import open_cache
from cache.errors import CacheError
from cache.files import folder_bytes
from cache.receipts import Status, done_groups, receipt_path
from cache.specification import MfccSpecification, RawSpecification
from cache.store import Store
from cache.verification.findings import Finding
from cache.verification.stores import verify_store, withdraw_bad

RAW = RawSpecification(100)
MFCC = MfccSpecification(4, 2000)
each_kind = pytest.mark.parametrize("specification", [RAW, MFCC], ids=lambda s: s.name)
pytestmark = pytest.mark.filterwarnings("ignore:Empty filters detected")  # 128 mel bands in 1 kHz


@pytest.fixture
def featurized(recorded, tmp_path, featurize):
    """A cache of six recordings in three groups, and what makes it again: folder, function."""
    featurize(recorded, tmp_path / "cache")
    return tmp_path / "cache", lambda: featurize(recorded, tmp_path / "cache")


def _findings(folder, specification) -> list[Finding]:
    return [
        found
        for found in verify_store(open_cache(folder), folder / specification.name)
        if not isinstance(found, int)
    ]


def _flip(path, byte=1000, bit=3) -> None:
    data = bytearray(path.read_bytes())
    data[byte] ^= 1 << bit
    path.write_bytes(data)


def _identities(folder) -> dict:
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


@each_kind
def test_a_sound_store_has_no_findings(make_cache, specification):
    made = make_cache()
    assert _findings(made.path, specification) == []


def test_progress_counts_the_bytes_of_all_chunks(make_cache):
    made = make_cache()
    counts = list(verify_store(open_cache(made.path), made.path / RAW.name))
    assert counts == (np.arange(1, 7) * 2 * RAW.chunk_length).tolist()
    assert counts[-1] == folder_bytes(made.path / RAW.name / "features" / "c")


@each_kind
def test_any_flipped_bit_of_a_chunk_is_found_and_its_clips_are_named(make_cache, specification):
    made = make_cache()
    chunk = Store(made.path / specification.name).chunk_path(0)
    random = np.random.default_rng(0)
    for byte in [0, chunk.stat().st_size - 1, *random.integers(0, chunk.stat().st_size, 10).tolist()]:
        bit = int(random.integers(8))
        _flip(chunk, byte, bit)
        (finding,) = _findings(made.path, specification)
        assert (finding.path, finding.group) == (chunk, 0)
        assert finding.what.startswith("damaged chunk: checksum must be ")
        assert finding.clips == ("clip 0.wav", "clip 1.wav", "clip 2.wav")
        _flip(chunk, byte, bit)


def test_each_chunk_of_a_long_clip_names_it(make_cache):
    made = make_cache()
    store = Store(made.path / RAW.name)
    for chunk in (2, 3, 4):
        _flip(store.chunk_path(chunk))
    findings = _findings(made.path, RAW)
    assert [finding.path for finding in findings] == [store.chunk_path(chunk) for chunk in (2, 3, 4)]
    assert {(finding.clips, finding.group) for finding in findings} == {(("clip 4.wav",), 2)}


def test_missing_short_and_long_chunks_are_found(make_cache):
    made = make_cache()
    store = Store(made.path / RAW.name)
    store.chunk_path(0).unlink()
    store.chunk_path(1).write_bytes(store.chunk_path(1).read_bytes()[:-1])
    store.chunk_path(5).write_bytes(store.chunk_path(5).read_bytes() + b"\0")
    missing, short, long = _findings(made.path, RAW)
    assert missing.what == "missing chunk" and missing.group == 0
    assert short.what.startswith("damaged chunk") and short.clips == ("clip 3.wav",)
    assert long.what.startswith("damaged chunk") and long.clips == ("clip 5.wav",)


def test_a_chunk_that_cannot_be_read_is_found(make_cache):
    made = make_cache()
    chunk = Store(made.path / RAW.name).chunk_path(1)
    chunk.unlink()
    chunk.mkdir()
    (finding,) = _findings(made.path, RAW)
    assert finding.what == "unreadable chunk (Is a directory)" and finding.clips == ("clip 3.wav",)


def test_a_damaged_receipt_is_found_and_its_clips_are_named(make_cache):
    made = make_cache()
    path = receipt_path(made.path / RAW.name, 1)
    path.write_bytes(path.read_bytes().replace(b'"length": 10000', b'"length": 10001'))
    first = _findings(made.path, RAW)[0]
    assert first == Finding(path, "damaged receipt; the next featurize writes it again", ("clip 3.wav",), 1)


@pytest.mark.parametrize("key", ["features/zarr.json", "length/zarr.json", "start/c/0", "scale/c/0", "status/c/0"])
def test_damaged_metadata_and_arrays_by_slot_are_found(make_cache, key):
    made = make_cache()
    _flip(made.path / RAW.name / key, byte=8)
    (finding,) = _findings(made.path, RAW)
    assert finding == Finding(
        made.path / RAW.name / key, "not what plan and receipts give; the next featurize writes it again"
    )


def test_withdrawing_takes_back_the_receipts_of_bad_chunks_alone(make_cache):
    made = make_cache()
    store = Store(made.path / RAW.name)
    for chunk in (0, 3, 4):
        _flip(store.chunk_path(chunk))
    _flip(made.path / RAW.name / "scale" / "c" / "0")
    assert withdraw_bad(store.path, _findings(made.path, RAW)) == 2
    assert done_groups(store.path) == {1, 5}
    with pytest.raises(CacheError, match=r"raw-100\.zarr: incomplete store, 4 of 6 clips are missing"):
        open_cache(made.path).open_store("raw")


@each_kind
def test_the_next_featurize_makes_just_the_bad_chunk_again_with_the_same_bytes(featurized, specification):
    folder, featurize = featurized
    store = Store(folder / specification.name)
    sound = store.chunk_path(1).read_bytes()
    _flip(store.chunk_path(1))
    before = _identities(folder)
    findings = _findings(folder, specification)
    assert [finding.clips for finding in findings] == [("clip 2.wav", "clip 3.wav")]
    withdraw_bad(store.path, findings)
    work = featurize()
    assert [job.group for job in work.jobs] == [1]
    assert store.chunk_path(1).read_bytes() == sound
    written = {path for path, identity in _identities(folder).items() if before.get(path) != identity}
    assert store.chunk_path(1) in written
    chunks = {path for path in written if "/features/c/" in str(path) or ".receipts" in str(path)}
    assert chunks == {store.chunk_path(1), receipt_path(store.path, 1)}
    assert _findings(folder, specification) == []
    assert open_cache(folder).open_store(specification.kind)


def test_the_next_featurize_mends_damaged_receipts_and_metadata(featurized):
    folder, featurize = featurized
    sound = {path: path.read_bytes() for path in _identities(folder)}
    receipt_path(folder / RAW.name, 2).write_text("{")
    (folder / RAW.name / "zarr.json").write_text("{")
    (folder / MFCC.name / "features" / "zarr.json").unlink()
    (folder / MFCC.name / "silence" / "c" / "0").write_bytes(b"")
    featurize()
    assert {path: path.read_bytes() for path in _identities(folder)} == sound


def _damage(folder, chunk: int) -> Store:
    """Damage a raw chunk and withdraw its receipt."""
    store = Store(folder / RAW.name)
    _flip(store.chunk_path(chunk))
    withdraw_bad(store.path, _findings(folder, RAW))
    return store


def _reasons(folder) -> dict[int, str]:
    receipt = json.loads(receipt_path(folder / RAW.name, 1).read_text())
    return {slot["slot"]: slot["reason"] for slot in receipt["slots"] if slot["status"] == Status.FAILED}


def test_a_recording_that_vanished_cannot_be_repaired_and_is_said(featurized, recorded):
    folder, featurize = featurized
    sound = Store(folder / RAW.name)
    kept = sound.read(int(sound.start[3]), int(sound.start[3] + sound.length[3])).copy()
    store = _damage(folder, 1)
    (recorded / "audio_train" / "clip 2.wav").unlink()
    work = featurize()
    assert work.scan.missing == ["clip 2.wav"]
    assert _reasons(folder) == {2: "No such file or directory"}
    store = open_cache(folder).open_store("raw")
    assert store.status.tolist() == [1, 1, Status.FAILED, 1, 1, 1]
    np.testing.assert_array_equal(store.read(int(store.start[3]), int(store.start[3] + store.length[3])), kept)


def test_a_recording_that_comes_back_is_repaired_with_the_same_bytes(featurized, recorded):
    folder, featurize = featurized
    path = recorded / "audio_train" / "clip 2.wav"
    chunk, content = Store(folder / RAW.name).chunk_path(1), path.read_bytes()
    sound = chunk.read_bytes()
    _damage(folder, 1)
    path.unlink()
    featurize()
    assert len(featurize().jobs) == 0  # nothing to try as long as it is gone
    path.write_bytes(content)
    assert [job.group for job in featurize().jobs] == [1]
    assert chunk.read_bytes() == sound and _reasons(folder) == {}


def test_a_recording_that_changed_under_its_old_time_is_not_taken_for_the_old_one(featurized, recorded):
    folder, featurize = featurized
    path = recorded / "audio_train" / "clip 2.wav"
    before = path.stat()
    sf.write(path, np.random.default_rng(9).uniform(-0.5, 0.5, 10000), 100)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    _damage(folder, 1)
    featurize()
    assert list(_reasons(folder)) == [2]
    assert _reasons(folder)[2].startswith("changed since it was planned")
    store = open_cache(folder).open_store("raw")
    assert store.status[2] == Status.FAILED and store.length[2] == 0
    assert not store.read(int(store.start[2]), int(store.start[3])).any()


def test_a_recording_that_changed_gets_a_new_slot_and_the_others_are_repaired(featurized, recorded):
    folder, featurize = featurized
    sf.write(recorded / "audio_train" / "clip 2.wav", np.random.default_rng(9).uniform(-0.5, 0.5, 9000), 100)
    _damage(folder, 1)
    work = featurize()
    assert [job.group for job in work.jobs] == [1, 3]
    assert open_cache(folder).clips["slot"].tolist() == [0, 1, 6, 3, 4, 5]
    store = open_cache(folder).open_store("raw")
    assert store.status.tolist() == [1, 1, Status.PENDING, 1, 1, 1, 1] and store.length[6] == 9000
    assert _findings(folder, RAW) == []


def test_a_store_whose_attributes_are_damaged_in_both_places_is_refused(make_cache):
    made = make_cache()
    for key in ("zarr.json", "features/zarr.json"):
        (made.path / RAW.name / key).write_text("{")
    with pytest.raises(CacheError, match=r"zarr\.json: damaged or foreign metadata; run featurize to mend it"):
        _findings(made.path, RAW)


def test_flipped_bits_of_metadata_are_refused_or_mean_the_same_and_are_found(make_cache):
    made = make_cache()
    path = made.path / RAW.name / "length" / "zarr.json"
    data = bytearray(path.read_bytes())
    for bit in range(0, 8 * len(data), 31):
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        assert [finding.path for finding in _findings(made.path, RAW)] == [path]
        try:
            Store(made.path / RAW.name)
        except CacheError as error:
            assert "raw-100.zarr: damaged, cannot read its arrays" in str(error)
        data[bit // 8] ^= 1 << bit % 8
