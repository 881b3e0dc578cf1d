"""Resampling is soxr's high quality, never longer than planned."""

import numpy as np
import pytest
import soundfile as sf
import soxr

from cache.specification import resampled_length
from featurize import decode
from featurize.decode import read_header
from featurize.waveform import LongWaveform, Waveform, waveform_of


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


@pytest.fixture
def long_and_short(tmp_path, monkeypatch):
    """The same recording of several blocks, in memory and not."""
    monkeypatch.setattr(decode, "_BLOCK", 3001)
    samples = 0.1 * np.random.default_rng(0).standard_normal(20_011)
    samples[:5000] *= 1e-4
    sf.write(tmp_path / "a.wav", samples, 44100, subtype="FLOAT")
    short = waveform_of(decode.decode(tmp_path / "a.wav", read_header(tmp_path / "a.wav")))
    monkeypatch.setattr(decode, "_LONG", 20_010)
    long = waveform_of(decode.decode(tmp_path / "a.wav", read_header(tmp_path / "a.wav")))
    return long, short


@pytest.mark.parametrize("rate", [44100, 16000, 48000])
@pytest.mark.parametrize("top_db", [None, 20])
def test_a_long_waveform_has_the_bytes_of_one_in_memory(long_and_short, rate, top_db):
    long, short = (waveform.trimmed(top_db) for waveform in long_and_short)
    blocks = list(long.blocks(rate))
    assert isinstance(long, LongWaveform) and isinstance(short, Waveform) and len(blocks) > 5
    np.testing.assert_array_equal(np.concatenate(blocks), short.at(rate))
    np.testing.assert_array_equal(np.concatenate(list(long.blocks(rate))), short.at(rate))  # as often as asked
    assert long.truncated is short.truncated is False


def test_a_long_waveform_says_that_data_was_missing_once_read(tmp_path, monkeypatch):
    sf.write(tmp_path / "a.wav", np.full(2000, 0.5), 8000)
    (tmp_path / "a.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:-1000])
    monkeypatch.setattr(decode, "_LONG", 10)
    waveform = waveform_of(decode.decode(tmp_path / "a.wav", read_header(tmp_path / "a.wav")))
    assert sum(len(block) for block in waveform.blocks(8000)) == 1500 and waveform.truncated


def test_a_trimmed_waveform_is_made_once():
    waveform = Waveform(np.ones(5000, np.float32), 8000)
    assert waveform.trimmed(60) is waveform.trimmed(60) and waveform.trimmed(None) is waveform
