"""Decodes recordings as a job does, in a process that may die of it; a script.

Paths come on standard input, and a line of what became of each goes out. A recording that takes too long ends the
process by SIGALRM; memory is limited to a gigabyte more than the libraries take.
"""

import os
import resource
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile as sf

from cache.layout import chunks_per_slot
from cache.specification import LogmelSpecification, MfccSpecification, RawSpecification
from cache.storage import open_storage
from featurize.decode import DecodeError, Recording, read_header
from featurize.job import Job, Slot, Target, run_job

SPECIFICATIONS = (
    RawSpecification(100),
    RawSpecification(1000, "float32"),
    MfccSpecification(4, 2000),
    LogmelSpecification(8, 2000),
)
SECONDS = 20
MEMORY_BYTES = 1 << 30


def decoded(path):
    """Samples that the public functions give, checked; -1 for a recording that they refuse."""
    header = read_header(path)
    try:
        n_samples = 0
        with Recording(path, header) as recording:
            for block in recording.blocks():
                assert block.dtype == np.float32 and block.ndim == 1 and np.isfinite(block).all()
                n_samples += len(block)
    except (DecodeError, OSError) as error:
        assert "\n" not in str(error)
        return header, -1
    assert n_samples <= header.native_samples
    return header, n_samples


def featurized(path, header, folder):
    """Run a job on it; the statuses. Nothing is written outside its stores, nothing beyond what was filled."""
    plan = pd.DataFrame({"native_samples": [header.native_samples], "native_rate": [header.native_rate]})
    stat = path.stat()
    slot = Slot(0, path.name, stat.st_size, stat.st_mtime_ns, "", header)
    targets = tuple(Target(open_storage(folder / s.name), s, {0: 0}) for s in SPECIFICATIONS)
    receipts = run_job(Job(0, int(chunks_per_slot(plan)[0]), open_storage(path.parent), (slot,), targets))
    for target, receipt in zip(targets, receipts, strict=True):
        result, s = receipt.slots[0], target.specification
        assert result.length <= s.capacity(header.native_samples, header.native_rate), "beyond its capacity"
        assert np.isfinite(result.value), "a value that is not finite"
        chunks = sorted((target.store.path("features/c")).rglob("*"), key=lambda chunk: str(chunk.parent))
        data = b"".join(chunk.read_bytes() for chunk in chunks if chunk.is_file())
        features = np.frombuffer(data, s.dtype).reshape(-1, *s.item_shape)
        assert np.isfinite(features).all(), "features that are not finite"
    stores = {target.store.path() for target in targets}
    ours = stores | {store.with_suffix(".receipts") for store in stores}
    assert set(folder.iterdir()) == ours, "something outside the stores"
    return " ".join(receipt.slots[0].status.name for receipt in receipts)


def warm_up():
    """Let the libraries take the memory that they keep."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.wav"
        sf.write(path, np.ones(100), 1000)
        featurized(path, decoded(path)[0], Path(folder) / "stores")


def main():
    warm_up()
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY_BYTES, taken + MEMORY_BYTES))
    for line in sys.stdin:
        path = Path(line.rstrip("\n"))
        signal.alarm(SECONDS)
        before, folder = sorted(os.listdir(path.parent)), path.parent / "stores"
        try:
            header, n_samples = decoded(path)
            said = f"{n_samples} samples, {featurized(path, header, folder)}"
        except BaseException as error:
            said = f"bad: {error!r} {header if 'header' in dir() else ''}"
        shutil.rmtree(folder, ignore_errors=True)
        if sorted(os.listdir(path.parent)) != before:
            said = "bad: wrote beside the recording"
        signal.alarm(0)
        print(said.replace("\n", " "), flush=True)


if __name__ == "__main__":
    main()
