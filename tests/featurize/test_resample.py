"""Resampling is soxr's high quality, never longer than planned; what sounds is what librosa trims to."""

import librosa
import numpy as np
import pytest
import soundfile as sf
import soxr

from cache.specification import resampled_length
from featurize.resample import Resampler, cut, longest, sounding

RATES = [(44100, 16000), (48000, 44100), (8000, 44100), (192000, 16000), (11025, 44100), (100, 44100)]


def noise(n):
    return np.random.default_rng(n).uniform(-1, 1, n).astype(np.float32)


@pytest.mark.parametrize("rates", RATES)
@pytest.mark.parametrize("n_samples", [1, 2, 5, 441, 4410, 20011])
def test_length_is_at_most_planned_and_at_least_one_less(rates, n_samples):
    planned = resampled_length(n_samples, *rates)
    assert planned - 1 <= len(Resampler(*rates).push(noise(n_samples), last=True)) <= planned
    assert longest(n_samples, *rates) == planned


def test_samples_are_those_of_soxr():
    found = Resampler(44100, 16000).push(noise(10_000), last=True)
    np.testing.assert_array_equal(found, soxr.resample(noise(10_000), 44100, 16000, "HQ"))


def test_its_own_rate_is_the_waveform_itself():
    samples = noise(100)
    assert Resampler(16000, 16000).push(samples, last=True) is samples


def test_a_clip_too_short_for_one_sample_is_empty():
    assert len(Resampler(192000, 16000).push(noise(1), last=True)) == 0


@pytest.mark.parametrize("rates", [*RATES, (16000, 16000)])
@pytest.mark.parametrize("size", [333, 5000, 30_000])
def test_blocks_of_any_size_give_the_bits_of_the_whole(rates, size):
    samples, resampler = noise(20_011), Resampler(*rates)
    found = [resampler.push(samples[first : first + size], last=False) for first in range(0, len(samples), size)]
    found.append(resampler.push(samples[:0], last=True))
    np.testing.assert_array_equal(np.concatenate(found), Resampler(*rates).push(samples, last=True))


@pytest.mark.parametrize("size", [1, 4, 100])
@pytest.mark.parametrize(("start", "stop"), [(0, 20), (3, 17), (5, 10), (7, 7), (19, 20)])
def test_a_part_of_the_blocks_is_cut_out(start, stop, size):
    blocks = np.split(np.arange(20), [5, 6, 15])
    assert np.concatenate(list(cut(blocks, start, stop, size))).tolist() == list(range(start, stop))


def envelope(*levels, n=3000):
    """Noise whose level changes every n samples."""
    noise = np.random.default_rng(0).uniform(-1, 1, n * len(levels)).astype(np.float32)
    return noise * np.repeat(np.array(levels, np.float32), n)


CLIPS = {
    "silence at both ends": envelope(0, 0, 1, 0.5, 0),
    "quiet at both ends": envelope(1e-4, 1e-4, 1, 0.01, 1e-4),
    "a pause inside": envelope(0, 1, 0, 0, 1, 0),
    "all sounding": envelope(1, 0.5),
    "all silent": envelope(0, 0),
    "faint": 1e-6 * envelope(0, 1, 0),
    "shorter than a hop": envelope(1, n=100),
    "not whole hops": envelope(0, 1, 0, n=777),
    "click at the end": np.eye(1, 9001, 9000, dtype=np.float32)[0],
}


@pytest.mark.parametrize("name", CLIPS)
@pytest.mark.parametrize("top_db", [20, 60])
def test_ends_are_those_of_librosa(name, top_db):
    _, expected = librosa.effects.trim(CLIPS[name], top_db=top_db)
    assert sounding([CLIPS[name]], top_db) == tuple(expected)


@pytest.mark.parametrize("size", [1, 511, 512, 5000])
def test_blocks_of_any_size_give_the_same_ends(size):
    clip = CLIPS["quiet at both ends"]
    blocks = [clip[start : start + size] for start in range(0, len(clip), size)]
    assert sounding(blocks, 40) == sounding([clip], 40)


def test_a_clip_without_samples_has_no_ends():
    assert sounding([], 60) == sounding([np.empty(0, np.float32)], 60) == (0, 0)


def test_real_recordings_are_trimmed_as_by_librosa(real_recordings):
    for path in real_recordings[::20]:
        samples, _ = sf.read(path, dtype="float32")
        assert sounding([samples], 40) == tuple(librosa.effects.trim(samples, top_db=40)[1])
