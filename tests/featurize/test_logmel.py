"""Cached log-mel frames are librosa's, and a silent frame is what librosa makes of silence."""

import librosa
import numpy as np
import pytest
import soundfile as sf

from cache.specification import LogmelSpecification
from featurize.logmel import above_floor, extract_logmel
from featurize.waveform import Waveform


def extract(samples, specification):
    samples = np.asarray(samples, np.float32)
    out = np.zeros(
        (int(specification.capacity(len(samples), specification.sample_rate)), specification.n_mels), "f4"
    )
    length, silence = extract_logmel(Waveform(samples, specification.sample_rate), specification, out)
    assert length == len(out)
    return out, silence


def by_librosa(samples, specification):
    samples = np.asarray(samples, np.float32)
    mel = librosa.feature.melspectrogram(y=samples, sr=specification.sample_rate, n_mels=specification.n_mels)
    return librosa.power_to_db(mel).T


@pytest.mark.parametrize("specification", [LogmelSpecification(), LogmelSpecification(128, 16000)])
@pytest.mark.parametrize("level", [1.0, 1e-4, 0.0])
def test_noise_of_any_level_equals_librosa(specification, level):
    samples = level * np.random.default_rng(0).uniform(-1, 1, 30_000)
    np.testing.assert_allclose(
        extract(samples, specification)[0], by_librosa(samples, specification), rtol=0, atol=1e-3
    )


def test_real_recordings_equal_librosa(real_recordings):
    specification = LogmelSpecification(64)
    for path in real_recordings[::40]:
        samples, _ = sf.read(path, dtype="float32")
        np.testing.assert_allclose(
            extract(samples, specification)[0], by_librosa(samples, specification), rtol=0, atol=1e-3
        )


def test_silence_is_every_band_of_librosas_silent_frame():
    specification, samples = LogmelSpecification(), np.zeros(60_000)
    samples[:20_000] = np.random.default_rng(0).uniform(-1, 1, 20_000)
    _, silence = extract(samples, specification)
    np.testing.assert_allclose(by_librosa(samples, specification)[-1], silence, atol=1e-3)


def test_a_clip_without_samples_has_no_frames():
    frames, silence = extract([], LogmelSpecification())
    assert frames.shape == (0, 64) and silence == -100


def test_samples_whose_power_overflows_are_refused():
    with pytest.raises(ValueError, match="its power is not finite: its samples are too large"):
        extract(np.full(5000, 1e30), LogmelSpecification())


@pytest.mark.parametrize("sizes", [[1] * 3000, [511, 1, 3000, 20_000, 7], [2048] * 12, [30_000]])
def test_blocks_of_any_size_give_the_same_bytes(sizes):
    samples = np.random.default_rng(0).uniform(-1, 1, sum(sizes)).astype(np.float32)
    blocks = np.split(samples, np.cumsum(sizes)[:-1])
    at_once, floor = above_floor([samples], LogmelSpecification(), 100)
    in_blocks, same = above_floor(blocks, LogmelSpecification(), 100)
    assert floor == same and len(at_once) == 1 + len(samples) // 512
    np.testing.assert_array_equal(in_blocks, at_once)
