import numpy as np
import pandas as pd
import xxhash

from cache.windows.randomness import (
    Purpose,
    below,
    clip_keys,
    crop_counts,
    crop_offsets,
    draw,
    random_offsets,
)

KEYS = clip_keys([f"{number}.wav" for number in range(20_000)])


def _splitmix64(state):
    """One output of splitmix64 in Python's integers; from 0 it gives 0xE220A8397B1DCDAF, as published."""
    z = (state + 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def test_draws_are_a_chain_of_splitmix64():
    assert _splitmix64(0) == 0xE220A8397B1DCDAF
    state = 0
    for value in (1001, 7, Purpose.OFFSET):
        state = _splitmix64(state ^ value)
    expected = [_splitmix64(int(key) ^ state) for key in KEYS[:100]]
    assert draw(1001, 7, KEYS[:100], Purpose.OFFSET).tolist() == expected


def test_draws_never_change():
    keys = clip_keys(["00044347.wav", "größer kein.wav"])
    assert draw(1001, 0, keys, Purpose.OFFSET).tolist() == [445650434602947347, 12237626778015343569]


def test_a_clips_key_is_the_hash_of_its_name():
    names = ["00044347.wav", "größer kein.wav", "", "録音 1.flac"]
    expected = [xxhash.xxh3_64_intdigest(name.encode()) for name in names]
    assert clip_keys(names).tolist() == clip_keys(iter(names)).tolist() == expected
    assert clip_keys(pd.concat([pd.Series(names, dtype="str")] * 2).iloc[1:6]).tolist() == (2 * expected)[1:6]
    assert clip_keys(pd.Series([], dtype="str")).dtype == np.uint64


def test_a_clip_gets_the_same_number_in_any_company():
    whole = draw(7, 3, KEYS, Purpose.OFFSET)
    assert np.array_equal(draw(7, 3, KEYS[::-1][:50], Purpose.OFFSET), whole[::-1][:50])
    assert draw(7, 3, KEYS[[42]], Purpose.OFFSET)[0] == whole[42]


def test_seed_epoch_clip_and_purpose_all_matter():
    first = draw(1, 1, KEYS, Purpose.OFFSET)
    for other in (
        draw(2, 1, KEYS, Purpose.OFFSET),
        draw(1, 2, KEYS, Purpose.OFFSET),
        draw(1, 1, KEYS, Purpose.ORDER),
    ):
        assert not (other == first).any()
        correlation = np.corrcoef(first.astype(float), other.astype(float))[0, 1]
        assert abs(correlation) < 4 / np.sqrt(len(KEYS))


def test_seed_and_epoch_are_not_interchangeable():
    assert (draw(1, 2, KEYS, Purpose.OFFSET) != draw(2, 1, KEYS, Purpose.OFFSET)).all()


def test_numbers_below_a_count_are_uniform():
    drawn = below(draw(5, 0, KEYS, Purpose.OFFSET), np.full(len(KEYS), 10))
    counts = np.bincount(drawn, minlength=10)
    assert len(counts) == 10
    chi_square = ((counts - 2000) ** 2 / 2000).sum()
    assert chi_square < 27.9  # 99.9 % of 9 degrees of freedom


def test_below_reaches_both_ends_and_no_further():
    ends = np.array([0, 2**64 - 1], np.uint64)
    for count in (1, 2, 3, 5, 1000, 2**31 + 1, 2**53):
        assert below(ends, np.array([count, count])).tolist() == [0, count - 1]


def _offsets_over_epochs(length, window, epochs=400):
    key = clip_keys(["a.wav"])
    numbers = np.concatenate([draw(1, epoch, key, Purpose.OFFSET) for epoch in range(epochs)])
    return random_offsets(np.full(epochs, length), window, numbers)


def _crops(length, window, crops):
    counts = crop_counts(np.array([length]), window, crops)
    n = int(counts[0])
    return crop_offsets(np.full(n, length), window, np.full(n, n), np.arange(n)).tolist()


def test_every_valid_offset_is_reached_the_last_included():
    assert set(_offsets_over_epochs(length=30, window=11)) == set(range(20))


def test_a_short_clip_lies_anywhere_in_its_window():
    assert set(_offsets_over_epochs(length=4, window=11)) == set(range(-7, 1))


def test_a_clip_as_long_as_the_window_has_one_offset():
    assert set(_offsets_over_epochs(length=11, window=11)) == {0}


def test_offsets_are_uniform():
    counts = np.bincount(_offsets_over_epochs(length=15, window=11, epochs=5000), minlength=5)
    assert ((counts - 1000) ** 2 / 1000).sum() < 18.5  # 99.9 % of 4 degrees of freedom


def test_offsets_of_many_clips_stay_inside_them():
    lengths = np.random.default_rng(0).integers(0, 5000, 10_000)
    numbers = draw(1, 0, clip_keys(map(str, range(10_000))), Purpose.OFFSET)
    offsets = random_offsets(lengths, 1000, numbers)
    assert (offsets >= np.minimum(lengths - 1000, 0)).all()
    assert (offsets <= np.maximum(lengths - 1000, 0)).all()


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
