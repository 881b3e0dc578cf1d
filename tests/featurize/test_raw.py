"""Cached raw samples are soxr's, to half a quantisation step."""

import numpy as np
import pytest
import soundfile as sf
import soxr

from cache.specification import RawSpecification
from featurize.raw import extract_raw
from featurize.waveform import Waveform

NATIVE, RATE = 44100, 16000


def extract(samples, dtype="int16", native=NATIVE):
    specification = RawSpecification(RATE, dtype)
    out = np.zeros(int(specification.capacity(len(samples), native)), dtype)
    length, scale = extract_raw(Waveform(np.asarray(samples, np.float32), native), specification, out)
    return out, length, scale


def assert_half_a_step(samples):
    out, length, scale = extract(samples)
    expected = soxr.resample(np.asarray(samples, np.float32), NATIVE, RATE, "HQ")[: len(out)]
    assert length == len(expected)
    np.testing.assert_allclose(out[:length] * np.float64(scale), expected, rtol=0, atol=0.501 * scale)


@pytest.mark.parametrize("level", [1e-6, 0.01, 0.9999, 3.0])
def test_noise_of_any_level_is_kept_to_half_a_step(level):
    assert_half_a_step(level * np.random.default_rng(0).uniform(-1, 1, 20_000))


def test_real_recordings_are_kept_to_half_a_step(real_recordings):
    for path in real_recordings[::40]:
        samples, rate = sf.read(path, dtype="float32")
        assert rate == NATIVE
        assert_half_a_step(samples)


def test_overshoot_does_not_clip():
    square = np.sign(np.sin(np.arange(20_000) / 30)).astype(np.float32)
    out, _, scale = extract(square)
    assert np.abs(out.astype(int)).max() == 32767 and scale * 32767 > 1.0


def test_a_silent_clip_is_zeros():
    out, length, scale = extract(np.zeros(1000))
    assert not out.any() and length == len(out) and scale == 0


def test_float32_is_soxr_to_the_bit():
    samples = np.random.default_rng(0).uniform(-1, 1, 20_000).astype(np.float32)
    out, length, scale = extract(samples, "float32")
    np.testing.assert_array_equal(out[:length], soxr.resample(samples, NATIVE, RATE, "HQ")[:length])
    assert scale == 1


def test_samples_too_large_to_resample_are_refused():
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="its resampled waveform is not finite"):
        extract(np.array([3e38, -3e38] * 50))
