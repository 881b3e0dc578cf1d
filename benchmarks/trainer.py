"""The trainer beside the net: its start, its memory, also over ten folds, and a store that is not in memory.

    python benchmarks/trainer.py [--clips 400] [--rounds 3] [--data FOLDER] [--cache CACHE]

Start: from a command's start to the end of its first training step, `python -m train` against a bare script that
imports Keras, builds and compiles the same net and trains it for a step on one constant batch; each in a process
of its own, by turns. Memory: what both hold of their own then (RssAnon: mapped pages of files do not count), and
the trainer's after each of ten folds. Cold pages: the clips of an epoch from chunk files that the system was told
to forget (posix_fadvise), in random order and in blocks of 16 chunks of 256 s: with fewer than 1,000 clips of 5 s
both are one. It says little where the disk is a host's memory.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)  # this folder's own names would hide the packages
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from benchmarks.ratios import header, table
from cache import open_cache
from train.settings import settings_for

NET, FOLDS = "conv1d", 10


def own_megabytes() -> float:
    """What this process holds beside mapped files, MB; Linux alone says."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["RssAnon"].split()[0]) / 1024


def bare(cache: Path, started: float) -> None:
    """Keras, the net, one step on a constant batch."""
    import keras

    from train.nets import NETS, build
    from train.recipe import DEFAULT
    from train.steps import compile_model

    model = build(NETS[NET], (32_000, 1), open_cache(cache).clips["label"].nunique())
    compile_model(model, DEFAULT, 100)
    n = DEFAULT.batch_size
    batch = np.zeros((n, 32_000, 1), np.float32), np.zeros((n, model.output_shape[1]), np.float32)
    model.fit(*batch, batch_size=n, verbose=0, callbacks=[_first_step(keras.callbacks, started)])


def ours(cache: Path, started: float) -> None:
    """`python -m train`, until its first step is done."""
    from train import __main__, callbacks

    callbacks.tensorboard = lambda folder, goes_on=False: [_first_step(callbacks.keras.callbacks, started)]
    with tempfile.TemporaryDirectory() as work:
        sys.argv = ["train", NET, "--work", work, "--cache", str(cache), "--folds", "4"]
        sys.exit(__main__.main())


def _first_step(callbacks, started: float):
    class FirstStep(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            print(time.time() - started, own_megabytes(), flush=True)
            os._exit(0)

    return FirstStep()


def folds(cache: Path, started: float) -> None:
    """Ten folds of one epoch; prints this process's own memory after each."""
    from train.dataset import open_dataset
    from train.folds import assign_folds, chosen_folds
    from train.progress import RunProgress
    from train.run import run

    class Progress(RunProgress):
        def end_fold(self, result: dict) -> None:
            print(own_megabytes(), flush=True)

    with tempfile.TemporaryDirectory() as work, Progress(open(os.devnull, "w")) as progress:
        settings = settings_for(NET, work=Path(work), cache=str(cache), folds=FOLDS, epochs=1, crops=1)
        dataset = open_dataset(open_cache(cache), settings)
        parts = assign_folds(dataset, settings)
        run(settings, dataset, parts, chosen_folds(settings, parts), progress)


def cold(cache: Path, started: float, in_blocks: bool = False) -> None:
    """Clips/s of an epoch, from chunk files that are not in memory."""
    from train.batches import TrainingBatches
    from train.dataset import open_dataset
    from train.draws import clip_keys
    from train.views import TrainingViews

    settings = settings_for(NET, cache=str(cache), mixup=0.0)
    dataset = open_dataset(open_cache(cache), settings)
    windows, clips = dataset.windows, np.flatnonzero(dataset.usable)
    for path in windows.store.path.rglob("*"):
        if path.is_file():
            _forget(path)
    keys = clip_keys(dataset.train["clip"].iloc[clips])
    chunks = windows.chunks[clips] if in_blocks else None
    views = TrainingViews(settings.recipe, 1, clips, keys, windows.lengths[clips], windows.shape, "raw", chunks)
    answers = np.zeros((len(clips), 1), np.float32)
    batches = TrainingBatches(windows, views, answers, None, settings.recipe.batch_size)
    first = time.perf_counter()
    for index in range(batches.steps):
        batches(index)
    print(len(clips) / (time.perf_counter() - first), flush=True)


def _forget(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def cold_blocks(cache: Path, started: float) -> None:
    """Likewise in blocks of chunks."""
    cold(cache, started, in_blocks=True)


CHILDREN = {"bare": bare, "ours": ours, "folds": folds, "cold": cold, "cold-blocks": cold_blocks}


def child(name: str, cache: Path) -> list[list[float]]:
    """Run one of these in a process of its own; the numbers of each line that it prints."""
    command = [sys.executable, __file__, "--child", name, "--cache", str(cache), "--started", str(time.time())]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return [[float(word) for word in line.split()] for line in done.stdout.splitlines()]


def report(cache: Path, rounds: int) -> str:
    """The tables."""
    turns = [(child("bare", cache)[0], child("ours", cache)[0]) for _ in range(rounds)]
    seconds, megabytes = (np.array([[bare[i], ours[i]] for bare, ours in turns]) for i in (0, 1))
    rows = [
        (name, f"{np.median(values[:, 0]):.2f}", f"{np.median(values[:, 1]):.2f}", f"{_beyond(values):+.2f}")
        for name, values in (("to the end of the first step, s", seconds), ("own memory then, MB", megabytes))
    ]
    start = table(f"{NET}: start", ["", "bare Keras", "python -m train", "beyond (median)"], rows)
    memory = [line[0] for line in child("folds", cache)]
    after = [(f"fold {fold}", f"{value:.0f}", f"{value - memory[0]:+.0f}") for fold, value in enumerate(memory)]
    flat = table(f"{NET}: own memory after each of ten folds, MB", ["", "MB", "beyond the first"], after)
    ((random,),), ((blocks,),) = child("cold", cache), child("cold-blocks", cache)
    order = [
        ("random order", f"{random:.0f}", "1.0"),
        ("blocks of chunks", f"{blocks:.0f}", f"{blocks / random:.1f}"),
    ]
    pages = table("cold pages: raw windows, one thread", ["", "clips/s", "times random"], order)
    return "\n".join([start, flat, pages])


def _beyond(values: np.ndarray) -> float:
    return float(np.median(values[:, 1] - values[:, 0]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=400, help="clips at least, in steps of 400 (default: 400)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each start (default: 3)")
    parser.add_argument("--data", type=Path, help="a dataset of yours in place of the real recordings of ../shared")
    parser.add_argument("--cache", type=Path, help="a cache of yours, with raw features")
    parser.add_argument("--child", choices=list(CHILDREN), help=argparse.SUPPRESS)
    parser.add_argument("--started", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        CHILDREN[arguments.child](arguments.cache, arguments.started)
        return
    with tempfile.TemporaryDirectory() as temporary:
        cache = arguments.cache or _featurized(arguments.data, Path(temporary), arguments.clips)
        print(header("keras", "tensorflow", "numpy"))
        print(report(cache, arguments.rounds))


def _featurized(data: Path | None, folder: Path, n_clips: int) -> Path:
    from benchmarks.recordings import recordings
    from cache import RawSpecification
    from featurize.dataset import read_dataset
    from featurize.run import Options, run

    dataset = read_dataset(recordings(data, folder, n_clips))
    run(dataset, folder / "cache", (RawSpecification(),), Options(n_jobs=2))
    return folder / "cache"


if __name__ == "__main__":
    main()
