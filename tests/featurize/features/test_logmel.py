"""Cached log-mel frames are librosa's, and a silent frame is what librosa makes of silence."""

import librosa
import numpy as np
import pytest
import soundfile as sf

from cache.specification import LogmelSpecification
from featurize.features import largest
from featurize.features.logmel import logmel, value
from featurize.features.mel import mel_power


def by_librosa(samples, sample_rate, n_mels):
    samples = np.asarray(samples, np.float32)
    return librosa.power_to_db(librosa.feature.melspectrogram(y=samples, sr=sample_rate, n_mels=n_mels)).T


@pytest.mark.parametrize(("n_mels", "sample_rate"), [(64, 44100), (128, 16000)])
@pytest.mark.parametrize("level", [1.0, 1e-4, 0.0])
def test_noise_of_any_level_equals_librosa(n_mels, sample_rate, level):
    samples = level * np.random.default_rng(0).uniform(-1, 1, 30_000)
    found = logmel(samples, sample_rate, n_mels)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_librosa(samples, sample_rate, n_mels), rtol=0, atol=1e-3)


def test_real_recordings_equal_librosa(real_recordings):
    for path in real_recordings[::40]:
        samples, rate = sf.read(path, dtype="float32")
        np.testing.assert_allclose(logmel(samples, rate), by_librosa(samples, rate, 64), rtol=0, atol=1e-3)


def test_silence_is_every_band_of_librosas_silent_frame():
    samples = np.zeros(60_000)
    samples[:20_000] = np.random.default_rng(0).uniform(-1, 1, 20_000)
    silence = value(LogmelSpecification(), largest(mel_power(samples, 44100, (64,))))
    np.testing.assert_allclose(by_librosa(samples, 44100, 64)[-1], silence, atol=1e-3)
    np.testing.assert_array_equal(logmel(samples, 44100)[-1], np.float32(silence))


def test_another_dynamic_range_is_kept():
    samples = np.random.default_rng(0).uniform(-1, 1, 30_000)
    samples[10_000:] *= 1e-3
    frames = logmel(samples, 44100, top_db=20)
    assert frames.min() == pytest.approx(frames.max() - 20, abs=1e-3)


def test_a_clip_without_samples_has_no_frames():
    assert logmel(np.empty(0), 44100).shape == (0, 64)
    assert value(LogmelSpecification(), 0) == pytest.approx(-100)


def test_samples_whose_power_overflows_are_refused():
    with pytest.raises(ValueError, match="its power is not finite: its samples are too large"):
        logmel(np.full(5000, 1e30), 44100)
