"""The trainer beside the net: its start, its memory, also over ten folds, and a store that is not in memory.

    python benchmarks/trainer.py [--clips 400] [--start-clips 1000000] [--cold-clips 10800] [--rounds 3]
                                 [--data FOLDER] [--cache CACHE] [--large CACHE]

Start: from a command's start to the end of its first training step, `python -m train` against a bare script that
imports Keras, builds and compiles the same net and trains it for a step on one constant batch; each in a process
of its own, by turns. What the script needs of ours to build the net is not on its clock, and TensorBoard is left
out. Processor time, of all threads, says more than seconds where other processes keep the machine busy. Memory:
what both hold of their own then (RssAnon: mapped pages of files do not count), and the trainer's after each of ten
folds. Start with a large store: likewise, from a cache as `benchmarks/plan.py` makes it, without audio: clips of
10 s, 500 labels, tables and receipts as featurize writes them, chunk files full of zeros that take no room on disk.
Cold pages: the clips of an epoch from chunk files that the system was told to forget (posix_fadvise).
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

from benchmarks.plan import measured
from benchmarks.ratios import Bystanders, header, table

NET, FOLDS = "conv1d", 10


def own_megabytes() -> float:
    """What this process holds beside mapped files, MB; Linux alone says."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["RssAnon"].split()[0]) / 1024


def told(started: float) -> None:
    """Print what the first step's end finds, and go."""
    print(time.time() - started, time.process_time(), own_megabytes(), flush=True)
    os._exit(0)


def bare(n_labels: int, started: float) -> None:
    """Keras, the net, one step on a constant batch."""
    import keras

    imported = time.time()
    from train.fold import compile_model
    from train.nets.build import build
    from train.recipe import DEFAULT

    started += time.time() - imported
    shape = (round(DEFAULT.seconds * 16_000), 1)
    model = build(NET, shape, n_labels)
    compile_model(model, DEFAULT, 100)
    n = DEFAULT.batch_size
    batch = np.zeros((n, *shape), np.float32), np.zeros((n, model.output_shape[1]), np.float32)
    end = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: told(started))
    model.fit(*batch, batch_size=n, verbose=0, callbacks=[end])


def ours(cache: Path, started: float) -> None:
    """`python -m train`, until its first step is done."""
    from train import __main__
    from train.progress import RunProgress

    RunProgress.batch = lambda progress, n_clips, loss: told(started)
    sys.modules["tensorboard"] = None  # as if it were not installed
    with tempfile.TemporaryDirectory() as work:
        sys.argv = ["train", NET, "--work", work, "--cache", str(cache), "--folds", "4"]
        sys.exit(__main__.main())


def folds(cache: Path, started: float) -> None:
    """Ten folds of one epoch; prints this process's own memory after each."""
    from cache import open_cache
    from train.input.dataset import open_dataset
    from train.progress import RunProgress
    from train.run import run
    from train.settings import settings_for
    from train.split import assign_folds, chosen_folds

    class Progress(RunProgress):
        def end_fold(self, result: dict) -> None:
            print(own_megabytes(), flush=True)

    with tempfile.TemporaryDirectory() as work, Progress(open(os.devnull, "w")) as progress:
        settings = settings_for(NET, work=Path(work), cache=str(cache), folds=FOLDS, epochs=1, crops=1)
        dataset = open_dataset(open_cache(cache), settings)
        parts = assign_folds(dataset, settings)
        run(dataset, parts, chosen_folds(settings, parts), progress)


def cold(cache: Path, started: float) -> None:
    """Clips/s of an epoch, from chunk files that are not in memory."""
    from cache import open_cache
    from cache.windows.randomness import clip_keys
    from train.input.augment import Augmentation
    from train.input.batches import TrainingBatches
    from train.input.dataset import open_dataset
    from train.settings import settings_for

    settings = settings_for(NET, cache=str(cache), mixup=0.0)
    dataset = open_dataset(open_cache(cache), settings)
    windows, clips = dataset.windows, np.flatnonzero(dataset.usable)
    for path in windows.store.storage.path().rglob("*"):
        if path.is_file():
            _forget(path)
    keys = clip_keys(dataset.train["clip"].iloc[clips])
    augmentation = Augmentation(settings, 1, windows, clips, keys)
    label_ids = np.zeros(len(clips), np.int64)
    batches = TrainingBatches(windows, augmentation, label_ids, 1, None, settings.batch_size)
    first = time.perf_counter()
    for index in range(batches.steps):
        batches(index)
    print(len(clips) / (time.perf_counter() - first), flush=True)


