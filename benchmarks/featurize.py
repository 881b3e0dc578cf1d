"""Featurizing against the notebook's calls, librosa's defaults and bare kernels; memory and start-up.

    python benchmarks/featurize.py [--clips 400] [--rounds 3] [--data FOLDER]

The README's own command makes three kinds of features: a 16 kHz waveform, and 40 MFCCs and 64 log-mel bands at
44.1 kHz. The references compute the first two, so ours is measured with the first two as well; cases take turns, on
the same recordings. Ours are whole runs into an empty cache, files and checksums included. The notebook's calls are
slow and are timed on every tenth clip, two clips at least. The bare kernels, and lhotse where it is installed, are
left out where a recording is not 16-bit mono at 44.1 kHz. BLAS has one thread in every case: with more, the
references are far slower on shared cores. joblib's worker processes are started before the first turn.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # this folder's own names would hide the packages

import librosa
import soundfile as sf
from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor
from threadpoolctl import threadpool_limits

from benchmarks.by_lhotse import AVAILABLE, by_lhotse
from benchmarks.kernels import MFCC_RATE, N_MFCC, RATE, BareKernels
from benchmarks.ratios import Bystanders, by_turns, clocked, header, ratio, spread, table
from benchmarks.recordings import recordings
from cache import MfccSpecification, RawSpecification
from cache.storage import LocalStorage
from featurize.datasets import read_dataset
from featurize.run import run
from featurize.settings import Features, Options

ROOT = Path(__file__).resolve().parents[1]
CORES = os.cpu_count()
TWO_KINDS = RawSpecification(RATE), MfccSpecification(N_MFCC, MFCC_RATE)
ALL_KINDS = Features().specifications  # the README's own command
KERNELS_LOADED = """import featurize.__main__, numpy as np
from featurize.features.mfcc import mfcc
mfcc(np.zeros(9, "f4"), 44100)"""


def notebook(path: Path) -> None:
    """As the notebook does it, for every clip in every epoch."""
    librosa.load(path, sr=RATE, res_type="kaiser_fast")
    samples, _ = librosa.load(path, sr=MFCC_RATE, res_type="kaiser_fast")
    librosa.feature.mfcc(y=samples, sr=MFCC_RATE, n_mfcc=N_MFCC)


def librosas_defaults(path: Path) -> None:
    """One decode and librosa's own defaults."""
    samples, rate = librosa.load(path, sr=None)
    librosa.resample(samples, orig_sr=rate, target_sr=RATE)
    if rate != MFCC_RATE:
        samples = librosa.resample(samples, orig_sr=rate, target_sr=MFCC_RATE)
    librosa.feature.mfcc(y=samples, sr=MFCC_RATE, n_mfcc=N_MFCC)


def earmark(data: Path, cache: Path, n_jobs: int, *kinds, limit: int | None = None) -> int:
    """A whole run into an empty cache; kinds: specifications."""
    shutil.rmtree(cache, ignore_errors=True)
    dataset = read_dataset(LocalStorage(data), limit)
    todo, _ = run(dataset, LocalStorage(cache), kinds, Options(jobs=n_jobs))
    return len(todo.clips)


def serial(function: Callable, paths: list[Path]) -> int:
    """Call function on each path."""
    for path in paths:
        function(path)
    return len(paths)


def parallel(function: Callable, paths: list[Path], backend: str) -> int:
    """The same, a job a core, by joblib."""
    Parallel(n_jobs=CORES, backend=backend)(delayed(function)(path) for path in paths)
    return len(paths)


def bare_kernels(paths: list[Path]) -> BareKernels | None:
    """The kernels with buffers for these recordings; None where one is not as they want it."""
    infos = [sf.info(path) for path in paths]
    if {(info.samplerate, info.channels, info.subtype) for info in infos} != {(MFCC_RATE, 1, "PCM_16")}:
        return None
    return BareKernels(max(info.frames for info in infos))


