"""Windows: ours against a plain NumPy loop over memory maps, Zarr slices, and bare copies by NumPy.

    python benchmarks/windows.py [--clips 400] [--batches 100] [--rounds 5] [--data FOLDER]

A batch is 64 windows at random offsets: 32,000 samples, normalised, or 173 frames of 40 coefficients.
All cases cut the same windows, in this process, by turns; that they give the same numbers is checked first.

A bare copy takes what windows show from the maps and puts it into an array that is kept, nothing more: as float32,
which reads and writes the same bytes as ours, and as it is stored, which writes half of them for int16.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # this folder's own names would hide the packages

import numpy as np
import zarr

from benchmarks.ratios import Bystanders, by_turns, clocked, header, table, times
from benchmarks.recordings import recordings
from cache import MfccSpecification, RawSpecification, open_cache
from cache.storage import LocalStorage
from cache.windows.cut import FrameWindows, RawWindows, plain_plan
from cache.windows.randomness import Purpose, clip_keys, draw, random_offsets
from featurize.datasets import read_dataset
from featurize.run import run
from featurize.settings import Options

BATCH, SAMPLES, FRAMES, N_MFCC = 64, 32000, 173, 40


class Cut:
    """The cases for one kind of store: each cuts a batch of (clips, offsets)."""

    def __init__(self, store, slots: np.ndarray, windows):
        self.store, self.windows = store, windows
        self.begins, self.ends = store.start[slots], store.start[slots] + store.length[slots]
        self.array = zarr.open_array(store.storage.path("features"), mode="r")
        self.values = getattr(store, store.specification.slot_value)[slots]
        self.kept = {dtype: self.empty(dtype) for dtype in (np.dtype(np.float32), self.array.dtype)}

    def empty(self, dtype):
        return np.empty((BATCH, self.windows.length, *self.store.specification.item_shape), dtype)

    def ours(self, clips, offsets):
        return self.windows.cut(plain_plan(clips, offsets))

    def numpy_loop(self, clips, offsets, read=None):
        out = np.empty((len(clips), *self.windows.shape), np.float32)
        for row, clip, start in zip(out, clips, offsets, strict=True):
            first = self.begins[clip] + max(start, 0)
            part = (read or self.store.read)(first, min(self.begins[clip] + start + len(row), self.ends[clip]))
            row[:] = self.silence(clip)
            at = max(-start, 0)
            row[at : at + len(part)] = part.reshape(len(part), -1) * self.scale(clip)
            self.normalise(row)
        return out

    def zarr_slices(self, clips, offsets):
        return self.numpy_loop(clips, offsets, lambda start, stop: self.array[start:stop])

    def bare_copy(self, dtype):
        """A case that copies; short clips are not padded."""

        def copy(clips, offsets):
            for row, clip, start in zip(self.kept[dtype], clips, offsets, strict=True):
                first = self.begins[clip] + max(start, 0)
                part = self.store.read(first, min(self.begins[clip] + start + len(row), self.ends[clip]))
                row[: len(part)] = part

        return copy


class RawCut(Cut):
    """Raw: scaled, padded with zeros, min-max to [-0.5, 0.5]."""

    def silence(self, clip):
        return 0

    def scale(self, clip):
        return self.values[clip]

    def normalise(self, row):
        low = row.min()
        row[:] = (row - low) / (row.max() - low + np.float32(1e-6)) - np.float32(0.5)


class MfccCut(Cut):
    """MFCC: as cached, padded with the clip's silent frame."""

    def silence(self, clip):
        frame = np.zeros(N_MFCC, np.float32)
        frame[0] = self.values[clip]
        return frame

    def scale(self, clip):
        return np.float32(1)

    def normalise(self, row):
        pass


def compare(cut: Cut, names: list[str], n_batches: int, rounds: int) -> dict[str, list[float]]:
    """Seconds a batch of each case; the same batches for all."""
    keys = clip_keys(names)
    batches = []
    for number in range(n_batches):
        clips = np.argsort(draw(1, number, keys, Purpose.ORDER))[:BATCH].astype(np.int64)
        drawn = draw(1, number, keys[clips], Purpose.OFFSET)
        batches.append((clips, random_offsets(cut.windows.lengths[clips], cut.windows.length, drawn)))
    for case in (cut.numpy_loop, cut.zarr_slices):
        np.testing.assert_allclose(case(*batches[0]), cut.ours(*batches[0]), atol=1e-5)

    def timed(case, part):
        def run_all():
            for clips, offsets in batches[:part]:
                case(clips, offsets)
            return part

        return clocked(run_all)

    slow = max(1, n_batches // 20)
    return by_turns(
        {
            **{f"bare copy, {dtype}": timed(cut.bare_copy(dtype), n_batches) for dtype in cut.kept},
            "earmark": timed(cut.ours, n_batches),
            "NumPy loop over memory maps": timed(cut.numpy_loop, n_batches),
            "Zarr slices": timed(cut.zarr_slices, slow),
        },
        rounds,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=400, help="clips at least, in steps of 400 (default: 400)")
    parser.add_argument("--batches", type=int, default=100, help="batches a turn (default: 100)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each case (default: 5)")
    parser.add_argument("--data", type=Path, help="a dataset of yours in place of the real recordings of ../shared")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data = recordings(arguments.data, folder, arguments.clips)
        specifications = (RawSpecification(), MfccSpecification())
        run(read_dataset(LocalStorage(data)), LocalStorage(folder / "cache"), specifications, Options(jobs=2))
        cache = open_cache(folder / "cache")
        raw, mfcc = cache.open_store("raw"), cache.open_store("mfcc")
        clips = cache.clips[raw.length[cache.clips["slot"]] > 0]
        slots, names = clips["slot"].to_numpy(), clips["clip"].tolist()
        print(header("numpy", "numba", "zarr"))
        bystanders = Bystanders()
        for title, cut in (
            (f"{BATCH} raw windows of {SAMPLES:,} samples", RawCut(raw, slots, RawWindows(raw, slots, SAMPLES))),
            (
                f"{BATCH} MFCC windows of {FRAMES} frames",
                MfccCut(mfcc, slots, FrameWindows(mfcc, slots, FRAMES, N_MFCC)),
            ),
        ):
            seconds = compare(cut, names, arguments.batches, arguments.rounds)
            rows = times(seconds, "earmark", "batches")
            print(table(title, ["", "speed", "times earmark's time"], rows))
        print(bystanders)


if __name__ == "__main__":
    main()
