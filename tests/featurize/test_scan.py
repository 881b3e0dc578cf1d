"""Files are matched with slots by size and time, then by digest; the clip table follows the dataset."""

import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import soundfile as sf
import xxhash

from cache.layout import empty_plan
from cache.storage import open_storage
from featurize.datasets import Dataset, read_dataset
from featurize.scan import ABSENT, UNREADABLE, Recordings, equal_recordings, merge_clips, scan


def digest(path):
    return xxhash.xxh3_128_hexdigest(path.read_bytes())


@pytest.fixture
def dataset(tmp_path, write_dataset, noise):
    return read_dataset(
        open_storage(write_dataset(tmp_path, {f"{i}.wav": noise(1 + i, 2000, seed=i) for i in range(3)}))
    )


@pytest.fixture
def plan(dataset):
    """The plan after a first run: every slot's digest is known."""
    plan = scan(dataset, empty_plan(), Recordings(dataset.folder)).plan
    return plan.assign(digest=[digest(dataset.folder.path(file)) for file in plan["file"]])


def test_new_files_become_slots_in_their_order(dataset):
    found = scan(dataset, empty_plan(), Recordings(dataset.folder))
    assert found.slots.tolist() == [0, 1, 2] and (found.n_new, found.n_changed) == (3, 0)
    assert found.plan["native_samples"].tolist() == [2000, 4000, 6000] and set(found.plan["native_rate"]) == {2000}
    assert set(found.plan["digest"]) == {""} and set(found.plan["group"]) == {0}


def test_files_as_planned_keep_their_slots(dataset, plan):
    found = scan(dataset, plan, Recordings(dataset.folder))
    assert found.slots.tolist() == [0, 1, 2] and found.plan.equals(plan) and found.n_new == 0


def test_a_touched_file_keeps_its_slot_and_its_new_time_is_noted(dataset, plan):
    os.utime(dataset.folder.path("audio_train/1.wav"), ns=(5, 5))
    found = scan(dataset, plan, Recordings(dataset.folder))
    assert found.slots.tolist() == [0, 1, 2] and found.plan["mtime_ns"][1] == 5 and plan["mtime_ns"][1] != 5


def test_a_changed_file_gets_a_new_slot_in_a_new_group(dataset, plan):
    path = dataset.folder.path("audio_train/1.wav")
    sf.write(path, np.zeros(4000), 2000)
    os.utime(path, ns=(5, 5))
    found = scan(dataset, plan, Recordings(dataset.folder))
    assert found.slots.tolist() == [0, 3, 2] and (found.n_new, found.n_changed) == (0, 1)
    assert found.plan["group"].tolist() == [0, 0, 0, 1] and found.plan["file"][3] == "audio_train/1.wav"


