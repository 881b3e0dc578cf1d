"""`python -m cache verify`: what it finds, whom it names, and what it changes."""

import json
import os
import shutil

import numpy as np
import pytest

from cache import open_cache
from cache.compact import compact, plan_compaction
from cache.layout import feature_chunk_key
from cache.lock import holding
from cache.receipts import Status, done_groups, read_receipt, read_receipts, withdraw, write_receipt
from cache.specification import MfccSpecification, RawSpecification
from cache.storage import CacheError, LocalStorage
from cache.verify import Kind, repair, verify_store, verify_tables
from cache.writer import writing

RAW, MFCC = RawSpecification(sample_rate=100), MfccSpecification(n_mfcc=4, sample_rate=2000)
AGAIN = "the next featurize writes it again"


def _flip(path, byte=77, bit=4) -> None:
    data = bytearray(path.read_bytes())
    data[byte] ^= 1 << bit
    path.write_bytes(data)


def _files(folder) -> dict:
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("writer."))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def _findings(folder, specification=RAW) -> list:
    storage = LocalStorage(folder)
    return verify_store(storage, verify_tables(storage)[0], specification.name)


def _chunk(folder, chunk: int, specification=RAW):
    return folder / specification.name / feature_chunk_key(specification, chunk)


def _repair(folder, findings) -> list[str]:
    groups = {finding.group for finding in findings} - {None}
    return repair(LocalStorage(folder), RAW.name, open_cache(folder).generation, groups)


def _receipt(folder, group: int):
    return (folder / RAW.name).with_suffix(".receipts") / f"{group:06d}.json"


def test_nothing_is_found_in_a_sound_cache(run, made):
    before = _files(made.path)
    assert run("verify") == (0, "tables: ok\nmfcc-4-2000.zarr: ok\nraw-100.zarr: ok\n", "")
    assert _files(made.path) == before


def test_one_flipped_bit_costs_one_clip(run, made):
    """Group 0 holds clips 0, 1 (empty) and 2; the bit lies in clip 2's samples."""
    _flip(_chunk(made.path, 0), byte=2 * 5000)
    code, out, err = run("verify", "raw-100")
    lines = out.splitlines()
    assert (code, err, lines[0], len(lines)) == (1, "", "tables: ok", 3)
    assert lines[1].startswith("work/cache/raw-100.zarr/features/c/0: damaged chunk: checksum must be ")
    assert lines[1].endswith(": train/clip 2.wav")
    assert lines[2] == "raw-100.zarr: damaged; rerun featurize to repair it"
    cache = open_cache(made.path)
    store = cache.store("raw-100")
    assert store.status.tolist() == [Status.OK, Status.EMPTY, Status.PENDING, Status.OK, Status.OK, Status.OK]
    assert cache.missing(store).tolist() == ["clip 2.wav"]
    assert [result.slot for result in read_receipt(LocalStorage(made.path / RAW.name), 0).slots] == [0, 1]
    kept = made.features[RAW.name][: store.length[0]]
    np.testing.assert_array_equal(store.read(0, int(store.length[0])), kept)
    with pytest.raises(CacheError, match="incomplete store, 1 of 6 clips are missing, 'clip 2.wav' for one"):
        cache.open_store("raw")


def test_after_a_repair_the_store_is_incomplete(run, made):
    _flip(_chunk(made.path, 0), byte=2 * 5000)
    run("verify", "raw-100")
    assert run("verify", "raw-100")[:2] == (
        1,
        "tables: ok\nwork/cache/raw-100.receipts: clips without a result: train/clip 2.wav\n"
        "raw-100.zarr: incomplete; rerun featurize to resume\n",
    )


def test_a_bit_in_the_silence_between_clips_names_nobody_and_is_repaired(run, made):
    before = _files(made.path)
    _flip(_chunk(made.path, 0), byte=RAW.chunk_bytes - 1)
    code, out, _ = run("verify", "raw-100")
    _, line, verdict = out.splitlines()
    assert code == 1 and line.startswith("work/cache/raw-100.zarr/features/c/0: damaged chunk: ")
    assert line.endswith("; every clip in it is sound") and verdict == "raw-100.zarr: repaired"
    assert _files(made.path) == before
    assert run("verify", "raw-100")[0] == 0


