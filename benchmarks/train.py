"""Training steps from the maps, against one constant batch and a loader that decodes as the notebook's does.

    python benchmarks/train.py [--clips 400] [--steps 8] [--rounds 3] [--data FOLDER]

The same net, batch of 64 and step for all, through Keras's own fit, in this process, by turns. The notebook's
loader is a keras.utils.PyDataset that loads each clip by librosa (kaiser_fast) with two worker threads; it is timed
on fewer steps.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # this folder's own names would hide the packages
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import librosa
import numpy as np

from benchmarks.ratios import by_turns, header, table, times
from benchmarks.recordings import recordings
from cache import MfccSpecification, RawSpecification, open_cache
from featurize.dataset import read_dataset
from featurize.run import Options, run
from train.batches import TrainingBatches
from train.feed import Epochs
from train.nets import NETS, build
from train.windows import MfccWindows, RawWindows

BATCH, WORKERS = 64, 2


class Constant(keras.utils.PyDataset):
    """One batch for ever: input that costs nothing."""

    num_batches = None

    def __init__(self, batch):
        super().__init__()
        self._batch = batch

    def __getitem__(self, index):
        return self._batch


class Notebook(keras.utils.PyDataset):
    """Each clip decoded, resampled and cut for every batch, as the notebook's DataGenerator does."""

    num_batches = None

    def __init__(self, paths, answers, kind):
        super().__init__(workers=WORKERS, use_multiprocessing=False)
        self._paths, self._answers, self._kind = paths, answers, kind

    def __getitem__(self, index):
        rows = np.arange(index * BATCH, (index + 1) * BATCH) % len(self._paths)
        windows = [self._window(self._paths[row], np.random.default_rng(row)) for row in rows]
        return np.stack(windows), self._answers[rows]

    def _window(self, path, random):
        rate = 16000 if self._kind == "raw" else 44100
        samples, _ = librosa.load(path, sr=rate, res_type="kaiser_fast")
        length = 2 * rate
        if len(samples) > length:
            start = random.integers(len(samples) - length)
            samples = samples[start : start + length]
        samples = np.pad(samples, (0, length - len(samples)))
        if self._kind == "mfcc":
            return librosa.feature.mfcc(y=samples, sr=rate, n_mfcc=40).T
        low = samples.min()
        return ((samples - low) / (samples.max() - low + 1e-6) - 0.5)[:, None]


def compare(name: str, cache, data: Path, n_steps: int, rounds: int) -> dict[str, list[float]]:
    """Seconds a clip of each case."""
    clips = cache.clips[cache.clips["split"] == "train"]
    labels, uniques = clips["label"].factorize()
    slots, kind = clips["slot"].to_numpy(), "raw" if name == "conv1d" else "mfcc"
    store = cache.open_store(kind)
    windows = RawWindows(store, slots, 32000) if kind == "raw" else MfccWindows(store, slots, 173, 40)
    order = np.arange(len(clips))
    batches = TrainingBatches(windows, order, clips["clip"], labels, len(uniques), BATCH, seed=1001)
    paths = [data / "audio_train" / clip for clip in clips["clip"]]
    model = build(NETS[name], windows.shape, len(uniques), 1e-3)

    def steps(feed, n):
        def fit():
            model.fit(feed(), steps_per_epoch=n, epochs=1, shuffle=False, verbose=0)
            return n * BATCH

        return fit

    full = next(batch for batch in map(batches, range(batches.steps)) if len(batch[0]) == BATCH)
    cases = {
        "one constant batch": steps(lambda: Constant(full), n_steps),
        "earmark, from the maps": steps(lambda: Epochs(batches), n_steps),
        "notebook's loader": steps(
            lambda: Notebook(paths, np.eye(len(uniques), dtype=np.float32)[labels], kind), max(1, n_steps // 4)
        ),
    }
    for case in cases.values():
        case()  # traces the step, imports what librosa and resampy need
    return by_turns(cases, rounds)


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
        run(read_dataset(data), folder / "cache", (RawSpecification(), MfccSpecification()), Options(n_jobs=2))
        cache = open_cache(folder / "cache")
        print(header("keras", "tensorflow", "numpy", "librosa", "resampy"))
        for name in NETS:
            seconds = compare(name, cache, data, arguments.steps, arguments.rounds)
            rows = times(seconds, "earmark, from the maps", "clips")
            print(table(f"{name}: training, batches of {BATCH}", ["", "speed", "times earmark's time"], rows))


if __name__ == "__main__":
    main()
