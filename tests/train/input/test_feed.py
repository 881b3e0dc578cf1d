import keras
import numpy as np
import pytest

from cache import CacheError
from train.feed import ClosedError, Epochs

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
        *state, (windows, answers) = state_and_data  # JAX's steps take and give back a state
        self.seen.append((keras.ops.convert_to_numpy(windows), keras.ops.convert_to_numpy(answers)))
        return ({"loss": 0.0}, *state) if state else {"loss": 0.0}


@pytest.mark.parametrize(("workers", "depth"), [(0, 1), (1, 1), (1, 8), (4, 2), (4, 30)])
def test_keras_trains_on_every_batch_once_and_in_order(workers, depth):
    model = Recorder()
    model.compile(run_eagerly=True)
    with Epochs(Counting(), workers=workers, depth=depth) as feed:
        model.fit(feed, steps_per_epoch=STEPS, epochs=EPOCHS, shuffle=False, verbose=0)
    assert len(model.seen) == STEPS * EPOCHS
    for index, (windows, answers) in enumerate(model.seen):
        expected = Counting()(index)
        assert np.array_equal(windows, expected[0])
        assert np.array_equal(answers, expected[1])


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_in_a_batch_is_raised_as_it_is(workers):
    def batches(index):
        if index == 4:
            raise CacheError("000003: chunk must have 8 bytes, got no file")
        return Counting()(index)

    model = Recorder()
    model.compile(run_eagerly=True)
    with pytest.raises(CacheError, match="000003: chunk must have 8 bytes"), Epochs(batches, workers) as feed:
        model.fit(feed, steps_per_epoch=STEPS, epochs=EPOCHS, shuffle=False, verbose=0)


@pytest.mark.parametrize("workers", [0, 1])
def test_nobody_asks_for_batches_once_the_feed_is_closed(workers):
    model, asked = Recorder(), []

    def batches(index):
        asked.append(index)
        return Counting()(index)

    model.compile(run_eagerly=True)
    with Epochs(batches, workers) as feed:
        model.fit(feed, steps_per_epoch=STEPS, epochs=1, shuffle=False, verbose=0)
    n_asked = len(asked)
    assert feed._running == 0
    with pytest.raises(ClosedError):
        feed[0]
    assert len(asked) == n_asked


def test_an_interrupt_is_not_taken_for_a_batchs_error():
    model = Recorder()
    model.compile(run_eagerly=True)

    class Interrupt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Epochs(Counting(), 1) as feed:
        model.fit(feed, steps_per_epoch=STEPS, epochs=2, callbacks=[Interrupt()], shuffle=False, verbose=0)
