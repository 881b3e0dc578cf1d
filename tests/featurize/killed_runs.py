"""Runs that stop themselves with SIGKILL; a script, so that each run is a fork of a process without threads.

    python killed_runs.py writes DATA FOLDER STEP     at every STEP-th write
    python killed_runs.py moments DATA FOLDER N SEED  at N random moments
    python killed_runs.py compact DATA FOLDER CACHE STEP   a compaction of CACHE, at every STEP-th write

After each kill the run is repeated to its end and its files are compared with an unbroken run's. Prints the number
of kills, or the first difference and exits with 1.
"""

import os
import random
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np

from cache import open_cache
from cache.compact import compact, plan_compaction
from cache.specification import MfccSpecification, RawSpecification
from cache.storage import open_storage
from cache.writer import writing
from featurize.datasets import read_dataset
from featurize.features.mfcc import mfcc
from featurize.run import run
from featurize.settings import Options

SPECIFICATIONS = (RawSpecification(sample_rate=100), MfccSpecification(n_mfcc=4, sample_rate=2000))
WRITES = {"os.rename", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree"}


def featurize(data, cache):
    run(read_dataset(open_storage(data)), open_storage(cache), SPECIFICATIONS, Options(jobs=2))


def kill_at_write(n):
    """Stop this process at its n-th write: a file opened for writing, renamed or removed."""
    left = [n]

    def hook(event, args):
        opens = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
        if opens or event in WRITES:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def kill_after(seconds):
    timer = threading.Timer(seconds, lambda: os.kill(os.getpid(), signal.SIGKILL))
    timer.daemon = True
    timer.start()


def forked(function, *args):
    """Run function in a fork; whether it was killed."""
    pid = os.fork()
    if pid == 0:
        try:
            function(*args)
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return True
    if os.WEXITSTATUS(status):
        sys.exit("a run failed")
    return False


def killed_and_repeated(data, cache, kill, argument):
    shutil.rmtree(cache, ignore_errors=True)

    def broken():
        kill(argument)
        featurize(data, cache)

    killed = forked(broken)
    forked(featurize, data, cache)
    return killed


def files(cache):
    paths = (Path(root) / name for root, _, names in os.walk(cache) for name in names)
    return {str(p.relative_to(cache)): p.read_bytes() for p in paths if not p.name.startswith("writer.")}


def compare(expected, cache, what):
    found = files(cache)
    for name in expected.keys() | found.keys():
        if expected.get(name) != found.get(name):
            sys.exit(f"after a kill at {what}: {name} differs")


def compacted(cache):
    with writing(cache):
        compaction = plan_compaction(open_cache(cache))
        if compaction.bytes_after < compaction.bytes_before:
            compact(compaction)


def killed_compactions(data, folder, cache, step):
    """Kill compactions of copies of a cache; the next command is featurize every other time."""
    shutil.copytree(cache, folder / "unbroken")
    forked(compacted, folder / "unbroken")
    expected, copy, n_kills = files(folder / "unbroken"), folder / "killed", 0

    def broken():
        kill_at_write(n_kills * step + 1)
        compacted(copy)

    while True:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(cache, copy)
        if not forked(broken):
            return n_kills
        n_kills += 1
        if n_kills % 2:
            forked(featurize, data, copy)
        forked(compacted, copy)
        compare(expected, copy, f"write {(n_kills - 1) * step + 1}")


def main(mode, data, folder, *numbers):
    data, folder = Path(data), Path(folder)
    if mode == "compact":
        print(killed_compactions(data, folder, Path(numbers[0]), int(numbers[1])))
        return
    mfcc(np.zeros(100, np.float32), 2000, 4)  # compile the kernel before the forks
    started = time.monotonic()
    forked(featurize, data, folder / "unbroken")
    seconds = time.monotonic() - started
    expected = files(folder / "unbroken")
    n_kills, cache = 0, folder / "killed"
    if mode == "writes":
        step = int(numbers[0])
        while killed_and_repeated(data, cache, kill_at_write, n_kills * step + 1):
            compare(expected, cache, f"write {n_kills * step + 1}")
            n_kills += 1
    else:
        dice = random.Random(int(numbers[1]))
        for _ in range(int(numbers[0])):
            moment = dice.uniform(0, seconds)
            n_kills += killed_and_repeated(data, cache, kill_after, moment)
            compare(expected, cache, f"{moment:.4f} s")
    print(n_kills)


if __name__ == "__main__":
    main(*sys.argv[1:])
