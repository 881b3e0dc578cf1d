"""The golden store: a small cache, committed, that every later version has to read and to write again.

    cache/         clips.parquet, plan.parquet, manifest.json, and three stores with their receipts
    expected/      STORE.features.npy, what the store holds of the clips, end to end in the table's order;
                   STORE.slots.npy, start, length, status and value of each clip
    files.json     xxh3-64 of every file of both

Its recordings are synthesised, in whole numbers and by the standard library, so that they are the same bytes
everywhere: one longer than a chunk, a silent one, empty ones, a truncated one, one that is no
recording, stereo, and rates from 100 to 8,000 Hz.

To make it anew, after a change of the format that is meant, from the root of the project:

    .venv/bin/python tests/golden/make.py
"""

import csv
import json
import os
import shutil
import tempfile
import wave
from pathlib import Path

import numpy as np
import zarr

from cache.receipts import checksum
from cache.specification import LogmelSpecification, MfccSpecification, RawSpecification
from cache.storage import open_storage
from cache.tables import read_tables
from featurize.datasets import read_dataset
from featurize.run import run
from featurize.settings import Options

GOLDEN = Path(__file__).parent
SPECIFICATIONS = (
    RawSpecification(sample_rate=100),
    MfccSpecification(n_mfcc=2, sample_rate=1000),
    LogmelSpecification(n_mels=3, sample_rate=1000),
)
SLOT = np.dtype([("start", "<i8"), ("length", "<i8"), ("status", "u1"), ("value", "<f4")])
_FIRST_MTIME_NS = 1_700_000_000_000_000_000


def write_recordings(folder: Path) -> Path:
    """Write the dataset that the golden store was made from; returns its folder."""
    n = np.arange(26000)
    train = {
        "long noise.wav": (n * n % 49999 - 25000, 100),
        "Glöckchen.wav": (abs(n[:1500] % 40 - 20) * (1500 - n[:1500]), 1000),
        "silent.wav": (n[:600] * 0, 200),
        "empty.wav": (n[:0], 8000),
        "truncated.wav": (n[:900] ** 2 % 997 - 500, 1000),
        "broken.wav": None,
    }
    test = {
        "stereo.wav": (np.stack([n[:5600] % 200 * 90, n[:5600] % 70 * -200], axis=1), 8000),
        "empty too.wav": (n[:0], 44100),
    }
    for split, clips in {"train": train, "test": test}.items():
        for name, recording in clips.items():
            _write_recording(folder / f"audio_{split}" / name, recording)
    with open(folder / "audio_train" / "truncated.wav", "rb+") as file:
        file.truncate(44 + 2 * 700)
    for i, path in enumerate(sorted(folder.glob("audio_*/*"))):
        os.utime(path, ns=(_FIRST_MTIME_NS + i, _FIRST_MTIME_NS + i))
    labels = ("None", "Bell", "Silence", "Silence", "Bell", "None")
    verified = ("1", "0", "", "1", "0", "1")
    rows = zip(train, labels, verified, ("CC0", "NA", "", "a,b", "ö", "CC0"), strict=True)
    _write_csv(folder / "train.csv", [("fname", "label", "manually_verified", "license"), *rows])
    _write_csv(folder / "sample_submission.csv", [("fname", "label"), *((name, "None") for name in test)])
    return folder


def make(folder: Path, recordings: Path) -> None:
    """Featurize the recordings into folder/cache, and write what is expected beside it."""
    cache = open_storage(folder / "cache")
    run(read_dataset(open_storage(recordings)), cache, SPECIFICATIONS, Options())
    cache.remove("writer.lock")
    slots = read_tables(cache).clips["slot"].to_numpy()
    (folder / "expected").mkdir(exist_ok=True)
    for specification in SPECIFICATIONS:
        store = zarr.open_group(folder / "cache" / specification.name, mode="r")
        names = ("start", "length", "status", specification.slot_value)
        table = np.array(list(zip(*(store[name][:][slots].tolist() for name in names), strict=True)), SLOT)
        features = store["features"][:]
        clips = [features[slot["start"] : slot["start"] + slot["length"]] for slot in table]
        np.save(folder / "expected" / f"{specification.name}.features.npy", np.concatenate(clips))
        np.save(folder / "expected" / f"{specification.name}.slots.npy", table)
    (folder / "files.json").write_text(json.dumps(_checksums(folder), indent=1) + "\n")


def missing_or_changed(folder: Path) -> list[str]:
    """Golden files that are not as they were made."""
    expected, found = json.loads((folder / "files.json").read_text()), _checksums(folder)
    return sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))


def _checksums(folder: Path) -> dict[str, str]:
    paths = [
        path for part in ("cache", "expected") for path in sorted((folder / part).rglob("*")) if path.is_file()
    ]
    return {path.relative_to(folder).as_posix(): checksum(path.read_bytes()) for path in paths}


def _write_recording(path: Path, recording: tuple[np.ndarray, int] | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if recording is None:
        path.write_text("no recording\n")
        return
    samples, sample_rate = recording
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.ndim)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(samples.astype("<i2").tobytes())


def _write_csv(path: Path, rows: list[tuple]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


if __name__ == "__main__":
    for part in ("cache", "expected"):
        shutil.rmtree(GOLDEN / part, ignore_errors=True)
    with tempfile.TemporaryDirectory() as recordings:
        make(GOLDEN, write_recordings(Path(recordings)))
