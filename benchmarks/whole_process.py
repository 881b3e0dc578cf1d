"""Seconds and peak memory of one command, measured from a process that is small itself.

    python -S -E benchmarks/whole_process.py COMMAND [ARGUMENT ...]

On Linux a process's peak counts from before its exec, when it was a copy of the process that started it: measured
from a benchmark that has libraries and recordings in memory, every command would seem as large as the benchmark.
"""

import os
import sys
import time


def main() -> None:
    silence = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_WRONLY, 0) for stream in (1, 2)]
    started = time.perf_counter()
    process = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=silence)
    _, status, usage = os.wait4(process, 0)
    seconds = time.perf_counter() - started
    print(seconds, usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10))
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
