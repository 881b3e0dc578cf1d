"""Nets that were trained for a moment on a small dataset, and its recordings."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from cache import LogmelSpecification, MfccSpecification, RawSpecification, open_cache
from cache.storage import open_storage
from featurize.datasets import read_dataset
from featurize.run import run as featurize
from featurize.settings import Options
from train.input.dataset import open_dataset
from train.progress import RunProgress
from train.run import run
from train.settings import settings_for
from train.split import assign_folds

RATE = 8000
SPECIFICATIONS = [RawSpecification(4000), MfccSpecification(40, RATE), LogmelSpecification(32, RATE, trim_db=40.0)]


@pytest.fixture(scope="session")
def recordings(tmp_path_factory, write_dataset, noise) -> Path:
    """A dataset of 12 training clips, and 5 test clips: short, long, empty, stereo and truncated."""
    rng = np.random.default_rng(3)
    tone = lambda seconds, pitch: (0.3 * np.sin(2 * np.pi * pitch * np.arange(int(seconds * RATE)) / RATE), RATE)  # noqa: E731
    train = {f"{i}.wav": tone(rng.uniform(0.3, 3), (300, 900, 2700)[i % 3]) for i in range(12)}
    test = {"short.wav": noise(0.2), "long.wav": noise(5.0, 11025, 1), "empty.wav": (np.zeros(0), RATE)}
    stereo, _ = noise(2.0, RATE, 2)
    test |= {"stereo.flac": (np.stack([stereo, -stereo / 2], axis=1), RATE), "cut.wav": noise(2.0, RATE, 4)}
    folder = write_dataset(tmp_path_factory.mktemp("tag") / "data", train, test)
    cut = folder / "audio_test" / "cut.wav"
    cut.write_bytes(cut.read_bytes()[:9000])
    return folder


@pytest.fixture(scope="session")
def train_net(recordings, tmp_path_factory):
    """A function that trains a net on the recordings, two folds for an epoch; the predictions folder."""
    work = tmp_path_factory.mktemp("tag_work")
    featurize(read_dataset(open_storage(recordings)), open_storage(work / "cache"), SPECIFICATIONS, Options())

    def train_it(model: str, **changes) -> Path:
        changes = {"quick": True, "folds": 2, "epochs": 1, "crops": 3, "name": "quick", **changes}
        dataset = open_dataset(open_cache(work / "cache"), settings_for(model, work=work, **changes))
        settings = dataset.settings
        if not settings.predictions_path.exists():
            with RunProgress(io.StringIO()) as progress:
                run(dataset, assign_folds(dataset, settings), [0, 1], progress)
        return settings.predictions_path

    return train_it


@pytest.fixture(scope="session")
def trained(train_net) -> Path:
    """A work folder with two quick nets."""
    train_net("conv1d")
    return train_net("conv2d").parent


@pytest.fixture(scope="session")
def sound(tmp_path_factory, noise) -> Path:
    """A recording of ten seconds: noise, silence, noise."""
    path = tmp_path_factory.mktemp("sound") / "ten.wav"
    samples, _ = noise(10.0, RATE, 7)
    samples[3 * RATE : 6 * RATE] = 0
    sf.write(path, samples, RATE)
    return path
