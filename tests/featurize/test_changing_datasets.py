"""A dataset that changes from run to run ends with what a cache built from nothing holds of it."""

import csv
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cache import open_cache
from cache.compact import compact, plan_compaction
from cache.specification import MfccSpecification, RawSpecification
from cache.storage import open_storage
from cache.writer import writing
from featurize.datasets import read_dataset
from featurize.run import run
from featurize.settings import Options

SPECIFICATIONS = (RawSpecification(sample_rate=100), MfccSpecification(n_mfcc=2, sample_rate=1000))
LABELS = ("Bell", "None", "Rain drops")
CLIPS = tuple(f"{i}.wav" for i in range(6))
DURATIONS_S = (0, 0.5, 3, 120, 300)  # empty, short, and longer than half a group and than a whole one
pytestmark = [  # 128 mel bands in 500 Hz, clips of less than 2,048 samples
    pytest.mark.filterwarnings("ignore:Empty filters detected"),
    pytest.mark.filterwarnings("ignore:n_fft=2048 is too large"),
]
clip = st.sampled_from(CLIPS)
split = st.sampled_from(("train", "test"))
sound = st.tuples(st.sampled_from(DURATIONS_S), st.integers(0, 3))
change = st.one_of(
    st.tuples(st.just("write"), split, clip, sound),  # adds it, or changes its content
    st.tuples(st.just("touch"), split, clip, st.none()),
    st.tuples(st.just("remove"), split, clip, st.none()),
    st.tuples(st.just("rename"), split, clip, clip),
    st.tuples(st.just("relabel"), split, clip, st.sampled_from(LABELS)),
    st.tuples(st.just("break"), split, clip, st.none()),
    st.tuples(st.just("reverse"), split, st.none(), st.none()),  # the order of the CSV
)


class _Data:
    """A dataset to change: labels by clip in the order of its CSV, for each split."""

    def __init__(self, folder: Path):
        self.folder, self.clips, self._times = folder, {"train": {}, "test": {}}, 0
        for name in self.clips:
            (folder / f"audio_{name}").mkdir(parents=True)
        self.change("write", "train", "first.wav", (1, 0))

    def change(self, what, split, clip, value) -> None:
        clips, path = self.clips[split], self.folder / f"audio_{split}" / (clip or "-")
        if what == "write":
            seconds, seed = value
            sf.write(path, np.random.default_rng(seed).uniform(-0.5, 0.5, round(100 * seconds)), 100)
            clips.setdefault(clip, LABELS[seed % 3])
        elif what == "reverse":
            self.clips[split] = dict(reversed(clips.items()))
            return
        elif clip not in clips:
            return
        elif what == "remove":
            path.unlink()
            del clips[clip]
            return
        elif what == "rename" and value not in clips:
            path = path.rename(path.with_name(value))
            self.clips[split] = {value if name == clip else name: label for name, label in clips.items()}
        elif what == "relabel":
            clips[clip] = value
        elif what == "break":
            path.write_text("no sound")
        self._touch(path)

    def _touch(self, path: Path) -> None:
        """Give a file a time that it never had: two changes may come within the clock's step."""
        self._times += 1
        os.utime(path, ns=(self._times * 10**9, self._times * 10**9))

    def write_tables(self) -> None:
        for name, rows in {
            "train.csv": [("fname", "label"), *self.clips["train"].items()],
            "sample_submission.csv": [("fname",), *((clip,) for clip in self.clips["test"])],
        }.items():
            with open(self.folder / name, "w", newline="") as file:
                csv.writer(file).writerows(rows)
        if not self.clips["test"]:
            (self.folder / "sample_submission.csv").unlink()


def _featurize(data: _Data, cache: Path, prune: bool) -> None:
    data.write_tables()
    run(read_dataset(open_storage(data.folder)), open_storage(cache), SPECIFICATIONS, Options(prune=prune, jobs=1))


def _contents(cache: Path) -> tuple[pd.DataFrame, list]:
    """The clip table, slots apart, and for each clip and store its status, value and bytes."""
    opened = open_cache(cache)
    found = []
    for kind, value in (("raw", "scale"), ("mfcc", "silence")):
        store = opened.open_store(kind)
        for slot in opened.clips["slot"]:
            start, length = int(store.start[slot]), int(store.length[slot])
            found.append(
                (store.status[slot], getattr(store, value)[slot], store.read(start, start + length).tobytes())
            )
    return opened.clips.drop(columns="slot"), found


def _changes_end_as_from_nothing(folder: Path, runs) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    data = _Data(folder / "data")
    for changes, prune in (*runs, ([], True)):
        for one in changes:
            data.change(*one)
        if not data.clips["train"]:
            data.change("write", "train", "first.wav", (1, 0))
        _featurize(data, folder / "changed", prune)
    _featurize(data, folder / "fresh", prune=False)
    changed, fresh = _contents(folder / "changed"), _contents(folder / "fresh")
    pd.testing.assert_frame_equal(changed[0], fresh[0])
    assert changed[1] == fresh[1]
    with writing(folder / "changed"):
        compact(plan_compaction(open_cache(folder / "changed")))
    compacted = _contents(folder / "changed")
    pd.testing.assert_frame_equal(compacted[0], fresh[0])
    assert compacted[1] == fresh[1]


some_runs = st.lists(st.tuples(st.lists(change, min_size=1, max_size=8), st.booleans()), min_size=1, max_size=4)
quiet = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(max_examples=15, deadline=None, derandomize=True, database=None, suppress_health_check=quiet)
@given(runs=some_runs)
def test_any_mixture_of_changes_ends_as_from_nothing(tmp_path, runs):
    _changes_end_as_from_nothing(tmp_path / "runs", runs)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=quiet)
@given(runs=some_runs)
def test_many_mixtures_of_changes_end_as_from_nothing(tmp_path, runs):
    _changes_end_as_from_nothing(tmp_path / "runs", runs)
