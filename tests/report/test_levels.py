"""Levels: against NumPy on the whole waveform, in float64."""

import numpy as np
import pytest

from report.levels import levels


def _decibels(value):
    return 20 * np.log10(value)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_levels_are_those_of_the_whole_waveform(dtype):
    rng = np.random.default_rng(0)
    samples = (rng.normal(size=50_001) * 3000 + 200).astype(dtype)
    peak, rms, clipped, silence, offset = levels(samples, 16000, 1 / 32768)
    wanted = samples.astype(np.float64) / 32768
    assert peak == pytest.approx(_decibels(np.abs(wanted).max()), abs=0.006)
    assert rms == pytest.approx(_decibels(np.sqrt((wanted**2).mean())), abs=0.006)
    assert offset == pytest.approx(wanted.mean(), abs=2e-6)
    assert (clipped, silence) == (0, 0)


def test_samples_at_full_scale_are_counted_on_both_sides():
    samples = np.array([32767, -32768, 32766, 0] * 100, np.int16)
    assert levels(samples, 16000, 1 / 32768)[2] == 200


def test_peaks_beyond_full_scale_are_counted():
    """A store's scale lets what resampling carried beyond full scale stay."""
    assert levels(np.array([32767, 30000, 100], np.int16), 16000, 1.2 / 32768)[2] == 2


def test_silence_is_a_share_of_blocks():
    samples = np.concatenate([np.full(960, 1e-4), np.full(2880, 0.5)]).astype(np.float32)
    assert levels(samples, 16000)[3] == pytest.approx(0.25)


def test_silent_clip_has_no_level():
    assert levels(np.zeros(400, np.int16), 16000, 0.0) == (-np.inf, -np.inf, 0, 1.0, 0.0)
