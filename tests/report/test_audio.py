"""Players: decoded again, they are the clip, as long and as loud as the page says."""

import base64
import io

import numpy as np
import pytest
import soundfile as sf

from report.audio import Players, data_uri, loudest_stretch, mp3, seconds_each


def _decoded(uri):
    kind, data = uri.split(",")
    assert kind == "data:audio/mpeg;base64"
    return sf.read(io.BytesIO(base64.b64decode(data)))


@pytest.mark.parametrize("seconds", [0.02, 0.5, 3.21])
def test_player_is_as_long_as_its_clip(seconds):
    samples, rate = _decoded(data_uri(0.5 * np.sin(np.arange(round(seconds * 16000)) / 5), 16000))
    assert len(samples) / rate == pytest.approx(seconds, abs=0.002)


def test_player_is_the_waveform():
    wanted = 0.5 * np.sin(np.arange(32000) / 5)
    samples, _ = _decoded(data_uri(wanted, 16000))
    assert np.corrcoef(samples[1000:-1000], wanted[1000:-1000])[0, 1] > 0.99


def test_quiet_clip_is_raised_and_silent_one_stays():
    quiet, _ = _decoded(data_uri(0.001 * np.sin(np.arange(16000) / 5), 16000))
    assert np.abs(quiet[2000:-2000]).max() == pytest.approx(0.25, rel=0.2)
    assert np.abs(_decoded(data_uri(np.zeros(8000), 16000))[0]).max() < 1e-3


@pytest.mark.parametrize("rate", [100, 16000, 20000, 96000])
def test_every_rate_becomes_one_that_mp3_knows(rate):
    info = sf.info(io.BytesIO(mp3(np.zeros(rate), rate)))
    assert info.duration == pytest.approx(1, abs=0.01)


def test_loudest_stretch_is_found_and_lies_inside():
    samples = np.zeros(10_000)
    samples[9_000:9_500] = 1
    found = loudest_stretch(samples, 2_000)
    assert found.start <= 9_000 and found.stop >= 9_500 and found.stop - found.start == 2_000


def test_players_fit_into_the_budget():
    lengths = np.random.default_rng(0).uniform(0.3, 30, 400)
    for budget in (1_500_000, 6_000_000, 50_000_000):
        assert np.minimum(lengths, seconds_each(lengths, budget)).sum() * 3600 <= budget


def test_clip_is_encoded_once_and_cut_to_its_loudest_part():
    read = []

    def clip(row):
        read.append(row)
        return np.concatenate([np.zeros(16000), np.full(16000, 0.1 * (row + 1))])

    with Players(clip, 16000, [1, 0, 1], 1.0) as players:
        sounds = players.sounds()
    assert sorted(read) == [0, 1]
    assert sounds[1][1:] == (1.0, 2.0)