def test_a_clip_whose_slot_no_clip_refers_to_is_not_named(run, made):
    with writing(made.path) as writer:
        writer.write_tables(writer.tables.clips.drop(2), writer.tables.plan)
    _flip(_chunk(made.path, 0), byte=2 * 5000)
    _, line, verdict = run("verify", "raw-100")[1].splitlines()
    assert line.endswith("; holds no clip of the dataset") and verdict == "raw-100.zarr: repaired"
    assert run("verify", "raw-100")[0] == 0


@pytest.mark.parametrize("specification", [RAW, MFCC], ids=lambda s: s.name)
def test_any_flipped_bit_of_a_chunk_is_found(made, specification):
    chunk = _chunk(made.path, 0, specification)
    random = np.random.default_rng(0)
    for byte in [0, chunk.stat().st_size - 1, *random.integers(0, chunk.stat().st_size, 6).tolist()]:
        bit = int(random.integers(8))
        _flip(chunk, byte, bit)
        (finding,) = _findings(made.path, specification)
        assert (finding.path, finding.group) == (str(chunk), 0)
        _flip(chunk, byte, bit)


def test_each_bad_chunk_of_a_long_clip_names_it(made):
    for chunk in (2, 3, 4):
        _flip(_chunk(made.path, chunk))
    findings = _findings(made.path)
    assert [finding.path for finding in findings] == [str(_chunk(made.path, chunk)) for chunk in (2, 3, 4)]
    assert {(finding.clips, finding.group) for finding in findings} == {(("test/clip 4.wav",), 2)}
    assert _repair(made.path, findings) == []
    assert done_groups(LocalStorage(made.path / RAW.name)) == {0, 1, 5}


def test_missing_short_and_long_chunks_are_found(made):
    _chunk(made.path, 0).unlink()
    _chunk(made.path, 1).write_bytes(_chunk(made.path, 1).read_bytes()[:-2])
    _chunk(made.path, 5).write_bytes(_chunk(made.path, 5).read_bytes() + b"\0")
    missing, short, long = _findings(made.path)
    assert missing.what == "missing chunk" and missing.clips == ("train/clip 0.wav", "train/clip 2.wav")
    assert short.what.startswith("damaged chunk: ") and long.what.startswith("damaged chunk: ")
    assert _repair(made.path, [missing, short, long]) == []
    assert _findings(made.path)[0].kind == Kind.INCOMPLETE


def _pipe(path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path) -> None:
    path.unlink()
    path.mkdir()