def speed_table(data: Path, cache: Path, rounds: int) -> str:
    """Ratios of time; what stands above 1 is slower than earmark with a job a core."""
    files = [data / file for file in read_dataset(LocalStorage(data)).clips["file"]]
    paths = [path for path in files if sf.info(path).frames]  # librosa refuses the others
    some = paths[:: max(1, min(10, len(paths) // 2))]
    ours, bare = f"earmark, {CORES} jobs", "bare kernels, 1 core"
    cases = {
        ours: lambda: earmark(data, cache, CORES, *TWO_KINDS),
        f"earmark, {CORES} jobs, log-mel too": lambda: earmark(data, cache, CORES, *ALL_KINDS),
        "earmark, 1 job": lambda: earmark(data, cache, 1, *TWO_KINDS),
        "notebook's calls, serial": lambda: serial(notebook, some),
        "librosa's defaults, serial": lambda: serial(librosas_defaults, paths),
        f"librosa's defaults, {CORES} threads": lambda: parallel(librosas_defaults, paths, "threading"),
        f"librosa's defaults, {CORES} processes": lambda: parallel(librosas_defaults, paths, "loky"),
    }
    if kernels := bare_kernels(paths):
        cases[bare] = lambda: serial(kernels, paths)
        kernels(paths[0])
    if kernels and AVAILABLE:
        cases[f"lhotse, {CORES} processes"] = lambda: by_lhotse(paths, cache.with_name("lhotse"), CORES)
    for first_use in (lambda: serial(notebook, paths[:1]), lambda: parallel(librosas_defaults, paths[:64], "loky")):
        first_use()  # numba compiles, libraries import and workers start: once, not in a round
    with threadpool_limits(1):
        seconds = by_turns({name: clocked(case) for name, case in cases.items()}, rounds)
    get_reusable_executor().shutdown(wait=True)
    if kernels:
        seconds[f"bare kernels, divided by {CORES} cores"] = [value / CORES for value in seconds[bare]]
    rows = [[name, f"{1000 * min(values):.2f}", ratio(seconds, name, ours)] for name, values in seconds.items()]
    title = f"Featurizing {len(paths):,} recordings, raw and MFCC: time a clip, and times that of {ours!r}"
    return table(title, ["", "ms a clip (best)", "median (range)"], rows)


def whole_process(*arguments: str) -> tuple[float, float]:
    """Seconds and peak MB of one Python process."""
    launcher = [sys.executable, "-S", "-E", str(ROOT / "benchmarks" / "whole_process.py")]
    command = [*launcher, sys.executable, *arguments]
    seconds, megabytes = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout.split()
    return float(seconds), float(megabytes)


def first_clip(cache: Path, *arguments: str) -> float:
    """Seconds that a run into an empty cache takes from the end of its imports to its first decoded clip."""
    shutil.rmtree(cache)
    command = [sys.executable, ROOT / "benchmarks" / "first_clip.py", *arguments]
    return float(subprocess.run(command, check=True, capture_output=True).stdout.split()[0])


def process_table(data: Path, cache: Path, rounds: int) -> str:
    """Start-up and memory, as whole processes have them; the greatest memory of all rounds."""
    command = ["-m", "featurize", "--data", str(data.resolve()), "--cache", str(cache.resolve()), "--jobs"]
    cases = {
        "imports and kernels alone": (False, "-c", KERNELS_LOADED),
        "nothing to do": (False, *command, "1"),
        "all to do, 1 job": (True, *command, "1"),
        f"all to do, {CORES} jobs": (True, *command, str(CORES)),
    }
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, (from_nothing, *arguments) in cases.items():
            if from_nothing:
                shutil.rmtree(cache)
            measured[name].append(whole_process(*arguments))
    base = max(peak for _, peak in measured["imports and kernels alone"])
    rows = []
    for name, values in measured.items():
        seconds, peaks = zip(*values, strict=True)
        rows.append([name, spread(list(seconds)), f"{max(peaks):.0f}", f"{max(0, max(peaks) - base):.0f}"])
    first = [first_clip(cache, *command[2:], "1") for _ in range(rounds)]
    rows.append(["from the end of imports to the first decoded clip", spread(first), "", ""])
    return table("Whole processes", ["", "s, median (range)", "peak MB", "MB above imports"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=400, help="clips at least, in steps of 400 (default: 400)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each case (default: 3)")
    parser.add_argument("--data", type=Path, help="a dataset of yours in place of the real recordings of ../shared")
    parser.add_argument(
        "--folder", type=Path, help="where to put recordings and cache (default: a temporary folder)"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        data = recordings(arguments.data, Path(temporary), arguments.clips)
        cache = Path(temporary) / "cache"
        print(header("numpy", "scipy", "soxr", "librosa", "numba", "soundfile", "joblib", "resampy"))
        earmark(data, cache, 1, *ALL_KINDS, limit=2)  # numba compiles: once, not in a round
        bystanders = Bystanders()
        print(speed_table(data, cache, arguments.rounds))
        print(process_table(data, cache, arguments.rounds))
        print(bystanders)


if __name__ == "__main__":
    main()
