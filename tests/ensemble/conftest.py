"""Predictions folders for the tests of the ensemble, written by the library itself from seeded numbers."""

import os

import numpy as np
import pandas as pd
import pytest

from ensemble import create_predictions

LABELS = ["Bell", "None", "Bark, loud", "Rain"]
RESULT = {"epochs": 5, "kept_epoch": 3, "seconds": 1.5}
TRAIN = [f"{i:02d}.wav" for i in range(12)]
TEST = ["t0.wav", "t,1.wav", "None", "t3.wav", "t4 é.wav"]


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    """Power cuts are not tested here."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="session")
def arguments():
    """A function that gives create_predictions its arguments, with changes; the last clip is in no fold."""
    return _arguments


@pytest.fixture
def result():
    """What the trainer gives to write_fold beside the predictions."""
    return dict(RESULT)


@pytest.fixture(scope="session")
def make_predictions():
    """A function that writes a folder: path, seed, folds to finish (None: all), changes."""
    return _make_predictions


def _arguments(config=None, **changes):
    defaults = {
        "labels": LABELS,
        "clips_train": pd.DataFrame({"fname": TRAIN, "label": [LABELS[i % 4] for i in range(12)]}),
        "clips_test": pd.DataFrame({"fname": TEST}),
        "folds": np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, -1]),
        "reasons": [""] * 11 + ["empty"],
    }
    defaults["config"] = {
        "model": "conv1d",
        "n_parameters": 360513,
        "n_folds": 3,
        "settings": {"learning_rate": 1e-3, "crops": 5, "seconds": 2.0},
        "seed": 1001,
        "stores": [{"name": "raw-16000.zarr", "checksum": "abc"}],
        "versions": {"keras": "3.15"},
        "git_revision": "0123",
        **(config or {}),
    }
    return {**defaults, **changes}


def _make_predictions(path, seed=0, finish=None, **changes):
    folder = create_predictions(path, **_arguments(**changes))
    rng = np.random.default_rng(seed)
    for fold in range(folder.n_folds):
        train = rng.dirichlet(np.ones(len(folder.labels)), len(folder.clips_train))
        test = rng.dirichlet(np.ones(len(folder.labels)), len(folder.clips_test))
        if finish is None or fold in finish:
            folder.write_fold(fold, train, test, dict(RESULT))
    return folder
