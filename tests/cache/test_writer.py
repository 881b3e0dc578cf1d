import os
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cache.layout import plan_of, slot_starts
from cache.lock import holder
from cache.reader import open_cache
from cache.receipts import (
    Receipt,
    SlotResult,
    Status,
    begun_with,
    checksum,
    done_groups,
    read_receipt,
    read_receipts,
    receipts_folder,
    withdraw,
    write_receipt,
)
from cache.specification import MfccSpecification, RawSpecification
from cache.storage import CacheError, LocalStorage
from cache.tables import read_tables, write_tables
from cache.writer import GroupWriter, check_is_cache, load_tables, writing

RAW = RawSpecification(100)
MFCC = MfccSpecification(4, 2000)
LENGTH = RAW.chunk_length
VERSIONS = {"numpy": "2.0"}


def _flip(path) -> None:
    data = bytearray(path.read_bytes())
    data[50] ^= 4
    path.write_bytes(data)


def _files(folder) -> dict:
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != "writer.lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def _looks(folder) -> dict:
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


# Holding a cache, and making it ready


def test_an_empty_folder_becomes_a_cache(tmp_path):
    (tmp_path / "there").mkdir()
    for folder in (tmp_path / "a" / "b", tmp_path / "there"):
        with writing(folder) as writer:
            assert writer.tables.clips is None and len(writer.tables.plan) == 0 and writer.tables.generation == 0
            assert writer.rebuilt == [] and holder(writer.storage) == writer.hold.id


@pytest.mark.parametrize(
    "name", ["notes.txt", "old.partial", "manifest.json", "raw-16000.zarr", "raw.zarr", ".earmark-notes", "a/b/c"]
)
def test_a_folder_that_is_neither_empty_nor_a_cache_is_refused_and_left_as_it_is(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"name": "my web page"}')
    before = _looks(tmp_path)
    shown = name.split("/")[0].replace(".", r"\.")
    message = rf"is neither empty nor a cache, it holds {shown}; give an empty folder, or a cache, with --cache"
    with pytest.raises(CacheError, match=message), writing(tmp_path):
        pass
    with pytest.raises(CacheError, match=message):
        check_is_cache(LocalStorage(tmp_path))
    assert _looks(tmp_path) == before


def test_a_file_in_place_of_a_folder_is_refused(tmp_path):
    (tmp_path / "cache").write_text("")
    with (
        pytest.raises(CacheError, match=r"/cache: must be a folder, got a file; give another"),
        writing(tmp_path / "cache"),
    ):
        pass


def test_only_our_temporary_files_inside_our_stores_are_removed(make_cache):
    folder = make_cache().path
    ours = (".earmark-01234567-0", ".earmark-89abcdef-000001.json")
    for place in ("raw-100.zarr/features/c", "mfcc-4-2000.receipts", "mine", "mine.zarr"):
        for name in (*ours, "mine.partial"):
            (folder / place).mkdir(exist_ok=True)
            (folder / place / name).write_text("")
    with writing(folder):
        pass
    left = {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.name in {*ours, "mine.partial"}
    }
    mine = {f"{place}/{name}" for place in ("mine", "mine.zarr") for name in ours}
    everywhere = {
        f"{place}/mine.partial"
        for place in ("raw-100.zarr/features/c", "mfcc-4-2000.receipts", "mine", "mine.zarr")
    }
    assert left == mine | everywhere


def test_a_sound_cache_is_left_as_it_is(make_cache):
    folder = make_cache().path
    before = _looks(folder)
    with writing(folder) as writer:
        assert writer.rebuilt == [] and len(writer.tables.clips) == len(writer.tables.plan) == 6
        writer.write_tables(writer.tables.clips, writer.tables.plan)
        for specification in (RAW, MFCC):
            receipts = read_receipts(writer.storage / specification.name)
            writer.update_store(specification, writer.tables.plan, receipts, begun_with(receipts))
    assert {path: look for path, look in _looks(folder).items() if path.name != "writer.lock"} == {
        path: look for path, look in before.items() if path.name != "writer.lock"
    }


