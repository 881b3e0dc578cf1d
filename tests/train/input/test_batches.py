import dataclasses
import gc
from threading import Event

import keras
import numpy as np
import pytest

from cache import CacheError
from cache.windows.cut import Buffers
from cache.windows.randomness import Purpose, clip_keys, crop_counts, crop_offsets, draw, random_offsets
from train.input.augment import Augmentation
from train.input.batches import CropBatches, Feed, Prefetch, TrainingBatches
from train.recipe import NOTEBOOK

N_CLIPS, WINDOW = 23, 40


class Ramps:
    """Windows whose elements say which clip and which place they are: clip * 1000 + place in the clip."""

    kind, length, shape = "raw", WINDOW, (WINDOW, 1)
    lengths = np.random.default_rng(0).integers(10, 200, N_CLIPS)

    def cut(self, plan, fill=None):
        firsts = plan.clips * 1000 + plan.offsets
        self.plan, self.fill = plan, fill
        return firsts[:, None, None] + np.arange(WINDOW, dtype=np.float32)[None, :, None]


NAMES = [f"{number}.wav" for number in range(N_CLIPS)]
LABEL_IDS = np.arange(N_CLIPS) % 3


def _batches(batch_size, seed=1, clips=None, windows=None, weights=None, fill=None, **changes):
    clips = np.arange(N_CLIPS) if clips is None else np.asarray(clips)
    keys = clip_keys([NAMES[clip] for clip in clips])
    recipe = dataclasses.replace(NOTEBOOK, **changes)
    windows = windows or Ramps()
    augmentation = Augmentation(recipe, seed, windows, clips, keys)
    return TrainingBatches(windows, augmentation, LABEL_IDS[clips], 3, weights, batch_size, fill)


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
def test_batch_size_changes_neither_order_nor_offsets(batch_size):
    for epoch in range(3):
        assert np.array_equal(_firsts(_batches(batch_size), epoch), _firsts(_batches(7), epoch))


def test_offsets_are_those_drawn_for_seed_epoch_and_clip():
    numbers = draw(1, 2, clip_keys(NAMES), Purpose.OFFSET)
    offsets = random_offsets(Ramps.lengths, WINDOW, numbers)
    assert sorted(_firsts(_batches(7), 2)) == sorted(np.arange(N_CLIPS) * 1000 + offsets)


def test_a_clip_has_the_same_offset_in_every_fold():
    everything, half = _firsts(_batches(7), 4), _firsts(_batches(7, clips=range(0, N_CLIPS, 2)), 4)
    assert set(half) <= set(everything)


def test_targets_name_the_clips_label():
    for windows, targets in _epoch(_batches(6), 1):
        clips = np.floor((windows[:, 0, 0] + 500) / 1000).astype(int)
        assert targets.dtype == np.float32
        assert np.array_equal(targets, np.eye(3)[LABEL_IDS[clips]])


def test_targets_and_weights_are_mixed_as_the_windows_are():
    windows, weights = Ramps(), np.linspace(0.5, 1, N_CLIPS).astype(np.float32)
    batches = _batches(N_CLIPS, windows=windows, weights=weights, mixup=1.0)
    _, targets, mixed = batches(0)
    clips, partners, shares = windows.plan.clips, windows.plan.partners, windows.plan.shares
    assert (shares < 1).any() and (clips != partners).any()
    own, other = np.eye(3)[LABEL_IDS[clips]], np.eye(3)[LABEL_IDS[partners]]
    assert np.allclose(targets, own * shares[:, None] + other * (1 - shares[:, None]))
    assert np.allclose(mixed, weights[clips] * shares + weights[partners] * (1 - shares))
    assert targets.dtype == mixed.dtype == np.float32


def test_masks_are_filled_with_the_frame_given():
    windows, fill = Ramps(), np.array([7], np.float32)
    _batches(5, windows=windows, fill=fill)(0)
    assert windows.fill is fill


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


def test_batches_are_the_same_however_many_are_planned_at_once(monkeypatch):
    changes = {"weights": np.linspace(0.5, 1, N_CLIPS, dtype=np.float32), "mixup": 0.5, "time_mask": 0.3}
    windows = Ramps()

    def shown(batches, index):
        return [*batches(index), *vars(windows.plan).values()]

    at_once = [shown(_batches(4, windows=windows, **changes), index) for index in range(12)]
    monkeypatch.setattr("train.input.batches._PIECE", 5)
    batches = _batches(4, windows=windows, **changes)
    for index in (11, 0, *range(12)):
        for got, wanted in zip(shown(batches, index), at_once[index], strict=True):
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
        clip * 1000 + crop_offsets(np.full(n, Ramps.lengths[clip]), WINDOW, np.full(n, n), np.arange(n))
        for clip, n in zip(clips, counts, strict=True)
    ]
    assert np.array_equal(firsts, np.concatenate(expected))


