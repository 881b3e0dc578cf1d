"""Resampling is soxr's high quality, never longer than planned."""

import numpy as np
import pytest
import soxr

from cache.specification import resampled_length
from featurize.waveform import Waveform


@pytest.mark.parametrize("rates", [(44100, 16000), (48000, 44100), (8000, 44100), (192000, 16000), (11025, 44100)])
@pytest.mark.parametrize("n_samples", [1, 2, 5, 441, 4410, 20011])
def test_length_is_at_most_planned_and_at_least_one_less(rates, n_samples):
    waveform = Waveform(np.ones(n_samples, np.float32), rates[0])
    planned = resampled_length(n_samples, *rates)
    assert planned - 1 <= len(waveform.at(rates[1])) <= planned


def test_samples_are_those_of_soxr():
    samples = np.random.default_rng(0).uniform(-1, 1, 10_000).astype(np.float32)
    np.testing.assert_array_equal(Waveform(samples, 44100).at(16000), soxr.resample(samples, 44100, 16000, "HQ"))


def test_its_own_rate_is_the_waveform_itself():
    samples = np.zeros(100, np.float32)
    assert Waveform(samples, 16000).at(16000) is samples


def test_each_rate_is_made_once():
    waveform = Waveform(np.zeros(100, np.float32), 16000)
    assert waveform.at(8000) is waveform.at(8000)


def test_a_clip_too_short_for_one_sample_is_empty():
    assert len(Waveform(np.ones(1, np.float32), 192000).at(16000)) == 0
