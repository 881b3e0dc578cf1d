"""The tagger beside its nets: the first answer, many short recordings, a long one.

    python benchmarks/tag.py [--work work] [--recordings 100] [--minutes 60] [--rounds 3]

Needs the predictions folders of runs, those of WORK. The recordings are noise at 44.1 kHz. The first answer: from
where Keras is imported to the tags of one recording of 5 s, in a process of its own, against the import. Many and
long: `Tagger.files` and `Tagger.timeline`, opening included, against the nets alone: each fold's model, opened and
then given one ready batch again and again, as many windows as the recordings have.
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
import soundfile as sf

from benchmarks.ratios import Bystanders, by_turns, clocked, header, ratio, table

RATE, SECONDS, BATCH = 44_100, 5, 32


def first_answer(work: str, path: str) -> None:
    """Print seconds of Keras's import, and from there to the tags of a recording."""
    started = time.perf_counter()
    import keras  # noqa: F401

    imported = time.perf_counter()
    from tag.tagger import Tagger

    Tagger.open(work).files([path])
    print(imported - started, time.perf_counter() - imported)


def nets_alone(work: str, n_windows: dict[Path, int]) -> int:
    """Each fold of each net on one ready batch, for so many windows by folder."""
    from tag.tagger import Tagger

    for net in Tagger.open(work).nets:
        batch = np.random.default_rng(0).normal(size=(BATCH, net.length, net.width)).astype(np.float32)
        for model in net.models():
            for _ in range(-(-n_windows[net.folder.path] // BATCH)):
                model.predict_on_batch(batch)
    return 1


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", default="work", help="folder of the runs")
    parser.add_argument("--recordings", type=int, default=100, help="how many short ones")
    parser.add_argument("--minutes", type=float, default=60, help="length of the long one")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--first", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.first:
        return first_answer(given.work, given.first)

    from tag.tagger import Tagger
    from tag.timeline import Timeline, window_starts

    print(header("keras", "tensorflow", "soundfile"))
    others = Bystanders()
    with tempfile.TemporaryDirectory() as folder:
        noise = np.random.default_rng(0).uniform(-0.5, 0.5, SECONDS * RATE)
        short = [Path(folder, f"{number}.wav") for number in range(given.recordings)]
        for path in short:
            sf.write(path, noise, RATE)
        long = Path(folder, "long.wav")
        with sf.SoundFile(long, "w", RATE, 1) as file:
            for _ in range(round(given.minutes * 60 / SECONDS)):
                file.write(noise)
        command = [sys.executable, __file__, "--work", given.work, "--first", str(short[0])]
        firsts = []
        for _ in range(given.rounds):
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            firsts.append([*map(float, done.stdout.split())])
        nets = Tagger.open(given.work).nets
        window_s = max(net.window_s for net in nets)
        starts = window_starts(given.minutes * 60, window_s, window_s / 2)
        of_short = {net.folder.path: given.recordings * net.crops for net in nets}
        of_long = {net.folder.path: net.offsets(starts, window_s).size for net in nets}
        cases = {
            "many": lambda: Tagger.open(given.work).files(short).shape[0] and 1,
            "many, nets alone": lambda: nets_alone(given.work, of_short),
            "long": lambda: Tagger.open(given.work).timeline(long, Timeline()).shape[1] and 1,
            "long, nets alone": lambda: nets_alone(given.work, of_long),
        }
        seconds = by_turns({name: clocked(case) for name, case in cases.items()}, given.rounds)
    folds = sum(len(net.folder.finished) for net in nets)
    rows = [
        ["first answer", f"{np.median([answer for _, answer in firsts]):.1f} s", "import of Keras",
         f"{np.median([answer / imported for imported, answer in firsts]):.2f}"],
        [f"{given.recordings} recordings of {SECONDS} s", f"{np.median(seconds['many']):.1f} s", "nets alone",
         ratio(seconds, "many", "many, nets alone")],
        [f"a recording of {given.minutes:g} min", f"{np.median(seconds['long']):.1f} s", "nets alone",
         ratio(seconds, "long", "long, nets alone")],
    ]  # fmt: skip
    print(table(f"tag, {len(nets)} nets, {folds} folds", ["", "time", "against", "times its time"], rows))
    print(others)


if __name__ == "__main__":
    main()
