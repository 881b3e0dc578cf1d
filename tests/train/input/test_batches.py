import dataclasses

import numpy as np
import pytest

from train.batches import CropBatches, TrainingBatches
from train.draws import Purpose, clip_keys, draw
from train.recipe import NOTEBOOK
from train.starts import crop_counts, crop_starts, random_starts
from train.views import TrainingViews

N_CLIPS, WINDOW = 23, 40


class Ramps:
    """Windows whose elements say which clip and which place they are: clip * 1000 + place in the clip."""

    length, shape = WINDOW, (WINDOW, 1)
    lengths = np.random.default_rng(0).integers(10, 200, N_CLIPS)

    def __init__(self):
        self.expected = []

    def expect(self, chunks):
        self.expected += chunks.tolist()

    def cut(self, views, fill=None):
        firsts = views.clips * 1000 + views.starts
        self.views, self.fill = views, fill
        return firsts[:, None, None] + np.arange(WINDOW, dtype=np.float32)[None, :, None]


NAMES = [f"{number}.wav" for number in range(N_CLIPS)]
TARGETS = np.arange(N_CLIPS) % 3


def _batches(batch_size, seed=1, clips=None, windows=None, weights=None, fill=None, **changes):
    clips = np.arange(N_CLIPS) if clips is None else np.asarray(clips)
    keys = clip_keys([NAMES[clip] for clip in clips])
    recipe = dataclasses.replace(NOTEBOOK, **changes)
    views = TrainingViews(recipe, seed, clips, keys, Ramps.lengths[clips], Ramps.shape, "raw")
    return TrainingBatches(windows or Ramps(), views, TARGETS[clips], 3, weights, batch_size, fill)


def _epoch(batches, epoch):
    return [batches(epoch * batches.steps + step) for step in range(batches.steps)]


def _firsts(batches, epoch):
    return np.concatenate([windows[:, 0, 0] for windows, _ in _epoch(batches, epoch)])


@pytest.mark.parametrize("batch_size", [1, 4, 23, 100])
def test_every_clip_comes_once_an_epoch(batch_size):
    batches = _batches(batch_size)
    for epoch in (0, 3):
        seen = np.floor((_firsts(batches, epoch) + 500) / 1000)
        assert sorted(seen) == list(range(N_CLIPS))


def test_the_last_batch_holds_what_is_left():
    assert [len(windows) for windows, _ in _epoch(_batches(10), 0)] == [10, 10, 3]


@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_batch_size_changes_neither_order_nor_starts(batch_size):
    for epoch in range(3):
        assert np.array_equal(_firsts(_batches(batch_size), epoch), _firsts(_batches(7), epoch))


def test_starts_are_those_drawn_for_seed_epoch_and_clip():
    numbers = draw(1, 2, clip_keys(NAMES), Purpose.START)
    starts = random_starts(Ramps.lengths, WINDOW, numbers)
    assert sorted(_firsts(_batches(7), 2)) == sorted(np.arange(N_CLIPS) * 1000 + starts)


def test_a_clip_has_the_same_start_in_every_fold():
    everything, half = _firsts(_batches(7), 4), _firsts(_batches(7, clips=range(0, N_CLIPS, 2)), 4)
    assert set(half) <= set(everything)


def test_answers_name_the_clips_label():
    for windows, answers in _epoch(_batches(6), 1):
        clips = np.floor((windows[:, 0, 0] + 500) / 1000).astype(int)
        assert answers.dtype == np.float32
        assert np.array_equal(answers, np.eye(3)[TARGETS[clips]])


def test_answers_and_weights_are_mixed_as_the_windows_are():
    windows, weights = Ramps(), np.linspace(0.5, 1, N_CLIPS).astype(np.float32)
    batches = _batches(N_CLIPS, windows=windows, weights=weights, mixup=1.0)
    _, answers, mixed = batches(0)
    clips, partners, shares = windows.views.clips, windows.views.partners, windows.views.shares
    assert (shares < 1).any() and (clips != partners).any()
    own, other = np.eye(3)[TARGETS[clips]], np.eye(3)[TARGETS[partners]]
    assert np.allclose(answers, own * shares[:, None] + other * (1 - shares[:, None]))
    assert np.allclose(mixed, weights[clips] * shares + weights[partners] * (1 - shares))
    assert answers.dtype == mixed.dtype == np.float32


def test_masks_are_filled_with_the_frame_given():
    windows, fill = Ramps(), np.array([7], np.float32)
    _batches(5, windows=windows, fill=fill)(0)
    assert windows.fill is fill


def test_chunks_are_expected_before_they_are_read():
    windows, chunks = Ramps(), np.arange(N_CLIPS)  # a chunk for each clip: two blocks
    keys = clip_keys(NAMES)
    views = TrainingViews(NOTEBOOK, 1, np.arange(N_CLIPS), keys, Ramps.lengths, Ramps.shape, "raw", chunks)
    batches = TrainingBatches(windows, views, TARGETS, 3, None, 5)
    _epoch(batches, 0)
    assert sorted(windows.expected) == list(range(N_CLIPS))
    _epoch(batches, 0)
    assert len(windows.expected) == 2 * N_CLIPS


def test_epochs_and_seeds_differ():
    first = _firsts(_batches(7), 0)
    assert not np.array_equal(first, _firsts(_batches(7), 1))
    assert not np.array_equal(first, _firsts(_batches(7, seed=2), 0))


def test_a_batch_depends_on_its_number_alone():
    in_order, backwards = _batches(5), _batches(5)
    expected = [in_order(i) for i in range(20)]
    for i in reversed(range(20)):
        for found, right in zip(backwards(i), expected[i], strict=True):
            assert np.array_equal(found, right)


@pytest.mark.parametrize("piece", [1, 3, 5])
def test_batches_are_the_same_however_many_are_planned_at_once(piece, monkeypatch):
    changes = {"weights": np.linspace(0.5, 1, N_CLIPS, dtype=np.float32), "mixup": 0.5, "time_mask": 0.3}
    at_once = [_batches(4, **changes).planned(index) for index in range(12)]
    monkeypatch.setattr("train.batches._PIECE", piece)
    batches = _batches(4, **changes)
    for index in (11, 0, *range(12)):
        (views, *rest), (expected, *others) = batches.planned(index), at_once[index]
        for got, wanted in zip([*vars(views).values(), *rest], [*vars(expected).values(), *others], strict=True):
            assert np.array_equal(got, wanted)


@pytest.mark.parametrize("batch_size", [1, 8, 1000])
def test_crops_come_clip_by_clip(batch_size):
    clips = np.array([5, 0, 17])
    batches = CropBatches(Ramps(), clips, crops=4, batch_size=batch_size)
    found = [batches(i) for i in range(len(batches))]
    rows = np.concatenate([rows for rows, _ in found])
    firsts = np.concatenate([windows[:, 0, 0] for _, windows in found])
    counts = crop_counts(Ramps.lengths[clips], WINDOW, 4)
    assert rows.tolist() == np.repeat(np.arange(3), counts).tolist()
    expected = [
        clip * 1000 + crop_starts(np.full(n, Ramps.lengths[clip]), WINDOW, np.full(n, n), np.arange(n))
        for clip, n in zip(clips, counts, strict=True)
    ]
    assert np.array_equal(firsts, np.concatenate(expected))


def test_no_clips_make_no_batches():
    assert len(CropBatches(Ramps(), np.zeros(0, np.int64), crops=4, batch_size=8)) == 0
