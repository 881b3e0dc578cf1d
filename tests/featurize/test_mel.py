"""Mel power of many frames at a time is that of one frame at a time, by another library."""

import librosa
import numpy as np
import pytest
import scipy.fft

from cache.specification import LogmelSpecification, MfccSpecification
from featurize.mel import HOP, LANES, N_FFT, mel_power


def one_by_one(samples, begin, specification, n_frames):
    padded = np.pad(samples.astype(np.float64), N_FFT + LANES * HOP)
    starts = begin + N_FFT + LANES * HOP + HOP * np.arange(n_frames)
    frames = np.array([padded[start : start + N_FFT] for start in starts])
    power = np.abs(scipy.fft.rfft(frames * librosa.filters.get_window("hann", N_FFT), axis=1)) ** 2
    return power @ librosa.filters.mel(sr=specification.sample_rate, n_fft=N_FFT, n_mels=specification.n_mels).T


@pytest.mark.parametrize(
    "specification", [MfccSpecification(), LogmelSpecification(64, 16000), LogmelSpecification(7)]
)
@pytest.mark.parametrize("n_frames", [1, LANES - 1, LANES, LANES + 1])
@pytest.mark.parametrize("begin", [-N_FFT // 2, 0, 333])
def test_frames_equal_those_of_a_double_precision_fft(specification, n_frames, begin):
    samples = np.random.default_rng(n_frames).uniform(-1, 1, 5000).astype(np.float32)
    mel = np.full((n_frames, specification.n_mels), np.nan, np.float32)
    mel_power(samples, begin, specification, mel)
    expected = one_by_one(samples, begin, specification, n_frames)
    np.testing.assert_allclose(mel, expected, rtol=2e-5, atol=1e-6 * expected.max())


@pytest.mark.parametrize("frequency", [0, 20, 1000, 11025, 15000, 22050])
def test_a_tone_of_any_frequency_is_in_its_band(frequency):
    samples = np.cos(2 * np.pi * frequency / 44100 * np.arange(20_000)).astype(np.float32)
    mel = np.empty((20, 128), np.float32)
    mel_power(samples, 0, MfccSpecification(), mel)
    np.testing.assert_array_equal(
        mel.argmax(axis=1), one_by_one(samples, 0, MfccSpecification(), 20).argmax(axis=1)
    )


def test_a_frame_does_not_depend_on_its_neighbours():
    samples = np.random.default_rng(0).uniform(-1, 1, 60 * HOP).astype(np.float32)
    together, alone = np.empty((40, 128), np.float32), np.empty((1, 128), np.float32)
    mel_power(samples, 0, MfccSpecification(), together)
    for frame in (0, 7, 15, 16, 39):
        mel_power(samples, frame * HOP, MfccSpecification(), alone)
        np.testing.assert_array_equal(alone[0], together[frame])


def test_no_frames_are_no_frames():
    mel_power(np.empty(0, np.float32), 0, MfccSpecification(), np.empty((0, 128), np.float32))


def test_another_window_length_is_refused():
    with pytest.raises(ValueError, match="n_fft and hop_length must be 2048 and 512, got MfccSpecification"):
        mel_power(np.ones(10, np.float32), 0, MfccSpecification(n_fft=1024), np.empty((1, 128), np.float32))
