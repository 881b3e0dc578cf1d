"""Mel power of many frames at a time is that of one frame at a time, by another library."""

import librosa
import numpy as np
import pytest
import scipy.fft

from featurize.features.mel import GRAIN, HOP, LANES, N_FFT, MelFrames, mel_power


def one_by_one(samples, begin, sample_rate, n_mels, n_frames):
    padded = np.pad(samples.astype(np.float64), N_FFT + LANES * HOP)
    starts = begin + N_FFT + LANES * HOP + HOP * np.arange(n_frames)
    frames = np.array([padded[start : start + N_FFT] for start in starts])
    power = np.abs(scipy.fft.rfft(frames * librosa.filters.get_window("hann", N_FFT), axis=1)) ** 2
    return power @ librosa.filters.mel(sr=sample_rate, n_fft=N_FFT, n_mels=n_mels).T


def noise(n, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, n).astype(np.float32)


@pytest.mark.parametrize(("sample_rate", "n_mels"), [(44100, 128), (16000, 64), (44100, 7), (44100, 1)])
@pytest.mark.parametrize("n_frames", [1, LANES - 1, LANES, LANES + 1])
@pytest.mark.parametrize("begin", [-N_FFT // 2, 0, 333])
def test_frames_equal_those_of_a_double_precision_fft(sample_rate, n_mels, n_frames, begin):
    samples = noise(5000, seed=n_frames)
    mel = np.full((n_frames, n_mels), np.nan, np.float32)
    mel_power(samples, sample_rate, (n_mels,), begin, mel)
    expected = one_by_one(samples, begin, sample_rate, n_mels, n_frames)
    np.testing.assert_allclose(mel, expected, rtol=2e-5, atol=1e-6 * expected.max())


def test_a_whole_clip_has_the_frames_of_librosa():
    samples = noise(20_011)
    expected = librosa.feature.melspectrogram(y=samples, sr=44100, n_mels=64).T
    np.testing.assert_allclose(mel_power(samples, 44100, (64,)), expected, rtol=1e-4)


@pytest.mark.parametrize("frequency", [0, 20, 1000, 11025, 15000, 22050])
def test_a_tone_of_any_frequency_is_in_its_band(frequency):
    samples = np.cos(2 * np.pi * frequency / 44100 * np.arange(20_000)).astype(np.float32)
    found = mel_power(samples, 44100, begin=0, out=np.empty((20, 128), np.float32))
    np.testing.assert_array_equal(found.argmax(axis=1), one_by_one(samples, 0, 44100, 128, 20).argmax(axis=1))


@pytest.mark.parametrize("banks", [(64, 128), (128, 64), (13, 64, 128, 200)])
@pytest.mark.parametrize("sample_rate", [44100, 16000, 2000])
def test_a_bank_has_the_same_bits_whatever_banks_it_is_computed_with(banks, sample_rate):
    samples = noise(30_000)
    together = np.split(mel_power(samples, sample_rate, banks), np.cumsum(banks)[:-1], axis=1)
    for bank, found in zip(banks, together, strict=True):
        np.testing.assert_array_equal(found, mel_power(samples, sample_rate, (bank,)))


def test_a_frame_does_not_depend_on_its_neighbours():
    samples, alone = noise(60 * HOP), np.empty((1, 128), np.float32)
    together = mel_power(samples, 44100, begin=0, out=np.empty((40, 128), np.float32))
    for frame in (0, 7, 15, 16, 39):
        mel_power(samples, 44100, begin=frame * HOP, out=alone)
        np.testing.assert_array_equal(alone[0], together[frame])


@pytest.mark.parametrize("sizes", [[1] * 3000, [511, 1, 3000, 100_000, 7], [2048] * 60, [90_000], []])
def test_blocks_of_any_size_give_the_same_bits(sizes):
    samples = noise(sum(sizes))
    frames, found = MelFrames(44100, (64, 128)), []
    for block in np.split(samples, np.cumsum(sizes)):
        found.append(frames.push(block, last=False).copy())
        assert len(found[-1]) % GRAIN == 0
    found.append(frames.push(np.empty(0, np.float32), last=True).copy())
    np.testing.assert_array_equal(np.concatenate(found), mel_power(samples, 44100, (64, 128)))


def test_no_samples_are_no_frames():
    assert mel_power(np.empty(0), 44100).shape == (0, 128)