def test_a_cache_of_an_older_version_is_refused(tmp_path):
    (tmp_path / "copies").mkdir()
    (tmp_path / "plan.parquet").write_text("")
    message = "made by an older version of earmark; move it away, or give another --cache, and run featurize again"
    for ask in (lambda: writing(tmp_path).__enter__(), lambda: load_tables(LocalStorage(tmp_path))):
        with pytest.raises(CacheError, match=message):
            ask()


def test_a_store_of_another_generation_is_refused_by_name(make_cache):
    made = make_cache()
    tables = read_tables(LocalStorage(made.path))
    write_tables(LocalStorage(made.path), tables.clips, tables.plan, 3)
    message = r"/mfcc-4-2000\.zarr: is of generation 0, but the cache is of generation 3; the store was copied here"
    with pytest.raises(CacheError, match=message), writing(made.path):
        pass


# Damaged tables


@pytest.mark.parametrize("harm", [_flip, lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
def test_a_damaged_plan_is_made_anew_from_the_receipts(make_cache, harm):
    folder = make_cache().path
    before = _files(folder)
    harm(folder / "plan.parquet")
    with writing(folder) as writer:
        assert len(writer.rebuilt) == 1 and "plan.parquet: " in writer.rebuilt[0]
        assert writer.rebuilt[0].endswith("; made anew from the receipts")
    assert _files(folder) == before
    open_cache(folder).open_store("raw")


@pytest.mark.parametrize("harm", [_flip, lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
def test_a_damaged_clip_table_is_left_to_be_made_anew_from_the_dataset(make_cache, harm):
    folder = make_cache().path
    before, clips = _files(folder), open_cache(folder).clips
    harm(folder / "clips.parquet")
    with writing(folder) as writer:
        assert writer.tables.clips is None and len(writer.tables.plan) == 6
        assert [line.rpartition("clips.parquet: ")[2].partition("; ")[2] for line in writer.rebuilt] == [
            "made anew from the dataset; clips that it does not list are left out"
        ]
        writer.write_tables(clips, writer.tables.plan)
    assert _files(folder) == before


@pytest.mark.parametrize("harm", [_flip, lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
def test_a_damaged_manifest_is_made_anew_and_keeps_the_generation(make_cache, harm):
    """A table whose checksum still stands in the damaged manifest is kept."""
    folder = make_cache().path
    tables = read_tables(LocalStorage(folder))
    (folder / "manifest.json").unlink()
    write_tables(LocalStorage(folder), tables.clips, tables.plan, 5)
    with pytest.raises(CacheError), writing(folder):  # the stores are of generation 0
        pass
    for specification in (RAW, MFCC):
        path = folder / specification.name / "zarr.json"
        path.write_text(path.read_text().replace('"generation": 0', '"generation": 5'))
    before = _files(folder)
    harm(folder / "manifest.json")
    with writing(folder) as writer:
        assert "manifest.json: " in writer.rebuilt[0] and writer.rebuilt[0].endswith("; made anew")
        assert writer.tables.generation == 5 and len(writer.tables.plan) == 6
        assert (writer.tables.clips is None) == (harm is not _flip)
        writer.write_tables(tables.clips, writer.tables.plan)
    assert _files(folder) == before


def test_nothing_is_written_to_say_what_would_be_made_anew(make_cache):
    folder = make_cache().path
    _flip(folder / "plan.parquet")
    before = _looks(folder)
    tables, rebuilt = load_tables(LocalStorage(folder))
    assert len(tables.plan) == 6 and len(rebuilt) == 1 and _looks(folder) == before


def test_slots_that_no_receipt_knows_are_rows_without_a_file(make_cache):
    made = make_cache(without=[1, 5])
    _flip(made.path / "plan.parquet")
    with writing(made.path) as writer:
        plan = writer.tables.plan
    assert plan["file"].tolist() == [*made.plan["file"][:3], "", made.plan["file"][4], ""]
    assert (plan["group"][:5] == [0, 0, 0, 0, 2]).all()
    with pytest.raises(CacheError, match=r"its slots do not start where the plan says; run featurize to repair it"):
        open_cache(made.path).store(RAW.name)
    _update(replace(made, plan=plan))
    cache = open_cache(made.path)
    assert cache.missing(cache.store(RAW.name)).tolist() == ["clip 3.wav", "clip 5.wav"]


def test_features_behind_a_slot_that_is_lost_with_the_plan_do_not_count(make_cache):
    """Where they lie is not known any more: the lost slot has room before them."""
    made = make_cache(seconds=[3.0, 2.0, 4.0, 300.0], specifications=[RAW])
    store = LocalStorage(made.path / RAW.name)
    receipt = read_receipt(store, 0)
    write_receipt(store, replace(receipt, slots=receipt.slots[::2]))
    _flip(made.path / "plan.parquet")
    with writing(made.path):
        assert done_groups(store) == {1}


def test_receipts_that_contradict_each_other_are_said(make_cache):
    made = make_cache()
    receipt = read_receipt(LocalStorage(made.path / RAW.name), 1)
    odd = replace(receipt, slots=(replace(receipt.slots[0], file="other.wav"),))
    write_receipt(LocalStorage(made.path / RAW.name), odd)
    _flip(made.path / "plan.parquet")
    message = r"plan\.parquet: damaged, and the receipts of the stores contradict each other; move the cache away"
    with pytest.raises(CacheError, match=message), writing(made.path):
        pass


@pytest.mark.parametrize("n_writes", [1, 2])
def test_a_first_run_that_was_interrupted_is_not_damage(make_cache, tmp_path, n_writes):
    tables = read_tables(LocalStorage(make_cache(specifications=[]).path))
    dying = _Dying(tmp_path / "new")
    dying.left[0] = n_writes
    with pytest.raises(_Killed):
        write_tables(dying, tables.clips, tables.plan, 0)
    with writing(tmp_path / "new") as writer:
        assert (
            writer.tables.clips is None and len(writer.tables.plan) == 6 * (n_writes - 1) and writer.rebuilt == []
        )


# Stores


def test_updating_a_store_repairs_what_is_damaged_or_gone(make_cache):
    made = make_cache()
    before = _files(made.path / RAW.name)
    store = made.path / RAW.name
    (store / "zarr.json").write_text("{")
    (store / "length" / "c" / "0").unlink()
    (store / "scale" / "c" / "0").write_bytes(b"short")
    (store / "start" / "zarr.json").unlink()
    os.mkfifo(store / "start" / "zarr.json")
    _update(made)
    assert _files(store) == before


def test_a_damaged_receipt_makes_its_slots_pending(make_cache):
    made = make_cache()
    store = LocalStorage(made.path / RAW.name)
    receipts_folder(store).write("000001.json", b"{}")
    withdraw(store, 0)
    _update(made)
    status = open_cache(made.path).store(RAW.name).status
    assert status.tolist() == [Status.PENDING] * 4 + [Status.OK] * 2


def _update(made, specification=RAW) -> None:
    with writing(made.path) as writer:
        receipts = read_receipts(writer.storage / specification.name)
        writer.update_store(specification, made.plan, receipts, VERSIONS)


def test_nothing_is_written_once_the_hold_is_lost(make_cache):
    made = make_cache()
    before = _files(made.path)
    with writing(made.path) as writer:
        (made.path / "writer.json").write_text('{"id": "another"}')
        receipts = read_receipts(writer.storage / RAW.name)
        for write in (
            lambda: writer.write_tables(writer.tables.clips.head(1), writer.tables.plan),
            lambda: writer.update_store(RAW, writer.tables.plan.head(1), receipts, {}),
        ):
            with pytest.raises(CacheError, match="this run does not hold the cache any more"):
                write()
    assert _files(made.path) == before


# Groups


def _noise(n, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-32767, 32768, n).astype(np.int16)


@pytest.fixture
def store(tmp_path):
    return LocalStorage(tmp_path / RAW.name)


OFFSETS = {4: 0, 5: 300, 6: 300, 8: 1000}


def _group(store, **options) -> GroupWriter:
    return GroupWriter(store, RAW, 2, 1, OFFSETS, **options)


def _result(slot, features, **fields) -> SlotResult:
    digits = checksum(memoryview(features).cast("B")) if len(features) else ""
    return SlotResult(slot, f"{slot:032x}", Status.OK, len(features), 1.0, checksum=digits, **fields)


PARTS = {4: _noise(300, 4), 5: _noise(0), 6: _noise(650, 6), 8: _noise(77, 8)}


def _filled(store, parts=PARTS, **fields) -> Receipt:
    writer = _group(store)
    for slot, part in parts.items():
        assert writer.write(slot, [part[:100], part[100:]]) == (len(part), _result(slot, part).checksum)
    return writer.commit([_result(slot, part, **fields) for slot, part in parts.items()], VERSIONS)


def _expected(parts=PARTS) -> bytes:
    features = np.zeros(LENGTH, np.int16)
    for slot, part in parts.items():
        features[OFFSETS[slot] : OFFSETS[slot] + len(part)] = part
    return features.tobytes()


def test_a_group_is_written_as_its_slots_and_silence(store):
    receipt = _filled(store)
    assert store.read("features/c/2") == _expected()
    assert read_receipt(store, 2) == receipt and receipt.checksums == (checksum(_expected()),)


def test_nothing_counts_and_nothing_changes_before_the_commit(store):
    _filled(store)
    before = _files(store.parent.path())
    with _group(store) as writer:
        writer.write(4, [_noise(300, 9)])
        assert _files(store.parent.path()) == before
    assert _files(store.parent.path()) == before


def test_pieces_of_several_stores_may_come_by_turns(store, tmp_path):
    other = LocalStorage(tmp_path / "other.zarr")
    writers = [_group(store), _group(other)]
    for slot, part in PARTS.items():
        for writer in writers:
            writer.begin(slot)
        for piece in (part[:10], part[10:]):
            for writer in writers:
                writer.append(piece)
        assert [writer.end() for writer in writers] == [(len(part), _result(slot, part).checksum)] * 2
    for writer in writers:
        writer.commit([], {})
    assert store.read("features/c/2") == other.read("features/c/2") == _expected()


def test_a_slot_is_not_written_beyond_its_room(store):
    writer = _group(store)
    with pytest.raises(ValueError, match=r"slot 4 has room for 1 more elements, got 2"):
        writer.write(4, [_noise(299), _noise(2)])
    with pytest.raises(ValueError, match=r"slot 5 has room for 0 more elements, got 1"):
        writer.write(5, [_noise(1)])


def test_a_slot_whose_blocks_fail_half_way_is_blank_again(store):
    def blocks():
        yield _noise(200, 1)
        raise OSError("gone")

    writer = _group(store)
    writer.write(4, [PARTS[4]])
    with pytest.raises(OSError, match="gone"):
        writer.write(6, blocks())
    writer.write(8, [PARTS[8]])
    writer.commit([], {})
    assert store.read("features/c/2") == _expected({4: PARTS[4], 8: PARTS[8]})


def test_a_slot_may_be_written_again_or_left_blank(store):
    writer = _group(store)
    writer.write(4, [_noise(300, 1)])
    writer.write(4, [PARTS[4]])
    writer.write(6, [PARTS[6]])
    writer.blank(6)
    writer.commit([], {})
    assert store.read("features/c/2") == _expected({4: PARTS[4]})


def test_results_whose_bytes_still_have_their_checksum_are_kept(store):
    receipt = _filled(store)
    path = store.path("features/c/2")
    data = bytearray(path.read_bytes())
    data[2 * 500] ^= 1  # in slot 6
    path.write_bytes(data)
    writer = _group(store, earlier=receipt)
    assert writer.kept == {slot.slot: slot for slot in receipt.slots if slot.slot != 6}
    writer.write(6, [PARTS[6]])
    writer.commit([*writer.kept.values(), _result(6, PARTS[6])], VERSIONS)
    assert read_receipt(store, 2) == receipt and path.read_bytes() == _expected()


@pytest.mark.parametrize(("size", "kept"), [(2 * 900, {4, 5}), (2 * LENGTH + 9, {4, 5, 6, 8}), (7, {5})])
def test_of_a_chunk_of_another_size_the_results_that_it_still_holds_are_kept(store, size, kept):
    receipt = _filled(store)
    store.write("features/c/2", store.read("features/c/2").ljust(size, b"x")[:size])
    assert set(_group(store, earlier=receipt).kept) == kept


@pytest.mark.parametrize("harm", ["missing", "short", "pipe"])
def test_nothing_is_kept_of_a_chunk_that_is_gone_but_what_has_no_bytes(store, harm):
    receipt = _filled(store)
    store.remove("features/c/2")
    if harm == "short":
        store.write("features/c/2", b"short")
    if harm == "pipe":
        os.mkfifo(store.path("features/c/2"))
    assert set(_group(store, earlier=receipt).kept) == {5}


def test_earlier_features_are_put_back_where_new_ones_fail(store):
    receipt = _filled(store)
    writer = _group(store, earlier=receipt)
    for slot in PARTS:
        writer.begin(slot)
        if slot == 6:
            writer.append(_noise(400, 1))
            assert writer.restore(6) == receipt.slots[2]
        else:
            writer.append(PARTS[slot])
    writer.commit(receipt.slots, VERSIONS)
    assert store.read("features/c/2") == _expected() and read_receipt(store, 2) == receipt


class _Killed(BaseException):
    """As a kill that comes before a write."""


class _Dying(LocalStorage):
    """A storage whose process is killed instead of writing, publishing or removing for the n-th time."""

    left = [0]  # noqa: RUF012

    def __truediv__(self, name):
        return _Dying(self.path(name))

    @property
    def parent(self):
        return _Dying(self.path().parent)

    def _count(self):
        self.left[0] -= 1
        if self.left[0] < 0:
            raise _Killed

    def write(self, *arguments):
        self._count()
        super().write(*arguments)

    def publish(self, *arguments):
        self._count()
        super().publish(*arguments)

    def remove(self, key):
        self._count()
        super().remove(key)


@pytest.mark.parametrize("n_writes", range(4))
def test_a_repair_that_is_killed_loses_none_of_the_sound_features(store, n_writes):
    """Slot 6 is computed again; the recordings of the others may be gone."""
    receipt = _filled(store)
    dying = _Dying(store.path())
    dying.left[0] = n_writes
    writer = GroupWriter(dying, RAW, 2, 1, OFFSETS, earlier=receipt)
    others = [result for slot, result in writer.kept.items() if slot != 6]
    try:
        writer.write(6, [_noise(650, 1)])
        writer.commit([*others, _result(6, _noise(650, 1))], VERSIONS)
    except _Killed:
        assert n_writes < 3
    found = read_receipt(store, 2)
    assert {4, 5, 8} <= set(_group(store, earlier=found).kept)
    sound = set(_group(store, earlier=found).kept)
    assert sound == {slot.slot for slot in found.slots}  # whatever the receipt counts is there


def test_a_receipt_is_withdrawn_before_its_chunk_is_overwritten(store):
    receipt = _filled(store)
    dying = _Dying(store.path())
    dying.left[0] = 1
    writer = GroupWriter(dying, RAW, 2, 1, OFFSETS)
    with pytest.raises(_Killed):
        writer.commit([], {})
    assert done_groups(store) == set() and store.read("features/c/2") == _expected()
    assert receipt.slots


@pytest.mark.parametrize("n_checks", range(2))
def test_a_commit_is_refused_once_the_hold_is_lost(store, n_checks):
    receipt, left = _filled(store), [n_checks]

    def check():
        left[0] -= 1
        if left[0] < 0:
            raise CacheError("lost")

    writer = _group(store, check=check)
    with pytest.raises(CacheError, match="lost"):
        writer.commit([_result(4, _noise(0))], {})
    assert done_groups(store) == ({2} if n_checks == 0 else set())
    assert n_checks or read_receipt(store, 2) == receipt


# A clip longer than a chunk


def _long(store, n_chunks=3, **options) -> GroupWriter:
    return GroupWriter(store, RAW, 7, n_chunks, {9: 0}, **options)


def _chunks(store, n_chunks=3) -> np.ndarray:
    data = b"".join(store.read(f"features/c/{chunk}") for chunk in range(7, 7 + n_chunks))
    return np.frombuffer(data, np.int16)


def _blocks(features, n=4000):
    return (features[first : first + n] for first in range(0, len(features), n))


LONG = _noise(2 * LENGTH + 99, 9)


def test_a_long_clip_is_written_chunk_by_chunk_under_temporary_names(store):
    written = []

    def blocks():
        for block in _blocks(LONG):
            written.append([name.startswith(".earmark-") for name in store.names("features/c")])
            yield block

    writer = _long(store)
    assert writer.write(9, blocks()) == (len(LONG), checksum(LONG.tobytes()))
    assert written[0] == [] and written[-1] == [True] and len(store.names("features/c")) == 2
    receipt = writer.commit([_result(9, LONG)], VERSIONS)
    assert store.names("features/c") == ["7", "8", "9"] and len(receipt.checksums) == 3
    np.testing.assert_array_equal(_chunks(store), np.pad(LONG, (0, 3 * LENGTH - len(LONG))))
    assert [checksum(part.tobytes()) for part in np.split(_chunks(store), 3)] == list(receipt.checksums)


def test_a_long_clip_that_is_left_blank_takes_all_its_chunks(store):
    writer = _long(store)
    writer.write(9, _blocks(LONG))
    writer.blank(9)
    writer.commit([], {})
    assert store.names("features/c") == ["7", "8", "9"] and not _chunks(store).any()


def test_a_long_clip_is_put_back_where_new_features_fail_half_way(store):
    writer = _long(store)
    writer.write(9, _blocks(LONG))
    receipt = writer.commit([_result(9, LONG)], VERSIONS)

    def blocks():
        yield from _blocks(_noise(len(LONG) - 5000, 1))
        raise OSError("gone")

    writer = _long(store, earlier=receipt)
    assert writer.kept == {9: receipt.slots[0]}
    with pytest.raises(OSError, match="gone"):
        writer.write(9, blocks())
    writer.restore(9)
    assert writer.commit(writer.kept.values(), VERSIONS) == receipt
    np.testing.assert_array_equal(_chunks(store)[: len(LONG)], LONG)
    assert store.names("features/c") == ["7", "8", "9"]


def test_an_abandoned_long_clip_leaves_nothing(store):
    with _long(store) as writer:
        writer.write(9, _blocks(LONG))
        assert len(store.names("features/c")) == 2
    assert store.names("features/c") == []


def test_a_plan_is_rebuilt_from_what_a_group_writer_commits(make_cache):
    made = make_cache()
    receipts = [read_receipts(LocalStorage(made.path / each.name)) for each in (RAW, MFCC)]
    pd.testing.assert_frame_equal(plan_of(receipts), made.plan, check_dtype=False)
    assert slot_starts(plan_of(receipts), RAW).tolist() == slot_starts(made.plan, RAW).tolist()


@pytest.mark.slow
def test_a_cache_in_a_bucket_is_written_as_on_a_disk(make_cache, make_plan, bucket):
    from tests.cache.conftest import write_cache

    made = make_cache()
    write_cache(bucket / "cache", made.plan, (RAW, MFCC))
    there = {file.key: (bucket / "cache").read(file.key) for file in (bucket / "cache").files()}
    assert {key: data for key, data in there.items() if key != "writer.lock"} == _files(made.path)


def test_a_long_clip_is_written_to_a_bucket(bucket):
    store = bucket / RAW.name
    writer = _long(store)
    writer.write(9, _blocks(LONG))
    writer.commit([_result(9, LONG)], VERSIONS)
    np.testing.assert_array_equal(_chunks(store), np.pad(LONG, (0, 3 * LENGTH - len(LONG))))
    assert store.names("features/c") == ["7", "8", "9"]


def test_a_store_folder_removed_by_hand_is_made_again_in_full(make_cache):
    made = make_cache()
    before = _files(made.path)
    shutil.rmtree(made.path / RAW.name)
    with writing(made.path) as writer:
        store = writer.storage / RAW.name
        assert dict(read_receipts(store)) == {} and done_groups(store) == {0, 1, 2, 5}
        starts = slot_starts(made.plan, RAW)
        for group, width in ((0, 1), (1, 1), (2, 3), (5, 1)):
            earlier = read_receipt(store, group)
            offsets = {slot.slot: int(starts[slot.slot] - group * LENGTH) for slot in earlier.slots}
            with GroupWriter(store, RAW, group, width, offsets, earlier) as group_writer:
                assert all(slot.length == 0 for slot in group_writer.kept.values())
                for slot in earlier.slots:
                    group_writer.write(slot.slot, [made.features[RAW.name][starts[slot.slot] :][: slot.length]])
                group_writer.commit(earlier.slots, earlier.versions)
        receipts = read_receipts(store)
        writer.update_store(RAW, made.plan, receipts, begun_with(receipts))
    assert _files(made.path) == before
