"""Files are matched with slots by size and time, then by digest."""

import os

import numpy as np
import pytest
import soundfile as sf

from cache.plan import empty_plan
from featurize.dataset import Dataset, read_dataset
from featurize.decode import digest
from featurize.recordings import ABSENT, UNREADABLE, Recordings
from featurize.scan import scan


@pytest.fixture
def dataset(tmp_path, write_dataset, noise):
    return read_dataset(write_dataset(tmp_path, {f"{i}.wav": noise(1 + i, 2000, seed=i) for i in range(3)}))


@pytest.fixture
def plan(dataset):
    """The plan after a first run: every slot's digest is known."""
    plan = scan(dataset, empty_plan(), Recordings(dataset.folder)).plan
    return plan.assign(digest=[digest(dataset.folder / file) for file in plan["file"]])


def test_new_files_become_slots_in_their_order(dataset):
    found = scan(dataset, empty_plan(), Recordings(dataset.folder))
    assert found.slots.tolist() == [0, 1, 2] and (found.n_new, found.n_changed) == (3, 0)
    assert found.plan["native_samples"].tolist() == [2000, 4000, 6000] and set(found.plan["native_rate"]) == {2000}
    assert set(found.plan["digest"]) == {""} and set(found.plan["group"]) == {0}


def test_files_as_planned_keep_their_slots(dataset, plan):
    found = scan(dataset, plan, Recordings(dataset.folder))
    assert found.slots.tolist() == [0, 1, 2] and found.plan.equals(plan) and found.n_new == 0


def test_a_touched_file_keeps_its_slot_and_its_new_time_is_noted(dataset, plan):
    os.utime(dataset.folder / "audio_train/1.wav", ns=(5, 5))
    found = scan(dataset, plan, Recordings(dataset.folder))
    assert found.slots.tolist() == [0, 1, 2] and found.plan["mtime_ns"][1] == 5 and plan["mtime_ns"][1] != 5


def test_a_changed_file_gets_a_new_slot_in_a_new_group(dataset, plan):
    path = dataset.folder / "audio_train/1.wav"
    sf.write(path, np.zeros(4000), 2000)
    os.utime(path, ns=(5, 5))
    found = scan(dataset, plan, Recordings(dataset.folder))
    assert found.slots.tolist() == [0, 3, 2] and (found.n_new, found.n_changed) == (0, 1)
    assert found.plan["group"].tolist() == [0, 0, 0, 1] and found.plan["file"][3] == "audio_train/1.wav"


def test_a_file_that_is_as_it_once_was_finds_its_old_slot(dataset, plan):
    path, stat = dataset.folder / "audio_train/1.wav", os.stat(dataset.folder / "audio_train/1.wav")
    before = path.read_bytes()
    sf.write(path, np.zeros(9), 2000)
    changed = scan(dataset, plan, Recordings(dataset.folder)).plan
    path.write_bytes(before)
    os.utime(path, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
    assert scan(dataset, changed, Recordings(dataset.folder)).slots.tolist() == [0, 1, 2]


def test_a_file_that_is_gone_keeps_its_slot_and_is_named(dataset, plan):
    (dataset.folder / "audio_train/1.wav").unlink()
    found = scan(dataset, plan, Recordings(dataset.folder))
    assert found.slots.tolist() == [0, 1, 2] and found.missing == ["1.wav"]


def test_a_file_never_there_gets_a_slot_without_duration(dataset):
    (dataset.folder / "audio_train/1.wav").unlink()
    found = scan(dataset, empty_plan(), Recordings(dataset.folder))
    assert found.plan["size"][1] == -1 and found.plan["native_samples"][1] == 0 and found.missing == []
    assert scan(dataset, found.plan, Recordings(dataset.folder)).slots.tolist() == [0, 1, 2]


def test_a_file_planned_as_absent_keeps_its_later_slot_when_it_is_gone_again(dataset):
    """The slot of when it was there, not that of when it was not."""
    path, look = dataset.folder / "audio_train/1.wav", Recordings(dataset.folder)
    away = path.rename(dataset.folder / "away.wav")
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
