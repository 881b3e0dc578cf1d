"""A quantised clip is the clip to half a step, and nothing in it wraps around."""

import numpy as np
import pytest
import soundfile as sf

from cache.specification import RawSpecification
from featurize.features import largest
from featurize.features.raw import features, quantise, value


def assert_half_a_step(samples):
    samples = np.asarray(samples, np.float32)
    quantised, scale = quantise(samples)
    assert quantised.dtype == np.int16 and np.abs(quantised.astype(int)).max() == 32767
    np.testing.assert_allclose(quantised * np.float64(scale), samples, rtol=0, atol=0.501 * scale)


@pytest.mark.parametrize("level", [1e-33, 1e-6, 0.01, 0.9999, 3.0, 1e30])
def test_noise_of_any_level_is_kept_to_half_a_step(level):
    assert_half_a_step(level * np.random.default_rng(0).uniform(-1, 1, 20_000))


def test_real_recordings_are_kept_to_half_a_step(real_recordings):
    for path in real_recordings[::40]:
        assert_half_a_step(sf.read(path, dtype="float32")[0])


@pytest.mark.parametrize("peak", [0, 1e-45, 1e-40, 3e-39, 1e-38, 3.8e-34])
def test_a_peak_too_small_for_a_scale_is_silence_and_does_not_wrap_around(peak):
    quantised, scale = quantise(np.float32(peak) * np.sin(np.arange(1000, dtype=np.float32)))
    assert not quantised.any() and scale == 0


def test_samples_of_both_signs_use_all_16_bits():
    assert quantise(np.float32([0.25, -0.5]))[0].tolist() == [16384, -32767]
    assert quantise(np.float32([-0.25, 0.5]))[0].tolist() == [-16384, 32767]


def test_float32_is_the_waveform_itself():
    specification, samples = RawSpecification(dtype="float32"), np.float32([0.5, -3, 1e-40])
    assert features(specification, samples, largest(samples)) is samples and value(specification, 3) == 1


@pytest.mark.parametrize("sample", [np.inf, -np.inf, np.nan])
def test_samples_that_are_not_finite_are_refused(sample):
    with pytest.raises(ValueError, match="its resampled waveform is not finite: its samples are too large"):
        quantise(np.float32([0.5, sample]))


def test_no_samples_are_no_samples():
    assert largest(np.empty(0)) == 0 and len(quantise(np.empty(0, np.float32))[0]) == 0
