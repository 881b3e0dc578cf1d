"""A small dataset with every kind of clip, and what it takes to featurize it quickly."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from cache.specification import MfccSpecification, RawSpecification
from featurize.dataset import read_dataset
from featurize.run import Options, run

SPECIFICATIONS = (RawSpecification(sample_rate=100), MfccSpecification(n_mfcc=4, sample_rate=2000))


@pytest.fixture
def every_kind(tmp_path, write_dataset, noise) -> Path:
    """A dataset: sound, short, silent, long, stereo, streamed, truncated, empty, zero-byte and undecodable clips,
    as wav, flac, mp3 and ogg."""
    folder = tmp_path / "data"
    train = {f"{i}.wav": noise(0.5 + 7 * i, 2000, seed=i) for i in range(6)}
    train |= {
        "silent.wav": (np.zeros(3000), 2000),
        "long.flac": noise(600, 1000, seed=9),
        "one.wav": ([0.5], 44100),
        "b.mp3": noise(4, 16000, seed=11),
        "streamed.wav": noise(3, 2000, seed=12),
    }
    train |= {name: noise(2, 2000) for name in ("cut.wav", "text.wav", "zero.wav")}
    write_dataset(folder, train, {"t.ogg": noise(3, 8000, seed=7), "empty.wav": (np.empty(0), 44100)})
    sf.write(folder / "audio_train" / "0.wav", np.random.default_rng(5).uniform(-1, 1, (9000, 2)), 44100)
    cut = folder / "audio_train" / "cut.wav"
    cut.write_bytes(cut.read_bytes()[:-2000])
    streamed = folder / "audio_train" / "streamed.wav"
    data = streamed.read_bytes()
    streamed.write_bytes(data[:4] + b"\xff" * 4 + data[8:40] + b"\xff" * 4 + data[44:])
    (folder / "audio_train" / "text.wav").write_text("no sound")
    (folder / "audio_train" / "zero.wav").write_bytes(b"")
    return folder


@pytest.fixture
def featurize():
    """A function that brings a cache up to date with a dataset and returns the work that was done."""

    def featurize(data, cache, specifications=SPECIFICATIONS, limit=None, **options):
        return run(read_dataset(data, limit), cache, specifications, Options(**options))[0]

    return featurize


@pytest.fixture
def file_bytes():
    """A function that reads every file of a cache: bytes by relative path, but for the lock's."""

    def file_bytes(cache: Path) -> dict[str, bytes]:
        paths = (Path(root) / name for root, _, names in os.walk(cache) for name in names)
        return {
            str(p.relative_to(cache)): p.read_bytes() for p in sorted(paths) if not p.name.startswith("writer.")
        }

    return file_bytes