def _forget(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


CHILDREN = {"ours": ours, "folds": folds, "cold": cold}


def child(name: str, *arguments: str) -> list[list[float]]:
    """Run one of these in a process of its own; the numbers of each line that it prints."""
    command = [sys.executable, __file__, "--child", name, *arguments, "--started", str(time.time())]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return [[float(word) for word in line.split()] for line in done.stdout.splitlines()]


def folds_table(cache: Path) -> str:
    """Memory over ten folds."""
    memory = [line[0] for line in child("folds", "--cache", str(cache))]
    rows = [(f"fold {fold}", f"{value:.0f}", f"{value - memory[0]:+.0f}") for fold, value in enumerate(memory)]
    return table(f"{NET}: own memory after each of ten folds, MB", ["", "MB", "beyond the first"], rows)


def pages_table(cache: Path) -> str:
    """Random windows from the disk."""
    from cache import open_cache

    ((speed,),) = child("cold", "--cache", str(cache))
    title = f"cold pages: raw windows, one thread, {len(open_cache(cache).clips):,} clips"
    return table(title, ["", "clips/s"], [("random order", f"{speed:.0f}")])


def start_table(title: str, cache: Path, rounds: int) -> str:
    """Seconds to the end of the first step, and processor time and own memory then, the bare script's and ours."""
    from cache import open_cache

    clips = open_cache(cache).clips
    n_labels = clips["label"][clips["split"] == "train"].nunique()
    calls = ["bare", "--labels", str(n_labels)], ["ours", "--cache", str(cache)]
    figures = np.array([[child(*call)[0] for call in calls] for _ in range(rounds)])  # [rounds, script, figure]
    script, ours = np.median(figures, axis=0)
    beyond = np.median(figures[:, 1] - figures[:, 0], axis=0)
    names = "to the end of the first step, s", "processor time then, s", "own memory then, MB"
    rows = [(name, f"{script[i]:.2f}", f"{ours[i]:.2f}", f"{beyond[i]:+.2f}") for i, name in enumerate(names)]
    return table(title, ["", "bare Keras", "python -m train", "beyond (median)"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=400, help="clips at least, in steps of 400 (default: 400)")
    parser.add_argument(
        "--start-clips", type=int, default=1_000_000, help="of the large store (default: 1,000,000)"
    )
    parser.add_argument("--cold-clips", type=int, default=10_800, help="of cold pages (default: 10,800)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each start (default: 3)")
    parser.add_argument("--data", type=Path, help="a dataset of yours in place of the real recordings of ../shared")
    parser.add_argument("--cache", type=Path, help="a cache of yours, with raw features")
    parser.add_argument("--large", type=Path, help="a cache of yours in place of the large one")
    parser.add_argument("--child", choices=["bare", *CHILDREN], help=argparse.SUPPRESS)
    parser.add_argument("--labels", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--started", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child == "bare":
        bare(arguments.labels, arguments.started)
    elif arguments.child:
        CHILDREN[arguments.child](arguments.cache, arguments.started)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            _measure(arguments, Path(temporary))


def _measure(arguments: argparse.Namespace, folder: Path) -> None:
    cache = arguments.cache or _featurized(arguments.data, folder / "small", arguments.clips)
    forgotten = arguments.cache or _featurized(arguments.data, folder / "cold", arguments.cold_clips)
    large = arguments.large or _made_up(folder / "large", arguments.start_clips)
    bystanders = Bystanders()
    print(header("keras", "tensorflow", "numpy"))
    print(start_table(f"{NET}: start", cache, arguments.rounds))
    print(start_table(f"{NET}: start with a store of {arguments.start_clips:,} clips", large, arguments.rounds))
    print(folds_table(cache))
    print(pages_table(forgotten))
    print(bystanders)


def _featurized(data: Path | None, folder: Path, n_clips: int) -> Path:
    from benchmarks.recordings import recordings
    from cache import RawSpecification
    from cache.storage import open_storage
    from featurize.datasets import read_dataset
    from featurize.run import Options, run

    dataset = read_dataset(open_storage(recordings(data, folder, n_clips)))
    run(dataset, open_storage(folder / "cache"), [RawSpecification()], Options(jobs=2))
    return folder / "cache"


def _made_up(cache: Path, n_clips: int) -> Path:
    """A complete cache of clips that are not there."""
    for step in ("plan", "complete", "again"):
        measured(step, cache, n_clips)
    return cache


if __name__ == "__main__":
    main()
