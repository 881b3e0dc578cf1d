"""Cached MFCCs are librosa's, and a silent frame is what librosa makes of silence."""

import librosa
import numpy as np
import pytest
import soundfile as sf

from cache.specification import MfccSpecification
from featurize.mfcc import extract_mfcc
from featurize.waveform import Waveform

SPECIFICATION = MfccSpecification()
RATE, HOP, N_FFT = SPECIFICATION.sample_rate, SPECIFICATION.hop_length, SPECIFICATION.n_fft


def extract(samples, specification=SPECIFICATION):
    samples = np.asarray(samples, np.float32)
    out = np.zeros(
        (int(specification.capacity(len(samples), specification.sample_rate)), specification.n_mfcc), "f4"
    )
    length, silence = extract_mfcc(Waveform(samples, specification.sample_rate), specification, out)
    assert length == len(out)
    return out, silence


def by_librosa(samples, specification=SPECIFICATION):
    samples = np.asarray(samples, np.float32)
    return librosa.feature.mfcc(y=samples, sr=specification.sample_rate, n_mfcc=specification.n_mfcc).T


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
    np.testing.assert_allclose(extract(samples)[0], by_librosa(samples), rtol=0, atol=1e-3)


@pytest.mark.parametrize("specification", [MfccSpecification(20, 16000), MfccSpecification(128, 22050)])
def test_other_rates_and_counts_equal_librosa(specification):
    samples = np.random.default_rng(1).normal(size=20_000)
    np.testing.assert_allclose(
        extract(samples, specification)[0], by_librosa(samples, specification), rtol=0, atol=1e-3
    )


def test_real_recordings_equal_librosa(real_recordings):
    for path in real_recordings[::10]:
        samples, rate = sf.read(path, dtype="float32")
        assert rate == RATE
        np.testing.assert_allclose(extract(samples)[0], by_librosa(samples), rtol=0, atol=1e-3, err_msg=path.name)


def test_a_clip_without_samples_has_no_frames_and_the_silence_of_silence():
    frames, silence = extract([])
    assert frames.shape == (0, SPECIFICATION.n_mfcc)
    assert silence == pytest.approx(-100 * np.sqrt(128), rel=1e-6)


@pytest.mark.parametrize("level", [1.0, 1e-3, 1e-7, 0.0])
def test_silence_is_librosas_silent_frame_of_the_same_clip(level):
    samples = np.zeros(60_000)
    samples[:20_000] = level * np.random.default_rng(0).uniform(-1, 1, 20_000)
    silent_frame = by_librosa(samples)[-1]
    _, silence = extract(samples)
    np.testing.assert_allclose(silent_frame, np.eye(1, SPECIFICATION.n_mfcc)[0] * silence, atol=1e-3)


@pytest.mark.parametrize("n_frames", [1, 7])
def test_padding_frames_equals_padding_the_waveform_but_for_the_seam(n_frames):
    samples = 0.3 * np.random.default_rng(0).normal(size=50 * HOP + 100)
    frames, silence = extract(samples)
    pad = np.zeros((n_frames, SPECIFICATION.n_mfcc), np.float32)
    pad[:, 0] = silence
    whole = by_librosa(np.pad(samples, n_frames * HOP))
    padded = np.concatenate([pad, frames, pad])[: len(whole)]
    differs = np.abs(padded - whole).max(axis=1) > 1e-2
    first, end = n_frames, n_frames + len(frames)
    seam = {first - 1, end, end + 1}  # one frame just before the clip's start, two just past its end
    assert set(np.flatnonzero(differs)) <= seam


def test_a_real_clip_padded_in_frames_equals_it_padded_in_samples(real_recordings):
    for path in real_recordings[::80]:
        samples, _ = sf.read(path, dtype="float32")
        frames, silence = extract(samples)
        pad = np.zeros((5, SPECIFICATION.n_mfcc), np.float32)
        pad[:, 0] = silence
        whole = by_librosa(np.pad(samples, 5 * HOP))
        padded = np.concatenate([pad, frames, pad])[: len(whole)]
        differs = np.abs(padded - whole).max(axis=1) > 1e-2
        assert set(np.flatnonzero(differs)) <= {4, 5 + len(frames), 6 + len(frames)}, path.name
