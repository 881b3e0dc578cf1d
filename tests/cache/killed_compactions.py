"""Compactions that stop themselves with SIGKILL; a script, so that each is a fork of a process without threads.

    python killed_compactions.py CACHE FOLDER STEP    at the n-th write, for every STEP-th n

After each kill the compaction is repeated to its end and its files are compared with an unbroken one's. Prints the
number of kills, or the first difference and exits with 1.
"""

import os
import shutil
import signal
import sys
from pathlib import Path

from cache.__main__ import COMMANDS

WRITES = {"os.rename", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree"}


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


def compact(cache, n=0):
    """Compact in a fork, to be killed at its n-th write unless 0; whether it was killed."""
    pid = os.fork()
    if pid == 0:
        try:
            sys.stdout = sys.stderr
            if n:
                kill_at_write(n)
            COMMANDS["compact"](cache=str(cache))
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return True
    if os.WEXITSTATUS(status):
        sys.exit("a compaction failed")
    return False


def files(cache):
    paths = (Path(root) / name for root, _, names in os.walk(cache) for name in names)
    return {str(p.relative_to(cache)): p.read_bytes() for p in paths if not p.name.startswith("writer.")}


def main(cache, folder, step):
    """Kill compactions of copies of a cache."""
    shutil.copytree(cache, folder / "unbroken")
    compact(folder / "unbroken")
    expected, copy, n_kills = files(folder / "unbroken"), folder / "killed", 0
    while True:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(cache, copy)
        if not compact(copy, n_kills * step + 1):
            print(n_kills)
            return
        n_kills += 1
        compact(copy)
        found = files(copy)
        for name in expected.keys() | found.keys():
            if expected.get(name) != found.get(name):
                sys.exit(f"after a kill at write {(n_kills - 1) * step + 1}: {name} differs")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