def test_a_file_that_is_as_it_once_was_finds_its_old_slot(dataset, plan):
    path, stat = dataset.folder.path("audio_train/1.wav"), os.stat(dataset.folder.path("audio_train/1.wav"))
    before = path.read_bytes()
    sf.write(path, np.zeros(9), 2000)
    changed = scan(dataset, plan, Recordings(dataset.folder)).plan
    path.write_bytes(before)
    os.utime(path, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
    assert scan(dataset, changed, Recordings(dataset.folder)).slots.tolist() == [0, 1, 2]


def test_a_file_that_was_touched_and_cannot_be_read_keeps_its_slot(dataset, plan):
    os.utime(dataset.folder.path("audio_train/1.wav"), ns=(5, 5))
    recordings = Recordings(dataset.folder)
    recordings.digest = lambda file: None
    found = scan(dataset, plan, recordings)
    assert found.slots.tolist() == [0, 1, 2] and found.plan.equals(plan)


def test_a_file_that_is_gone_keeps_its_slot_and_is_named(dataset, plan):
    (dataset.folder.path("audio_train/1.wav")).unlink()
    found = scan(dataset, plan, Recordings(dataset.folder))
    assert found.slots.tolist() == [0, 1, 2] and found.missing.tolist() == [1]


def test_a_file_never_there_gets_a_slot_without_duration(dataset):
    (dataset.folder.path("audio_train/1.wav")).unlink()
    found = scan(dataset, empty_plan(), Recordings(dataset.folder))
    assert found.plan["size"][1] == -1 and found.plan["native_samples"][1] == 0 and len(found.missing) == 0
    assert scan(dataset, found.plan, Recordings(dataset.folder)).slots.tolist() == [0, 1, 2]


def test_a_file_planned_as_absent_keeps_its_later_slot_when_it_is_gone_again(dataset):
    """The slot of when it was there, not that of when it was not."""
    path, look = dataset.folder.path("audio_train/1.wav"), Recordings(dataset.folder)
    away = path.rename(dataset.folder.path("away.wav"))
    absent = scan(dataset, empty_plan(), look).plan
    away.rename(path)
    there = scan(dataset, absent, look)
    assert there.slots.tolist() == [0, 3, 2]
    path.unlink()
    assert scan(dataset, there.plan, look).slots.tolist() == [0, 3, 2]


def test_files_in_another_order_find_their_slots(dataset, plan):
    turned = Dataset(dataset.folder, dataset.clips.iloc[::-1].reset_index(drop=True))
    assert scan(turned, plan, Recordings(dataset.folder)).slots.tolist() == [2, 1, 0]


def test_a_file_that_cannot_be_read_is_planned_as_absent(dataset):
    recordings = Recordings(dataset.folder)
    recordings.headers = lambda files: np.array([[UNREADABLE] * len(files), [0] * len(files)])
    plan = scan(dataset, empty_plan(), recordings).plan
    assert set(plan["size"]) == set(plan["mtime_ns"]) == {ABSENT} and set(plan["native_rate"]) == {0}
    assert scan(dataset, plan, Recordings(dataset.folder)).n_changed == 3


FILES = pd.Series([f"audio_train/{i}.wav" for i in (2, 1, 0)], index=[7, 8, 9])


def test_a_look_gives_sizes_and_times(dataset):
    os.utime(dataset.folder.path(FILES[8]), ns=(5, 1_700_000_000_123_456_789))
    sizes, times = Recordings(dataset.folder).look(FILES)
    assert sizes.tolist() == [os.path.getsize(dataset.folder.path(file)) for file in FILES]
    assert times[1] == 1_700_000_000_123_456_789


@pytest.mark.parametrize("name", ["gone.wav", "x" * 300 + ".wav", "1.wav/below.wav", "folder"])
def test_what_cannot_be_a_file_is_absent_and_the_others_are_seen(dataset, name):
    dataset.folder.path("audio_train/folder").mkdir()
    files = pd.Series(["audio_train/0.wav", f"audio_train/{name}", "audio_train/2.wav"])
    recordings = Recordings(dataset.folder)
    assert recordings.look(files)[:, 1].tolist() == [ABSENT, ABSENT] and (recordings.look(files)[0, ::2] > 0).all()
    assert recordings.headers(files)[0].tolist() == [2000, UNREADABLE, 2000]
    assert recordings.digest(files[1]) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_an_unreadable_subfolder_is_as_if_its_files_were_not_there(dataset, as_nobody):
    closed = dataset.folder.path("audio_train/closed")
    closed.mkdir(mode=0o700)
    (closed / "a.wav").write_bytes(b"")
    files = pd.Series(["audio_train/0.wav", "audio_train/closed/a.wav"])
    with as_nobody():
        recordings = Recordings(dataset.folder)
        assert recordings.look(files)[0, 1] == ABSENT and recordings.headers(files)[0].tolist() == [
            2000,
            UNREADABLE,
        ]


def test_headers_are_in_the_order_of_the_files(dataset):
    rates, samples = Recordings(dataset.folder).headers(pd.concat([FILES] * 200))
    assert set(rates) == {2000} and samples.tolist() == [6000, 4000, 2000] * 200


def test_what_is_no_recording_has_no_rate(dataset):
    dataset.folder.path(FILES[7]).write_text("no sound")
    assert Recordings(dataset.folder).headers(FILES)[:, 0].tolist() == [0, 0]


def test_a_name_that_ends_in_raw_is_read_by_its_content(dataset):
    dataset.folder.path("audio_train/0.wav").rename(dataset.folder.path("audio_train/.raw"))
    dataset.folder.path("audio_train/x.raw").write_text("no sound")
    files = pd.Series(["audio_train/.raw", "audio_train/x.raw"])
    assert Recordings(dataset.folder).headers(files).tolist() == [[2000, 0], [2000, 0]]


def test_no_files_are_empty_arrays(dataset):
    recordings = Recordings(dataset.folder)
    assert recordings.look(FILES[:0]).shape == recordings.headers(FILES[:0]).shape == (2, 0)


def test_a_digest_is_that_of_the_file(dataset):
    assert Recordings(dataset.folder).digest(FILES[7]) == digest(dataset.folder.path(FILES[7]))


def table(train, test=(), **columns):
    names = [*train, *test]
    frame = {
        "clip": names,
        "split": ["train"] * len(train) + ["test"] * len(test),
        "label": ["x"] * len(train) + [""] * len(test),
        "manually_verified": pd.array([1] * len(train) + [pd.NA] * len(test), dtype="Int8"),
        **columns,
        "slot": range(len(names)),
    }
    return pd.DataFrame(frame)


def test_a_first_clip_table_is_what_is_listed():
    listed = table(["a"], ["t"])
    assert merge_clips(listed, None, prune=False)[0] is listed


def test_unlisted_clips_end_their_split():
    clips, unlisted = merge_clips(table(["b"], ["t"]), table(["a", "b", "c"], ["s", "t"]), prune=False)
    assert clips["clip"].tolist() == ["b", "a", "c", "t", "s"] and unlisted["clip"].tolist() == ["a", "c", "s"]


def test_pruned_clips_are_left_out_but_named():
    clips, unlisted = merge_clips(table(["b"], ["t"]), table(["a", "b"], ["t"]), prune=True)
    assert clips["clip"].tolist() == ["b", "t"] and unlisted["clip"].tolist() == ["a"]


def test_one_name_in_both_splits_is_two_clips():
    clips, unlisted = merge_clips(table(["a"]), table(["a"], ["a"]), prune=False)
    assert clips["split"].tolist() == ["train", "test"] and unlisted["split"].tolist() == ["test"]


def test_columns_of_both_tables_are_kept():
    clips, _ = merge_clips(table(["b"], licence=["CC0"]), table(["a"], fold=["3"]), prune=False)
    assert clips.columns.tolist() == ["clip", "split", "label", "manually_verified", "licence", "fold", "slot"]
    assert clips["licence"].tolist() == ["CC0", ""] and clips["fold"].tolist() == ["", "3"]


def test_equal_recordings_are_told_by_what_they_mean():
    clips = table(["a", "b", "c", "d", "e"], ["t"]).assign(label=["x", "y", "x", "x", "x", ""])
    digests = pa.array(["1", "1", "2", "2", "", "3"])
    found = equal_recordings(clips, digests, np.ones(6, bool))
    assert {kind: rows["clip"].tolist() for kind, rows in found.items()} == {
        "under two labels (one is wrong)": ["a", "b"],
        "listed more than once": ["c", "d"],
    }
    leak = equal_recordings(clips, pa.array(["1", "2", "3", "4", "1", "1"]), np.ones(6, bool))
    assert leak["in train and test (a leak)"]["clip"].tolist() == ["a", "e", "t"] and len(leak) == 1
    assert not equal_recordings(clips, digests, np.zeros(6, bool))


def test_of_equal_test_clips_known_labels_alone_are_compared():
    clips = table(["a"], ["t", "u", "v", "w"]).assign(label=["x", "x", "", "x", "y"])
    digests = pa.array(["0", "1", "1", "2", "2"])
    found = equal_recordings(clips, digests, np.ones(5, bool))
    assert {kind: rows["clip"].tolist() for kind, rows in found.items()} == {
        "under two labels (one is wrong)": ["v", "w"],
        "listed more than once": ["t", "u"],
    }
