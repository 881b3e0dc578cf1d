"""A small dataset with every kind of clip, and what it takes to featurize it quickly."""

import errno
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from cache.specification import MfccSpecification, RawSpecification
from cache.storage import open_storage
from featurize.datasets import read_dataset
from featurize.decode import ReadError, Recording
from featurize.run import plan_run, run
from featurize.settings import Options

SPECIFICATIONS = (RawSpecification(sample_rate=100), MfccSpecification(n_mfcc=4, sample_rate=2000))


@pytest.fixture(scope="session")
def every_kind_once(tmp_path_factory, write_dataset, noise) -> Path:
    """A dataset: sound, short, silent, long, stereo, streamed, truncated, empty, zero-byte and undecodable clips,
    as wav, flac, mp3 and ogg."""
    folder = tmp_path_factory.mktemp("every-kind") / "data"
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
def every_kind(every_kind_once, tmp_path) -> Path:
    """A copy of `every_kind_once`, in tmp_path."""
    return shutil.copytree(every_kind_once, tmp_path / "data")


@pytest.fixture(scope="session")
def featurize():
    """A function that brings a cache up to date with a dataset and returns the work that was done."""

    def featurize(data, cache, specifications=SPECIFICATIONS, limit=None, **options):
        dataset = read_dataset(open_storage(data), limit)
        return run(dataset, open_storage(cache), specifications, Options(**{"jobs": 1, **options}))[0]

    return featurize


@pytest.fixture(scope="session")
def planned():
    """A function that says what a run would do; nothing is written."""

    def planned(data, cache, specifications=SPECIFICATIONS, limit=None, **options):
        dataset = read_dataset(open_storage(data), limit)
        return plan_run(dataset, open_storage(cache), specifications, Options(**options))

    return planned


@pytest.fixture(scope="session")
def file_bytes():
    """A function that reads every file of a cache: bytes by relative path, but for the lock's and the command's flags."""

    def file_bytes(cache: Path) -> dict[str, bytes]:
        paths = (Path(root) / name for root, _, names in os.walk(cache) for name in names)
        kept = (p for p in sorted(paths) if not p.name.startswith("writer.") and p.name != "settings.toml")
        return {str(p.relative_to(cache)): p.read_bytes() for p in kept}

    return file_bytes


@pytest.fixture
def as_nobody(tmp_path):
    """A context manager in which this process is a user without rights; the test's own folders can be entered."""

    @contextmanager
    def as_nobody():
        for folder in (tmp_path, *tmp_path.parents[:3]):
            folder.chmod(folder.stat().st_mode | 0o055)
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)

    return as_nobody


@pytest.fixture
def unreadable(monkeypatch):
    """A context manager in which reading a recording of this name ends in an I/O error."""

    @contextmanager
    def unreadable(name):
        def recording(source, *arguments):
            if source.name == name:
                raise ReadError.of(OSError(errno.EIO, os.strerror(errno.EIO), str(source)))
            return Recording(source, *arguments)

        with monkeypatch.context() as patch:
            patch.setattr("featurize.job.Recording", recording)
            yield

    return unreadable
