"""Cached MFCCs are librosa's, and a silent frame is what librosa makes of silence."""

import librosa
import numpy as np
import pytest
import soundfile as sf

from cache.specification import MfccSpecification
from featurize.features import largest
from featurize.features.mel import GRAIN, HOP, N_FFT, mel_power
from featurize.features.mfcc import features, mfcc, value

RATE, N_MFCC = 44100, 40


def by_librosa(samples, n_mfcc=N_MFCC, rate=RATE):
    return librosa.feature.mfcc(y=np.asarray(samples, np.float32), sr=rate, n_mfcc=n_mfcc).T


def silence_of(samples):
    return value(MfccSpecification(), largest(mel_power(samples, RATE)))


def edge_cases():
    random, t = np.random.default_rng(0), np.arange(30_000) / RATE
    tone = np.sin(2 * np.pi * 1000 * t)
    return {
        "noise": random.uniform(-1, 1, 30_000),
        "quiet noise": 1e-6 * random.uniform(-1, 1, 30_000),
        "tone": tone,
        "tone in faint noise": tone + 1e-4 * random.uniform(-1, 1, 30_000),
        "chirp": np.sin(2 * np.pi * (100 * t + 9000 * t**2)),
        "silence": np.zeros(30_000),
        "click": np.eye(1, 30_000, 15_000)[0],
        "loud": 100 * random.uniform(-1, 1, 30_000),
        "half silent": np.where(t < 0.3, 0, random.uniform(-1, 1, 30_000)),
        "constant": np.full(30_000, 0.5),
        "one sample": [0.5],
        "shorter than a hop": random.uniform(-1, 1, HOP - 1),
        "one hop": random.uniform(-1, 1, HOP),
        "one window": random.uniform(-1, 1, N_FFT),
        "one block of frames and one more": random.uniform(-1, 1, 64 * HOP),
    }


@pytest.mark.filterwarnings("ignore:n_fft=:UserWarning")
@pytest.mark.parametrize("name", edge_cases())
def test_edge_cases_equal_librosa(name):
    samples = edge_cases()[name]
    np.testing.assert_allclose(mfcc(samples, RATE), by_librosa(samples), rtol=0, atol=1e-3)


@pytest.mark.parametrize(("n_mfcc", "rate"), [(20, 16000), (128, 22050)])
def test_other_rates_and_counts_equal_librosa(n_mfcc, rate):
    samples = np.random.default_rng(1).normal(size=20_000)
    np.testing.assert_allclose(mfcc(samples, rate, n_mfcc), by_librosa(samples, n_mfcc, rate), rtol=0, atol=1e-3)


def test_real_recordings_equal_librosa(real_recordings):
    for path in real_recordings[::10]:
        samples, rate = sf.read(path, dtype="float32")
        assert rate == RATE
        np.testing.assert_allclose(mfcc(samples, RATE), by_librosa(samples), rtol=0, atol=1e-3, err_msg=path.name)


@pytest.mark.parametrize("n_frames", [GRAIN, 3 * GRAIN])
def test_a_part_of_the_frames_has_the_bits_that_it_has_among_all(n_frames):
    power = mel_power(np.random.default_rng(0).uniform(-1, 1, 200_000), RATE)
    whole = features(MfccSpecification(), power, largest(power))
    for start in range(0, len(power), n_frames):
        part = features(MfccSpecification(), power[start : start + n_frames], largest(power))
        np.testing.assert_array_equal(part, whole[start : start + n_frames])


def test_a_clip_without_samples_has_no_frames_and_the_silence_of_silence():
    assert mfcc(np.empty(0), RATE).shape == (0, N_MFCC)
    assert silence_of(np.empty(0)) == pytest.approx(-100 * np.sqrt(128), rel=1e-6)


@pytest.mark.parametrize("level", [1.0, 1e-3, 1e-7, 0.0])
def test_silence_is_librosas_silent_frame_of_the_same_clip(level):
    samples = np.zeros(60_000)
    samples[:20_000] = level * np.random.default_rng(0).uniform(-1, 1, 20_000)
    expected = np.eye(1, N_MFCC)[0] * silence_of(samples)
    np.testing.assert_allclose(by_librosa(samples)[-1], expected, atol=1e-3)
    np.testing.assert_allclose(mfcc(samples, RATE)[-1], expected, atol=1e-6)


def seam(samples, n_frames):
    """Frames that differ where a clip is padded by so many frames in place of samples."""
    pad = np.zeros((n_frames, N_MFCC), np.float32)
    pad[:, 0] = silence_of(samples)
    whole = by_librosa(np.pad(samples, n_frames * HOP))
    padded = np.concatenate([pad, mfcc(samples, RATE), pad])[: len(whole)]
    return set(np.flatnonzero(np.abs(padded - whole).max(axis=1) > 1e-2))


@pytest.mark.parametrize("n_frames", [1, 7])
def test_padding_frames_equals_padding_the_waveform_but_for_the_seam(n_frames):
    samples = 0.3 * np.random.default_rng(0).normal(size=50 * HOP + 100)
    end = n_frames + 1 + len(samples) // HOP
    assert seam(samples, n_frames) <= {n_frames - 1, end, end + 1}  # one before the clip's start, two past its end


def test_a_real_clip_padded_in_frames_equals_it_padded_in_samples(real_recordings):
    for path in real_recordings[::80]:
        samples, _ = sf.read(path, dtype="float32")
        end = 6 + len(samples) // HOP
        assert seam(samples, 5) <= {4, end, end + 1}, path.name
