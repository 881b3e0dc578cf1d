"""What a clip sounds between is what librosa trims to."""

import librosa
import numpy as np
import pytest
import soundfile as sf

from featurize.trim import sounding


def envelope(*levels, n=3000):
    """Noise whose level changes every n samples."""
    noise = np.random.default_rng(0).uniform(-1, 1, n * len(levels)).astype(np.float32)
    return noise * np.repeat(np.array(levels, np.float32), n)


CLIPS = {
    "silence at both ends": envelope(0, 0, 1, 0.5, 0),
    "quiet at both ends": envelope(1e-4, 1e-4, 1, 0.01, 1e-4),
    "a pause inside": envelope(0, 1, 0, 0, 1, 0),
    "all sounding": envelope(1, 0.5),
    "all silent": envelope(0, 0),
    "faint": 1e-6 * envelope(0, 1, 0),
    "shorter than a hop": envelope(1, n=100),
    "not whole hops": envelope(0, 1, 0, n=777),
    "click at the end": np.eye(1, 9001, 9000, dtype=np.float32)[0],
}


@pytest.mark.parametrize("name", CLIPS)
@pytest.mark.parametrize("top_db", [20, 60])
def test_ends_are_those_of_librosa(name, top_db):
    _, expected = librosa.effects.trim(CLIPS[name], top_db=top_db)
    assert sounding([CLIPS[name]], top_db) == tuple(expected)


@pytest.mark.parametrize("size", [1, 511, 512, 5000])
def test_blocks_of_any_size_give_the_same_ends(size):
    clip = CLIPS["quiet at both ends"]
    blocks = [clip[start : start + size] for start in range(0, len(clip), size)]
    assert sounding(blocks, 40) == sounding([clip], 40)


def test_a_clip_without_samples_has_no_ends():
    assert sounding([], 60) == sounding([np.empty(0, np.float32)], 60) == (0, 0)


def test_real_recordings_are_trimmed_as_by_librosa(real_recordings):
    for path in real_recordings[::20]:
        samples, _ = sf.read(path, dtype="float32")
        assert sounding([samples], 40) == tuple(librosa.effects.trim(samples, top_db=40)[1])
