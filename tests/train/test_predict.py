import threading

import numpy as np
import pytest

from cache.windows.cut import plain_plan
from cache.windows.randomness import crop_counts, crop_offsets
from train.predict import predict


class Model:
    """Gives for each window a probability that goes by its greatest element; notes the sizes of its batches."""

    output_shape = (None, 2)

    def __init__(self):
        self.sizes = []

    def predict_on_batch(self, windows):
        self.sizes.append(len(windows))
        return _probability(windows)


def _probability(windows):
    first = windows[:, :, 0].argmax(axis=1).astype(np.float32) / windows.shape[1]
    return np.stack([first, 1 - first], axis=1)


def _one_by_one(windows, clip, crops):
    n = int(crop_counts(windows.lengths[[clip]], windows.length, crops)[0])
    offsets = crop_offsets(np.full(n, windows.lengths[clip]), windows.length, np.full(n, n), np.arange(n))
    return _probability(windows.cut(plain_plan(np.full(n, clip), offsets))).astype(np.float64)


@pytest.mark.parametrize("crops", [1, 4])
@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_a_clip_gets_the_mean_of_its_crops(dataset, crops, batch_size):
    windows = dataset(seconds=0.41).windows
    clips = np.array([3, 20, 18, 0, 23])
    found = predict(Model(), windows, clips, crops, batch_size)
    assert found.dtype == np.float64
    assert np.allclose(found, [_one_by_one(windows, clip, crops).mean(axis=0) for clip in clips], atol=1e-12)


def test_the_geometric_mean_of_crops_adds_up_to_one(dataset):
    windows = dataset(seconds=0.41).windows
    clips = np.array([3, 20, 18, 0, 23])
    found = predict(Model(), windows, clips, 4, 7, mean="geometric")
    crops = [np.maximum(_one_by_one(windows, clip, 4), 1e-7) for clip in clips]
    means = np.array([np.prod(each, axis=0) ** (1 / len(each)) for each in crops])
    assert np.allclose(found, means / means.sum(axis=1, keepdims=True), rtol=1e-9)
    assert not np.allclose(found, predict(Model(), windows, clips, 4, 7), rtol=1e-3)


def test_crops_that_are_the_same_are_computed_once_in_batches_of_one_size(dataset):
    windows, model = dataset(seconds=2).windows, Model()
    predict(model, windows, np.arange(24), 5, 10)
    assert model.sizes == [10, 10, 10]


def test_no_clips_give_no_predictions(dataset):
    assert predict(Model(), dataset().windows, np.zeros(0, np.int64), 5, 10).shape == (0, 2)


def test_nothing_is_left_of_what_was_prefetched(dataset):
    class Broken(Model):
        def predict_on_batch(self, windows):
            raise RuntimeError

    before = set(threading.enumerate())
    with pytest.raises(RuntimeError):
        predict(Broken(), dataset(seconds=0.41).windows, np.arange(24), 4, 1)
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    assert set(threading.enumerate()) <= before
