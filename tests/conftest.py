"""Fixtures that more than one package's tests use: small datasets in the Kaggle layout, made here."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

LABELS = ("Bell", "None", "Rain drops")


@pytest.fixture
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


@pytest.fixture
def noise():
    """A function that makes seeded noise: seconds, rate in Hz, seed -> (float64 [n], rate)."""
    return lambda seconds, rate=8000, seed=0: (
        0.5 * np.random.default_rng(seed).uniform(-1, 1, round(seconds * rate)),
        rate,
    )


@pytest.fixture(scope="session")
def real_recordings() -> list[Path]:
    """Real recordings (ESC-10, ogg) from the folder shared/ beside the checkout; skips where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data" / "esc10" / "audio"
    if not folder.is_dir():
        pytest.skip("needs the real recordings of ../shared/data/esc10, which are not here")
    return sorted(folder.glob("*.ogg"))
