import numpy as np

from train.draws import Purpose, clip_keys, draw
from train.starts import crop_counts, crop_starts, random_starts


def _starts_over_epochs(length, window, epochs=400):
    key = clip_keys(["a.wav"])
    numbers = np.concatenate([draw(1, epoch, key, Purpose.START) for epoch in range(epochs)])
    return random_starts(np.full(epochs, length), window, numbers)


def _crops(length, window, crops):
    counts = crop_counts(np.array([length]), window, crops)
    n = int(counts[0])
    return crop_starts(np.full(n, length), window, np.full(n, n), np.arange(n)).tolist()


def test_every_valid_start_is_reached_the_last_included():
    assert set(_starts_over_epochs(length=30, window=11)) == set(range(20))


def test_a_short_clip_lies_anywhere_in_its_window():
    assert set(_starts_over_epochs(length=4, window=11)) == set(range(-7, 1))


def test_a_clip_as_long_as_the_window_has_one_start():
    assert set(_starts_over_epochs(length=11, window=11)) == {0}


def test_starts_are_uniform():
    counts = np.bincount(_starts_over_epochs(length=15, window=11, epochs=5000), minlength=5)
    assert ((counts - 1000) ** 2 / 1000).sum() < 18.5  # 99.9 % of 4 degrees of freedom


def test_starts_of_many_clips_stay_inside_them():
    lengths = np.random.default_rng(0).integers(0, 5000, 10_000)
    numbers = draw(1, 0, clip_keys(map(str, range(10_000))), Purpose.START)
    starts = random_starts(lengths, 1000, numbers)
    assert (starts >= np.minimum(lengths - 1000, 0)).all()
    assert (starts <= np.maximum(lengths - 1000, 0)).all()


def test_crops_are_evenly_spaced_with_both_ends():
    assert _crops(length=110, window=10, crops=5) == [0, 25, 50, 75, 100]
    assert _crops(length=110, window=10, crops=2) == [0, 100]


def test_one_crop_is_the_middle():
    assert _crops(length=110, window=10, crops=1) == [50]


def test_a_short_clip_has_one_crop_with_the_clip_in_its_middle():
    assert _crops(length=4, window=10, crops=5) == [-3]
    assert _crops(length=5, window=10, crops=1) == [-2]
    assert _crops(length=0, window=10, crops=5) == [-5]


def test_no_crop_is_taken_twice():
    assert _crops(length=12, window=10, crops=5) == [0, 1, 2]
    assert _crops(length=10, window=10, crops=5) == [0]
    for length in range(1, 60):
        crops = _crops(length, window=10, crops=7)
        assert len(set(crops)) == len(crops) == min(7, max(1, length - 9))
