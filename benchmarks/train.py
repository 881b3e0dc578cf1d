"""Training steps from the maps, against one constant batch and a loader that decodes as the notebook's does.

    python benchmarks/train.py [--clips 400] [--steps 8] [--rounds 3] [--data FOLDER]

The same net, batch of 64 and step for all, through Keras's own fit, in this process, by turns. A turn is one fit;
its clock starts after the first steps, when every feed has reached its own pace, and stops with the last one.

The notebook's loader is its DataGenerator, which decodes, resamples (kaiser_fast) and cuts each clip for every
batch, as a keras.utils.PyDataset with two worker threads. BLAS has one thread in every case: with more, its two
loaders are slower by far wherever cores are shared.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # this folder's own names would hide the packages
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import librosa
import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.ratios import Bystanders, by_turns, header, table, times
from benchmarks.recordings import recordings
from cache import MfccSpecification, RawSpecification, open_cache
from cache.storage import LocalStorage
from cache.windows.cut import FrameWindows, RawWindows
from cache.windows.randomness import clip_keys
from featurize.datasets import read_dataset
from featurize.run import run
from featurize.settings import Options
from train.fold import compile_model
from train.input.augment import Augmentation
from train.input.batches import Feed, TrainingBatches
from train.nets.build import build
from train.recipe import DEFAULT, NOTEBOOK, Recipe

BATCH, WORKERS, WARM_UP, TURNS = 64, 2, 4, 8


class Constant(keras.utils.PyDataset):
    """The same batches for ever: input that costs nothing."""

    num_batches = None

    def __init__(self, *batches):
        super().__init__()
        self._batches = batches

    def __getitem__(self, index):
        return self._batches[index % len(self._batches)]


class Notebook(keras.utils.PyDataset):
    """Each clip decoded, resampled and cut for every batch, as the notebook's DataGenerator does.

    The first two batches are made once: Keras asks for them before it trains, to learn their shapes.
    """

    num_batches = None

    def __init__(self, paths, answers, kind):
        # A short queue, or fit spends its end on batches that nobody trains on.
        super().__init__(workers=WORKERS, use_multiprocessing=False, max_queue_size=1)
        self._paths, self._answers = paths, answers
        self._rate, self._mfcc = (16_000, False) if kind == "raw" else (44_100, True)
        self._first = [self._batch(index) for index in range(2)]

    def __getitem__(self, index):
        return self._first[index] if index < len(self._first) else self._batch(index)

    def _batch(self, index):
        rows = np.arange(index * BATCH, (index + 1) * BATCH) % len(self._paths)
        rng = np.random.default_rng(index)
        return np.stack([self._window(self._paths[row], rng) for row in rows]), self._answers[rows]

    def _window(self, path, rng):
        samples, _ = librosa.load(path, sr=self._rate, res_type="kaiser_fast")
        length = 2 * self._rate
        start = rng.integers(abs(len(samples) - length) + 1)
        if len(samples) > length:
            samples = samples[start : start + length]
        samples = np.pad(samples, (start, length - len(samples) - start) if len(samples) < length else 0)
        if self._mfcc:
            return librosa.feature.mfcc(y=samples, sr=self._rate, n_mfcc=40).T
        low = samples.min()
        return ((samples - low) / (samples.max() - low + 1e-6) - 0.5)[:, None]


class Clock(keras.callbacks.Callback):
    """The time of each step's end."""

    def __init__(self):
        super().__init__()
        self.ends: list[float] = []

    def on_train_batch_end(self, batch, logs=None):
        self.ends.append(time.perf_counter())


def steps(model: keras.Model, feed: Callable, n_steps: int) -> Callable[[], float]:
    """A case: one fit, fed by feed(), a context manager; seconds a clip."""

    def fit() -> float:
        clock = Clock()
        with feed() as batches:
            model.fit(batches, steps_per_epoch=WARM_UP + n_steps, shuffle=False, verbose=0, callbacks=[clock])
        return (clock.ends[-1] - clock.ends[WARM_UP - 1]) / (n_steps * BATCH)

    return fit


