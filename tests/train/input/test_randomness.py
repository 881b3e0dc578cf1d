import numpy as np
import pandas as pd
import xxhash

from train.draws import Purpose, below, clip_keys, draw, net_seed

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
    for value in (1001, 7, Purpose.START):
        state = _splitmix64(state ^ value)
    expected = [_splitmix64(int(key) ^ state) for key in KEYS[:100]]
    assert draw(1001, 7, KEYS[:100], Purpose.START).tolist() == expected


def test_draws_never_change():
    keys = clip_keys(["00044347.wav", "größer kein.wav"])
    assert draw(1001, 0, keys, Purpose.START).tolist() == [445650434602947347, 12237626778015343569]
    assert net_seed(1001, 0) == 2060346950


def test_a_clips_key_is_the_hash_of_its_name():
    names = ["00044347.wav", "größer kein.wav", "", "録音 1.flac"]
    expected = [xxhash.xxh3_64_intdigest(name.encode()) for name in names]
    assert clip_keys(names).tolist() == clip_keys(iter(names)).tolist() == expected
    assert clip_keys(pd.concat([pd.Series(names, dtype="str")] * 2).iloc[1:6]).tolist() == (2 * expected)[1:6]
    assert clip_keys(pd.Series([], dtype="str")).dtype == np.uint64


def test_a_clip_gets_the_same_number_in_any_company():
    whole = draw(7, 3, KEYS, Purpose.START)
    assert np.array_equal(draw(7, 3, KEYS[::-1][:50], Purpose.START), whole[::-1][:50])
    assert draw(7, 3, KEYS[[42]], Purpose.START)[0] == whole[42]


def test_seed_epoch_clip_and_purpose_all_matter():
    first = draw(1, 1, KEYS, Purpose.START)
    for other in (
        draw(2, 1, KEYS, Purpose.START),
        draw(1, 2, KEYS, Purpose.START),
        draw(1, 1, KEYS, Purpose.ORDER),
    ):
        assert not (other == first).any()
        correlation = np.corrcoef(first.astype(float), other.astype(float))[0, 1]
        assert abs(correlation) < 4 / np.sqrt(len(KEYS))


def test_seed_and_epoch_are_not_interchangeable():
    assert (draw(1, 2, KEYS, Purpose.START) != draw(2, 1, KEYS, Purpose.START)).all()


def test_numbers_below_a_count_are_uniform():
    drawn = below(draw(5, 0, KEYS, Purpose.START), np.full(len(KEYS), 10))
    counts = np.bincount(drawn, minlength=10)
    assert len(counts) == 10
    chi_square = ((counts - 2000) ** 2 / 2000).sum()
    assert chi_square < 27.9  # 99.9 % of 9 degrees of freedom


def test_below_reaches_both_ends_and_no_further():
    ends = np.array([0, 2**64 - 1], np.uint64)
    for count in (1, 2, 3, 5, 1000, 2**31 + 1, 2**53):
        assert below(ends, np.array([count, count])).tolist() == [0, count - 1]


def test_a_net_gets_a_seed_of_its_own_for_each_fold():
    seeds = [net_seed(1001, fold) for fold in range(10)]
    assert len(set(seeds)) == 10
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert seeds == [net_seed(1001, fold) for fold in range(10)]