def test_absurdly_many_crops_are_those_that_differ():
    clips = np.array([5, 0, 17])
    batches = CropBatches(Ramps(), clips, crops=100_000_000, batch_size=8)
    assert batches.counts.tolist() == np.maximum(Ramps.lengths[clips] - WINDOW + 1, 1).tolist()
    rows = np.concatenate([batches(i)[0] for i in range(len(batches))])
    assert len(rows) == batches.counts.sum()


def test_no_clips_make_no_batches():
    assert len(CropBatches(Ramps(), np.zeros(0, np.int64), crops=4, batch_size=8)) == 0


@pytest.mark.parametrize("order", [range(50), [0, 1, 0, 1, 2, 9, 3, 3]])
def test_prefetched_results_are_the_same_in_any_order(order):
    with Prefetch(lambda i: i * i) as read:
        assert [read(i) for i in order] == [i * i for i in order]


def test_it_reads_ahead():
    asked = [Event() for _ in range(4)]
    with Prefetch(lambda i: asked[i].set(), stop=4) as read:
        read(0)
        assert all(event.wait(10) for event in asked)


def test_it_reads_nothing_beyond_the_last():
    asked = []
    with Prefetch(asked.append, stop=3) as read:
        for i in range(3):
            read(i)
    assert asked == [0, 1, 2]


def test_an_error_is_raised_where_the_result_is_asked_for():
    def get(i):
        if i == 2:
            raise OSError("gone")
        return i

    with Prefetch(get) as read:
        assert [read(0), read(1)] == [0, 1]
        with pytest.raises(OSError, match="gone"):
            read(2)


def test_an_error_in_the_block_ends_what_is_computed_ahead():
    under_way, release, asked = Event(), Event(), []

    def get(index):
        asked.append(index)
        if index:
            under_way.set()
            assert release.wait(10)
        return index

    with pytest.raises(KeyboardInterrupt), Prefetch(get) as prefetch:
        prefetch(0)
        assert under_way.wait(10)
        raise KeyboardInterrupt
    release.set()
    with pytest.raises(RuntimeError):
        prefetch(7)
    assert asked == [0, 1]


STEPS, EPOCHS = 3, 4


class Counting:
    """Batches that say their number; the last of an epoch is smaller."""

    steps = STEPS

    def __call__(self, index):
        n = 2 if index % STEPS == STEPS - 1 else 4
        return np.full((n, 5, 1), index, np.float32), np.full((n, 2), index, np.float32)


class Recorder(keras.Model):
    """A model that keeps what Keras hands to it instead of learning from it."""

    def __init__(self):
        super().__init__()
        self.seen = []
        self.weight = self.add_weight(shape=(1,))

    def call(self, x):
        return x * self.weight

    def train_step(self, *state_and_data):
        *state, (windows, targets) = state_and_data  # JAX's steps take and give back a state
        self.seen.append((keras.ops.convert_to_numpy(windows), keras.ops.convert_to_numpy(targets)))
        return ({"loss": 0.0}, *state) if state else {"loss": 0.0}


@pytest.fixture
def model():
    model = Recorder()
    model.compile(run_eagerly=True)
    return model


def test_keras_trains_on_every_batch_once_and_in_order(model):
    with Feed(Counting()) as feed:
        model.fit(feed, steps_per_epoch=STEPS, epochs=EPOCHS, shuffle=False, verbose=0)
    assert len(model.seen) == STEPS * EPOCHS
    for index, (windows, targets) in enumerate(model.seen):
        expected = Counting()(index)
        assert np.array_equal(windows, expected[0])
        assert np.array_equal(targets, expected[1])


def test_an_error_in_a_batch_is_raised_as_it_is(model):
    def batches(index):
        if index == 4:
            raise CacheError("000003: chunk must have 8 bytes, got no file")
        return Counting()(index)

    with pytest.raises(CacheError, match="000003: chunk must have 8 bytes"), Feed(batches) as feed:
        model.fit(feed, steps_per_epoch=STEPS, epochs=EPOCHS, shuffle=False, verbose=0)


def test_nobody_asks_for_batches_once_the_feed_is_closed(model):
    asked = []

    def batches(index):
        asked.append(index)
        return Counting()(index)

    with Feed(batches) as feed:
        model.fit(feed, steps_per_epoch=STEPS, epochs=1, shuffle=False, verbose=0)
    n_asked = len(asked)
    with pytest.raises(RuntimeError):
        feed[0]
    assert len(asked) == n_asked


def test_an_interrupt_is_not_taken_for_a_batchs_error(model):
    class Interrupt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Feed(Counting()) as feed:
        model.fit(feed, steps_per_epoch=STEPS, epochs=2, callbacks=[Interrupt()], shuffle=False, verbose=0)


def test_a_tensor_made_of_an_array_keeps_its_numbers():
    buffers = Buffers()
    tensors = []
    for number in range(20):
        array = buffers.take((4, 1000))
        array[:] = number
        tensors.append(keras.ops.convert_to_tensor(array))
        del array
    gc.collect()
    for number, tensor in enumerate(tensors):
        assert (keras.ops.convert_to_numpy(tensor) == number).all()
