"""Featurizing against the notebook's calls, librosa's defaults and the bare kernels; memory and start-up.

    python benchmarks/featurize.py [--clips 400] [--rounds 3] [--data FOLDER]

Each case computes both features, a 16 kHz waveform and 40 MFCCs at 44.1 kHz, from the same recordings, by turns.
The notebook's calls are slow and are timed on every tenth clip, two clips at least.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # this folder's own names would hide the packages

import librosa
import numpy as np
import scipy.fft
import soundfile as sf
import soxr
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from benchmarks.ratios import by_turns, header, ratio, table
from benchmarks.recordings import recordings
from cache import MfccSpecification, RawSpecification
from featurize.dataset import read_dataset
from featurize.run import Options, run

ROOT = Path(__file__).resolve().parents[1]
RATE, MFCC_RATE, N_MFCC = 16000, 44100, 40
CORES = os.cpu_count()


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


class BareKernels:
    """The libraries' kernels one after another on buffers made once: what no program of these parts can beat.

    decode, soxr, rfft, mel (as a sparse product), log and DCT. Nothing is normalised, checked or written.
    """

    def __init__(self, block: int = 64):
        self.window = librosa.filters.get_window("hann", 2048).astype(np.float32)
        filters = librosa.filters.mel(sr=MFCC_RATE, n_fft=2048)
        self.bands = [(int(row.nonzero()[0][0]), row[row > 0]) for row in filters]
        self.dct = scipy.fft.dct(np.eye(128), axis=1, norm="ortho")[:, :N_MFCC].astype(np.float32)
        self.windowed = np.empty((block, 2048), np.float32)
        self.mel = np.empty((128, block), np.float32)

    def __call__(self, path: Path) -> None:
        samples = sf.read(path, dtype="int16")[0].astype(np.float32)
        soxr.resample(samples, MFCC_RATE, RATE)
        frames = np.lib.stride_tricks.sliding_window_view(samples, 2048)[::512]
        block = len(self.windowed)
        for start in range(0, len(frames), block):
            part = frames[start : start + block]
            n = len(part)
            np.multiply(part, self.window, out=self.windowed[:n])
            spectrum = scipy.fft.rfft(self.windowed[:n], axis=1)
            power = (spectrum.real**2 + spectrum.imag**2).T
            for band, (first, weights) in enumerate(self.bands):
                np.matmul(weights, power[first : first + len(weights)], out=self.mel[band, :n])
            np.log10(np.maximum(self.mel[:, :n], 1e-10)).T @ self.dct


def earmark(data: Path, folder: Path, n_jobs: int, limit: int | None = None) -> int:
    """A whole run into an empty cache."""
    shutil.rmtree(folder, ignore_errors=True)
    work, _ = run(
        read_dataset(data, limit),
        folder,
        (RawSpecification(RATE), MfccSpecification(N_MFCC, MFCC_RATE)),
        Options(n_jobs=n_jobs),
    )
    return len(work.clips)


def serial(function, paths: list[Path]) -> int:
    """Call function on each path."""
    for path in paths:
        function(path)
    return len(paths)


def parallel(function, paths: list[Path], backend: str) -> int:
    """The same, a job a core, by joblib."""
    Parallel(n_jobs=CORES, backend=backend)(delayed(function)(path) for path in paths)
    return len(paths)


def whole_process(*arguments: str) -> tuple[float, float]:
    """Seconds and peak MB of a whole process."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=-3, stderr=-3)
    _, _, usage = os.wait4(process.pid, 0)
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def speed_table(data: Path, folder: Path, rounds: int) -> str:
    """Ratios of speed; what stands above 1 is slower than earmark."""
    paths = sorted(data.glob("audio_*/*.wav"))
    kernels = BareKernels()
    ours, one = f"earmark, {CORES} jobs", "earmark, 1 job"
    with threadpool_limits(1):
        seconds = by_turns(
            {
                ours: lambda: earmark(data, folder / "cache", CORES),
                one: lambda: earmark(data, folder / "cache", 1),
                "notebook's calls, serial": lambda: serial(notebook, paths[:: max(1, min(10, len(paths) // 2))]),
                "librosa's defaults, serial": lambda: serial(librosas_defaults, paths),
                f"librosa's defaults, {CORES} threads": lambda: parallel(librosas_defaults, paths, "threading"),
                f"librosa's defaults, {CORES} processes": lambda: parallel(librosas_defaults, paths, "loky"),
                "bare kernels, serial": lambda: serial(kernels, paths),
            },
            rounds,
        )
    shared = f"bare kernels, divided by {CORES} cores"
    seconds[shared] = [value / CORES for value in seconds["bare kernels, serial"]]
    rows = [[name, f"{1000 * min(values):.2f}", ratio(seconds, name, ours)] for name, values in seconds.items()]
    title = f"Featurizing {len(paths):,} recordings: time a clip, and times that of {ours!r}"
    return table(title, ["", "ms a clip (best)", "median (range)"], rows)


def process_table(data: Path, folder: Path) -> str:
    """Start-up and memory, as whole processes see them."""
    arguments = ["-m", "featurize", "--data", str(data), "--cache", str(folder / "cache"), "--jobs", "1"]
    base, base_mb = whole_process("-c", "import featurize.__main__, featurize.mfcc")
    again, again_mb = whole_process(*arguments)
    shutil.rmtree(folder / "cache")
    first, first_mb = whole_process(*arguments)
    rows = [
        ["imports alone", f"{base:.2f}", f"{base_mb:.0f}", ""],
        ["nothing to do", f"{again:.2f}", f"{again_mb:.0f}", f"{again_mb - base_mb:.0f}"],
        ["all to do, 1 job", f"{first:.2f}", f"{first_mb:.0f}", f"{first_mb - base_mb:.0f}"],
    ]
    return table("Whole processes", ["", "s", "peak MB", "MB above imports"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=400, help="clips at least, in steps of 400 (default: 400)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each case (default: 3)")
    parser.add_argument("--data", type=Path, help="a dataset of yours in place of the real recordings of ../shared")
    parser.add_argument(
        "--folder", type=Path, help="where to put recordings and cache (default: a temporary folder)"
    )
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        folder = Path(temporary)
        data = recordings(arguments.data, folder, arguments.clips)
        print(header("numpy", "scipy", "soxr", "librosa", "numba", "soundfile", "joblib"))
        earmark(data, folder / "cache", 1, limit=2)  # numba compiles, librosa imports: once, not in a round
        serial(notebook, sorted(data.glob("audio_*/*.wav"))[:1])
        print(speed_table(data, folder, arguments.rounds))
        print(process_table(data, folder))


if __name__ == "__main__":
    main()
