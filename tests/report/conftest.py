"""A small dataset with every trouble that a page tells of, as a cache that is made of arrays, and two runs on it."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from cache.receipts import Status
from cache.specification import LogmelSpecification, MfccSpecification, RawSpecification
from ensemble.predictions import create_predictions

HOSTILE = "<script>alert(1)</script>"
LABELS = ["Bark", "Flute", HOSTILE, "Gong & Bell"]
RATE = 16000
SECONDS = [0.5, 0.5, 0.5, 0.8, 1.0, 1.3, 0.6, 0.9]  # of the clips of each label


class FakeStore:
    """A store whose features are an array."""

    def __init__(self, specification, features, lengths, status):
        self.specification, self.name, self._features = specification, specification.name, features
        self.length, self.status = np.asarray(lengths), np.asarray(status, np.uint8)
        self.start = np.concatenate([[0], np.cumsum(self.length)[:-1]])
        self.n_chunks = 1
        setattr(self, specification.slot_value, np.full(len(self.length), 1 / 32768, np.float32))

    def read(self, start, stop):
        view = self._features[start:stop]
        view.flags.writeable = False
        return view


class FakeCache:
    """A cache of fake stores, with the attributes that the page reads."""

    def __init__(self, clips, plan, stores, reasons):
        self.clips, self.plan, self._stores, self.reasons = clips, plan, stores, reasons
        self.storage = FakePlace(self)

    def stores(self):
        return [store.name for store in self._stores.values()]

    def open_store(self, kind, store=None):
        return self._stores[kind]

    def store(self, name):
        return next(store for store in self._stores.values() if store.name == name)

    def status(self, receipts):
        return next(iter(self._stores.values())).status


class FakePlace:
    """Where a fake cache lies; the receipts of every store below are the cache's."""

    is_local = True

    def __init__(self, cache):
        self._cache = cache

    def __truediv__(self, name):
        return self._cache


def clip_names(n):
    return [f"{HOSTILE}.wav" if i == 0 else f"clip {i:02}.wav" for i in range(n)]


def make_cache(kinds=("raw", "mfcc", "logmel")):
    """A cache of 8 training clips of each label and 4 test clips; the last four are odd."""
    seconds = SECONDS * len(LABELS) + [0.7, 0.5, 0.0, 0.4]
    n, rng = len(seconds), np.random.default_rng(1)
    labels = [label for label in LABELS for _ in SECONDS] + [""] * 4
    lengths = np.array([round(s * RATE) for s in seconds])
    status = np.full(n, Status.OK)
    status[[5, n - 2, n - 1]] = Status.TRUNCATED, Status.EMPTY, Status.FAILED
    lengths[n - 1] = 0
    waves = [
        (3000 * np.sin(np.arange(length) * (0.05 + 0.02 * LABELS.index(label) if label else 0.2))).astype(np.int16)
        for length, label in zip(lengths, labels, strict=True)
    ]
    waves[3][:] = 0
    waves[4][100:150] = 32767
    clips = pd.DataFrame({"clip": clip_names(n), "split": ["train"] * (n - 4) + ["test"] * 4, "label": labels})
    clips["manually_verified"] = pd.array([1, 0] * (n // 2), "Int8")
    clips["slot"] = np.arange(n)
    digests = [f"{i:016x}" for i in range(n)]
    digests[8], digests[n - 4] = digests[0], digests[1]  # under two labels; in train and test
    plan = pd.DataFrame({"file": clips["clip"], "size": 44 + 2 * lengths, "digest": digests, "native_rate": RATE})
    plan["native_samples"] = lengths
    stores = {"raw": FakeStore(RawSpecification(), np.concatenate(waves), lengths, status)}
    for kind, specification, size in (("mfcc", MfccSpecification(), 40), ("logmel", LogmelSpecification(), 64)):
        frames = np.where(lengths > 0, 1 + lengths * 44100 // RATE // 512, 0)
        stores[kind] = FakeStore(
            specification, rng.normal(size=(frames.sum(), size)).astype(np.float32), frames, status
        )
    reasons = {5: "data ends after 20,800 of 30,000 samples", n - 1: "no RIFF header"}
    return FakeCache(clips, plan, {kind: stores[kind] for kind in kinds}, reasons)


def make_runs(work, cache):
    """Two runs of two folds; clip 8 is a Bark that is labelled Flute, and both say so."""
    train = cache.clips[cache.clips["split"] == "train"]
    test = cache.clips[cache.clips["split"] == "test"]
    targets = pd.Index(LABELS).get_indexer(train["label"])
    folds, n = np.arange(len(train)) % 2, len(train)
    heard = targets.copy()
    heard[8] = 0
    for net, noise in (("1d_conv", 0.3), ("2d_conv", 0.15)):
        rng = np.random.default_rng(3)
        probabilities = noise * rng.dirichlet(np.ones(len(LABELS)), n) + (1 - noise) * np.eye(len(LABELS))[heard]
        if net == "1d_conv":
            probabilities[[20, 21]] = probabilities[[20, 21]][:, [1, 0, 3, 2]]
        config = {
            "model": f"conv{net[:2]}",
            "n_parameters": 1000,
            "n_folds": 2,
            "seed": 1,
            "stores": [],
            "settings": {"recipe": "default", "mixup": noise},
        }
        folder = create_predictions(
            work / f"predictions_{net}",
            LABELS,
            train[["clip", "label"]].rename(columns={"clip": "fname"}),
            test[["clip"]].rename(columns={"clip": "fname"}),
            folds,
            [""] * n,
            config,
        )
        for fold in range(2):
            history = pd.DataFrame({"epoch": [1, 2, 3], "loss": [2.0, 1.5, 1.2], "val_loss": [1.8, 1.4, np.nan]})
            history[["val_accuracy", "val_map3"]] = 0.5
            history.to_csv(folder.path / f"history_{fold}.csv", index=False)
            folder.write_fold(
                fold, probabilities, np.full((4, 4), 0.25), {"epochs": 3, "kept_epoch": 2, "seconds": 9}
            )


@pytest.fixture(scope="session")
def session_patch():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="session")
def caches(session_patch):
    """Make `report.dataset` open fake caches, by place."""
    found = {}

    def receipts(cache):
        reasons = {int(slot): cache.reasons.get(int(slot), "") for slot in cache.clips["slot"]}
        return SimpleNamespace(
            column=lambda name: np.array(list(reasons)),
            texts=lambda name: SimpleNamespace(to_pylist=lambda: list(reasons.values())),
        )

    session_patch.setattr("report.dataset.open_cache", lambda place: found[str(place)])
    session_patch.setattr("report.dataset.read_receipts", receipts)
    return found


@pytest.fixture(scope="session")
def work(tmp_path_factory, caches):
    """A work folder with a cache and two runs."""
    folder = tmp_path_factory.mktemp("work")
    caches[str(folder / "cache")] = cache = make_cache()
    make_runs(folder, cache)
    return folder


@pytest.fixture(scope="session")
def page(work):
    """The page's file."""
    from report.__main__ import main

    assert main(["--work", str(work)]) == 0
    return work / "report.html"