def compare(name: str, cache, data: Path, n_steps: int, rounds: int) -> dict[str, list[float]]:
    """Seconds a clip of each case, by the default recipe."""
    cases = _cases(name, False, DEFAULT, cache, data, n_steps)
    del cases[f"{TURNS} ready batches in turn"]
    return _by_turns(cases, rounds)


def compare_input(name: str, cache, data: Path, n_steps: int, rounds: int) -> dict[str, list[float]]:
    """Likewise for a net of one pooling and one dense layer, where the input is all; plain windows beside mixed.

    One batch stays in the processor's caches from step to step. Batches that are made beforehand and take turns
    do not, and neither does any input that changes.
    """
    cases = _cases(name, True, DEFAULT, cache, data, n_steps)
    plain = _cases(name, True, NOTEBOOK, cache, data, n_steps)
    cases["earmark, plain windows"] = plain["earmark, from the maps"]
    cases[f"{TURNS} ready batches in turn"] = plain[f"{TURNS} ready batches in turn"]
    del cases["notebook's loader"]
    return _by_turns(cases, rounds)


def _by_turns(cases: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    for case in cases.values():
        case()  # compiles the step: once, not in a round
    with threadpool_limits(1):
        return by_turns(cases, rounds)


def _cases(
    name: str, quick: bool, recipe: Recipe, cache, data: Path, n_steps: int
) -> dict[str, Callable[[], float]]:
    clips = cache.clips[cache.clips["split"] == "train"]
    labels, uniques = clips["label"].factorize()
    slots, kind = clips["slot"].to_numpy(), "raw" if name == "conv1d" else "mfcc"
    store = cache.open_store(kind)
    windows = RawWindows(store, slots, 32_000) if kind == "raw" else FrameWindows(store, slots, 173, 40)
    order = np.arange(len(clips) // BATCH * BATCH)  # whole batches alone: every step is of the same size
    answers = np.eye(len(uniques), dtype=np.float32)[labels]
    keys = clip_keys(clips["clip"].iloc[order])
    augmentation = Augmentation(recipe, 1001, windows, order, keys)
    fill = np.zeros(windows.shape[1], np.float32)
    batches = TrainingBatches(windows, augmentation, labels[order], len(uniques), None, BATCH, fill)
    paths = [data / "audio_train" / clip for clip in clips["clip"]]
    notebook = Notebook(paths, answers, kind)
    model = build(name, windows.shape, len(uniques), quick=quick)
    compile_model(model, recipe, 10_000)
    ready = [tuple(values.copy() for values in batches(index)) for index in range(TURNS)]
    return {
        "earmark, from the maps": steps(model, lambda: Feed(batches), n_steps),
        "one constant batch": steps(model, lambda: nullcontext(Constant(ready[0])), n_steps),
        f"{TURNS} ready batches in turn": steps(model, lambda: nullcontext(Constant(*ready)), n_steps),
        "notebook's loader": steps(model, lambda: nullcontext(notebook), n_steps),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=400, help="clips at least, in steps of 400 (default: 400)")
    parser.add_argument("--steps", type=int, default=8, help="steps a turn (default: 8)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each case (default: 3)")
    parser.add_argument("--data", type=Path, help="a dataset of yours in place of the real recordings of ../shared")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data = recordings(arguments.data, folder, arguments.clips)
        kinds = RawSpecification(), MfccSpecification()
        run(read_dataset(LocalStorage(data)), LocalStorage(folder / "cache"), kinds, Options(jobs=2))
        cache = open_cache(folder / "cache")
        print(header("keras", "tensorflow", "numpy", "librosa", "resampy"))
        bystanders = Bystanders()
        for name in ("conv1d", "conv2d"):
            seconds = compare(name, cache, data, arguments.steps, arguments.rounds)
            rows = times(seconds, "earmark, from the maps", "clips")
            print(table(f"{name}: training, batches of {BATCH}", ["", "speed", "times earmark's time"], rows))
        for name in ("conv1d", "conv2d"):
            seconds = compare_input(name, cache, data, 10 * arguments.steps, arguments.rounds)
            rows = times(seconds, "earmark, from the maps", "clips")
            title = f"one pooling, one dense layer, on windows of {name}: batches of {BATCH}"
            print(table(title, ["", "speed", "times earmark's time"], rows))
        print(bystanders)


if __name__ == "__main__":
    main()
