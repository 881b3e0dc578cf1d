"""Fixtures that more than one package's tests use: small datasets in the Kaggle layout, and stores that are plain arrays."""

import csv
import logging
import os
import signal
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from cache import LogmelSpecification, MfccSpecification, RawSpecification
from cache.storage import Storage, open_storage

RATE = 4000  # Hz, of stores that are arrays
LABELS = ("Bell", "None", "Rain drops")


def pytest_configure(config: pytest.Config) -> None:
    """SIGINT interrupts tests and what they start, also where a shell runs them in its background, ignoring it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def write_dataset():
    """A function that writes a dataset: folder, clips by name as (samples, rate) for each split, labels."""
    return _write_dataset


def _write_dataset(folder: Path, train: dict, test: dict | None = None, labels=LABELS, **columns) -> Path:
    """Write wavs and CSVs; labels go round; columns are further columns of train.csv, by name."""
    for split, clips in {"train": train, "test": test or {}}.items():
        (folder / f"audio_{split}").mkdir(parents=True, exist_ok=True)
        for name, (samples, rate) in clips.items():
            (folder / f"audio_{split}" / name).parent.mkdir(parents=True, exist_ok=True)
            sf.write(folder / f"audio_{split}" / name, samples, rate)
    rows = [
        {"fname": name, "label": labels[i % len(labels)], **{key: values[i] for key, values in columns.items()}}
        for i, name in enumerate(train)
    ]
    _write_csv(folder / "train.csv", rows)
    if test:
        _write_csv(folder / "sample_submission.csv", [{"fname": name, "label": labels[0]} for name in test])
    return folder


def _write_csv(path: Path, rows: list[dict]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="session")
def noise():
    """A function that makes seeded noise: seconds, rate in Hz, seed -> (float64 [n], rate)."""
    return lambda seconds, rate=8000, seed=0: (
        0.5 * np.random.default_rng(seed).uniform(-1, 1, round(seconds * rate)),
        rate,
    )


@dataclass
class ArrayStore:
    """A store whose features are an array in memory, its clips end to end: as much of a store as windows read."""

    features: np.ndarray
    length: np.ndarray
    specification: object
    name: str = "array"
    scale: np.ndarray = None
    silence: np.ndarray = None
    status: np.ndarray = None
    reads: list = field(default_factory=list)

    def __post_init__(self):
        self.start = np.cumsum(self.length) - self.length

    def read(self, start: int, stop: int) -> np.ndarray:
        self.reads.append((start, stop))
        return self.features[start:stop]


@pytest.fixture
def raw_store():
    """A function that makes a raw store of clips, int16 arrays, with a scale for each."""

    def make(clips, scales):
        features = np.concatenate([np.asarray(clip) for clip in clips])
        lengths = np.array([len(clip) for clip in clips])
        specification = RawSpecification(RATE)
        return ArrayStore(features, lengths, specification, scale=np.array(scales, np.float32))

    return make


@pytest.fixture
def mfcc_store():
    """A function that makes an MFCC store of clips, float32 [frames, coefficients], with a silence for each."""

    def make(clips, silences):
        lengths = np.array([len(clip) for clip in clips])
        specification = MfccSpecification(clips[0].shape[1], RATE)
        features = np.concatenate(clips).astype(np.float32)
        return ArrayStore(features, lengths, specification, silence=np.array(silences, np.float32))

    return make


@pytest.fixture
def logmel_store():
    """A function that makes a log-mel store of clips, float32 [frames, bands], with a silence for each."""

    def make(clips, silences):
        lengths = np.array([len(clip) for clip in clips])
        specification = LogmelSpecification(clips[0].shape[1], RATE)
        features = np.concatenate(clips).astype(np.float32)
        return ArrayStore(features, lengths, specification, silence=np.array(silences, np.float32))

    return make


@pytest.fixture(scope="session")
def real_recordings() -> list[Path]:
    """Real recordings (ESC-10, ogg) from the folder shared/ beside the checkout; skips where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data" / "esc10" / "audio"
    if not folder.is_dir():
        pytest.skip("needs the real recordings of ../shared/data/esc10, which are not here")
    return sorted(folder.glob("*.ogg"))


@pytest.fixture(scope="session")
def s3_server():
    """The address of an S3 server on loopback, one for the session: moto's, in a thread."""
    # imported here: moto takes a second, and few tests ask for it
    from moto.moto_server.werkzeug_app import MotoRequestHandler
    from moto.server import ThreadedMotoServer

    MotoRequestHandler.disable_nagle_algorithm = True  # else each answer waits 40 ms for an acknowledgement
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def s3(s3_server, monkeypatch):
    """The environment that leads to the server, and to no other credentials."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    return monkeypatch


_BUCKETS = count()


@pytest.fixture
def bucket(s3, s3_server):
    """An empty bucket on the server, as a storage."""
    import boto3  # which moto brings

    name = f"test-bucket-{next(_BUCKETS)}"
    boto3.client("s3").create_bucket(Bucket=name)
    return open_storage(f"s3://{name}")


@pytest.fixture
def upload():
    """A function that writes a folder's files into a storage, one in a bucket say; returns the storage."""

    def upload(folder: Path, storage: Storage) -> Storage:
        for path in folder.rglob("*"):
            if path.is_file():
                storage.write(path.relative_to(folder).as_posix(), path.read_bytes())
        return storage

    return upload