def _endless_link(path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _circular_link(path) -> None:
    path.unlink()
    path.symlink_to(path.name)


HARMS = [_pipe, _folder, _endless_link, _circular_link]


@pytest.mark.parametrize("harm", HARMS)
def test_a_chunk_that_is_no_regular_file_is_found_and_hangs_nothing(run, made, harm):
    harm(_chunk(made.path, 1))
    code, out, err = run("verify", "raw-100")
    assert (code, err) == (1, "")
    assert "raw-100.zarr/features/c/1: unreadable chunk (" in out and ": train/clip 3.wav" in out
    assert open_cache(made.path).store("raw-100").status[3] == Status.PENDING


@pytest.mark.parametrize("harm", HARMS)
def test_a_receipt_that_is_no_regular_file_is_found_and_left_alone(run, made, harm):
    path = _receipt(made.path, 1)
    harm(path)
    code, out, err = run("verify", "raw-100")
    assert (code, err) == (1, "")
    says = "work/cache/raw-100.receipts/000001.json: damaged receipt, not a regular file; move it away: train/clip 3.wav"
    assert says in out.splitlines()
    assert os.path.lexists(path)


def test_pipes_and_links_beside_the_stores_files_hang_nothing(run, made):
    store = made.path / RAW.name
    os.mkfifo(store / "pipe")
    (store / "features" / "again").symlink_to(store)
    (store / "zero").symlink_to("/dev/zero")
    assert run("verify", "raw-100")[0] == 0


@pytest.mark.parametrize(
    "harm", [*HARMS, lambda path: path.write_text("{"), lambda path: path.write_text("[" * 9999)]
)
def test_odd_metadata_is_one_line(run, made, harm):
    for key in ("zarr.json", "features/zarr.json"):
        harm(made.path / RAW.name / key)
    code, out, err = run("verify", "raw-100")
    lines = out.splitlines()
    assert (code, err, len(lines)) == (1, "", 2)
    assert lines[1].startswith("raw-100.zarr: refused: work/cache/raw-100.zarr/zarr.json: ")


def test_a_damaged_receipt_is_withdrawn_and_its_clips_are_named(run, made):
    path = _receipt(made.path, 1)
    path.write_bytes(path.read_bytes().replace(b"10000", b"10001", 1))
    lines = run("verify", "raw-100")[1].splitlines()
    assert lines[1] == f"work/cache/raw-100.receipts/000001.json: damaged receipt; {AGAIN}: train/clip 3.wav"
    assert not path.exists()
    assert open_cache(made.path).store("raw-100").status[3] == Status.PENDING


def test_a_compaction_in_between_keeps_every_receipt(made):
    """Verify finds a bad chunk of group 1; then it is repaired, and a compaction gives the groups other numbers."""
    chunk = _chunk(made.path, 1)
    _flip(chunk)
    generation, findings = open_cache(made.path).generation, _findings(made.path)
    assert [finding.group for finding in findings] == [1]
    _flip(chunk)
    with writing(made.path) as writer:
        writer.write_tables(writer.tables.clips.drop([0, 2]).reset_index(drop=True), writer.tables.plan)
        compact(plan_compaction(open_cache(made.path)))
    before = _files(made.path)
    lines = repair(LocalStorage(made.path), RAW.name, generation, {1})
    assert lines == [f"{made.path}: was compacted meanwhile, nothing was changed; run verify again"]
    assert _files(made.path) == before


def test_a_chunk_that_was_repaired_in_between_keeps_its_receipt(made):
    before = _files(made.path)
    _flip(_chunk(made.path, 1))
    findings = _findings(made.path)
    _flip(_chunk(made.path, 1))
    assert _repair(made.path, findings) == []
    assert _files(made.path) == before


def test_what_a_writer_that_was_killed_had_replaced_is_no_damage(made):
    """A group's chunks are replaced before its receipt; till then a receipt of what stays is there."""
    store = LocalStorage(made.path / RAW.name)
    receipt = read_receipt(store, 0)
    _flip(_chunk(made.path, 0), byte=2 * 5000)
    write_receipt(store, type(receipt)(0, receipt.checksums, receipt.slots[:2], receipt.versions))
    (finding,) = _findings(made.path)
    assert (finding.kind, finding.clips) == (Kind.INCOMPLETE, ("train/clip 2.wav",))


def test_a_repair_that_is_interrupted_anywhere_loses_no_sound_clip(make_cache, tmp_path, monkeypatch):
    made = make_cache()
    sound = read_receipt(LocalStorage(made.path / RAW.name), 0).slots[:2]
    _flip(_chunk(made.path, 0), byte=2 * 5000)
    write, n_writes = LocalStorage.write, 0
    while True:
        folder, left = tmp_path / f"copy {n_writes}", [n_writes]
        shutil.copytree(made.path, folder)
        findings = _findings(folder)

        def stop(self, key, data, durable=False, left=left):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            write(self, key, data, durable)

        with monkeypatch.context() as patched:
            patched.setattr(LocalStorage, "write", stop)
            try:
                _repair(folder, findings)
                break
            except KeyboardInterrupt:
                n_writes += 1
        _repair(folder, _findings(folder))
        assert read_receipt(LocalStorage(folder / RAW.name), 0).slots == sound
    assert n_writes >= 4


def test_nothing_is_changed_under_another_writer(run, made):
    _flip(_chunk(made.path, 0))
    before = _files(made.path)
    with holding(LocalStorage(made.path)):
        code, out, err = run("verify")
    assert code == 2 and "damaged chunk" in out
    assert err.startswith("cache: work/cache: process ") and "is writing the cache" in err
    assert _files(made.path) == before


def test_a_store_that_was_removed_by_hand_is_not_called_complete(run, made):
    shutil.rmtree(made.path / RAW.name)
    code, out, _ = run("verify")
    assert code == 1
    assert out.splitlines()[2:] == [
        "work/cache/raw-100.zarr: is missing, only its receipts are left; featurize makes it again, "
        "`cache rm raw-100.zarr` removes them",
        "raw-100.zarr: incomplete; rerun featurize to resume",
    ]


@pytest.mark.parametrize(
    ("name", "source"), [("clips.parquet", "the dataset"), ("plan.parquet", "the receipts"), ("manifest.json", "")]
)
@pytest.mark.parametrize("lost", [False, True])
def test_a_bad_table_is_named_with_what_it_will_be_made_of(run, made, name, source, lost):
    path = made.path / name
    path.unlink() if lost else _flip(path)
    _flip(_chunk(made.path, 1))
    code, out, err = run("verify")
    lines = out.splitlines()
    assert (code, err) == (1, "")
    assert lines[0].startswith(f"work/cache/{name}: ")
    assert "; the next featurize makes it anew" in lines[0] and source in lines[0]
    assert "tables: damaged; rerun featurize to repair it" in lines
    assert any("raw-100.zarr/features/c/1: damaged chunk" in line for line in lines)
    assert lines[-1] == "raw-100.zarr: damaged; rerun featurize to repair it"


@pytest.mark.parametrize("key", ["features/zarr.json", "length/zarr.json", "start/c/0", "scale/c/0", "status/c/0"])
def test_damaged_metadata_and_arrays_by_slot_are_found(made, key):
    _flip(made.path / RAW.name / key, byte=8)
    (finding,) = _findings(made.path)
    assert (finding.path, finding.what) == (
        str(made.path / RAW.name / key),
        f"not what plan and receipts give; {AGAIN}",
    )


@pytest.mark.parametrize("attribute", [{"format": "x"}, {"format_version": 9}, {"versions": {}}, {"receipts": []}])
def test_damaged_attributes_are_found(run, made, attribute):
    path = made.path / RAW.name / "zarr.json"
    metadata = json.loads(path.read_text())
    metadata["attributes"] |= attribute
    path.write_text(json.dumps(metadata, indent=2))
    code, out, _ = run("verify", "raw-100")
    assert code == 1 and f"raw-100.zarr/zarr.json: not what plan and receipts give; {AGAIN}" in out


def test_extra_files_are_named(run, made):
    store = made.path / RAW.name
    mine = (store / "notes.txt", store / "features/c/77", store.with_suffix(".receipts") / "7.json")
    ours = store / "features/c/.earmark-0123abcd-0"
    for path in (*mine, ours):
        path.write_text("x")
    code, out, _ = run("verify", "raw-100")
    assert code == 1
    assert out.splitlines() == [
        "tables: ok",
        "work/cache/raw-100.zarr/features/c/.earmark-0123abcd-0: left by a run that was killed; the next featurize "
        "removes it",
        "work/cache/raw-100.zarr/features/c/77: extra chunk, no receipt counts it; `cache compact` removes it",
        "work/cache/raw-100.zarr/notes.txt: extra file, none of the store's; move it away",
        "work/cache/raw-100.receipts/7.json: extra file, none of the store's; move it away",
        "raw-100.zarr: sound, but for the extra files named",
    ]
    assert all(path.exists() for path in (*mine, ours))


def test_metadata_of_fewer_receipts_than_there_are_tell_of_an_interrupted_run(made):
    with writing(made.path) as writer:
        receipts = read_receipts(LocalStorage(made.path / RAW.name))
        some = type(receipts)(receipts[group] for group in (0, 1))
        writer.update_store(RAW, writer.tables.plan, some, {})
    (finding,) = _findings(made.path)
    assert finding.kind == Kind.INCOMPLETE and "metadata of 2 receipts, but there are 4" in finding.what


def test_the_clips_of_lost_receipts_are_named_eight_at_most(run, make_cache):
    made = make_cache("work/cache", seconds=[1] * 12)
    withdraw(LocalStorage(made.path / RAW.name), 0)
    assert run("verify", "raw-100")[1].splitlines()[1].endswith("train/clip 7.wav and 4 more")


@pytest.mark.slow
def test_verify_works_in_a_bucket(make_cache, bucket, upload, run):
    place = upload(make_cache().path, bucket / "cache")
    place.remove("writer.lock")
    assert run("verify", "--cache", place)[:2] == (0, "tables: ok\nmfcc-4-2000.zarr: ok\nraw-100.zarr: ok\n")
    key = f"{RAW.name}/{feature_chunk_key(RAW, 0)}"
    data = place.read(key)
    place.write(key, data[:10000] + bytes([data[10000] ^ 1]) + data[10001:])
    code, out, err = run("verify", "--cache", place)
    assert (code, err) == (1, "") and f"{place}/{key}: damaged chunk: " in out and ": train/clip 2.wav\n" in out
    assert open_cache(place).store("raw-100").status[2] == Status.PENDING


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Empty filters detected")  # 128 mel bands in 1 kHz
class TestWithTheNextFeaturize:
    """What verify took back is made again, with the same bytes, as far as the recordings are there."""

    @pytest.fixture
    def again(self, recorded, tmp_path, featurize):
        """A function that featurizes six recordings in three groups into work/cache; it has done so once."""
        featurize(recorded, tmp_path / "work" / "cache")
        return lambda **options: featurize(recorded, tmp_path / "work" / "cache", **options)

    @pytest.mark.parametrize("specification", [RAW, MFCC], ids=lambda s: s.name)
    def test_a_damaged_clip_is_made_again_with_the_same_bytes(self, again, tmp_path, run, specification):
        folder = tmp_path / "work" / "cache"
        before = _files(folder)
        _flip(_chunk(folder, 1, specification))
        assert ": train/clip 2.wav\n" in run("verify")[1]
        again()
        assert _files(folder) == before
        assert run("verify")[0] == 0

    def test_everything_that_the_next_featurize_repairs(self, again, tmp_path, run):
        folder = tmp_path / "work" / "cache"
        before = _files(folder)
        _receipt(folder, 2).write_text("{")
        (folder / RAW.name / "zarr.json").write_text("{")
        (folder / MFCC.name / "features" / "zarr.json").unlink()
        (folder / MFCC.name / "silence" / "c" / "0").write_bytes(b"")
        _chunk(folder, 0).unlink()
        (folder / "plan.parquet").unlink()
        assert run("verify")[0] == 1
        again()
        assert _files(folder) == before

    def test_the_other_clips_of_the_chunk_stay_where_the_recordings_are_gone(self, again, recorded, tmp_path, run):
        folder = tmp_path / "work" / "cache"
        store = open_cache(folder).store("raw-100")
        kept = store.read(int(store.start[3]), int(store.start[3] + store.length[3])).copy()
        _flip(_chunk(folder, 1))
        run("verify")
        for clip in ("clip 2.wav", "clip 3.wav"):
            (recorded / "audio_train" / clip).unlink()
        again()
        store = open_cache(folder).open_store("raw")
        assert store.status.tolist() == [1, 1, Status.FAILED, 1, 1, 1]
        np.testing.assert_array_equal(store.read(int(store.start[3]), int(store.start[3] + store.length[3])), kept)

    def test_a_recording_that_comes_back_is_repaired_with_the_same_bytes(self, again, recorded, tmp_path, run):
        folder = tmp_path / "work" / "cache"
        before, path = _files(folder), recorded / "audio_train" / "clip 2.wav"
        content, stat = path.read_bytes(), path.stat()
        _flip(_chunk(folder, 1))
        run("verify")
        path.unlink()
        again()
        path.write_bytes(content)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        again()
        assert _files(folder) == before

    def test_a_store_that_was_removed_by_hand_is_made_again(self, again, tmp_path, run):
        folder = tmp_path / "work" / "cache"
        before = _files(folder)
        shutil.rmtree(folder / RAW.name)
        again()
        assert _files(folder) == before
