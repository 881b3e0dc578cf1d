"""The recordings of a dataset as planning sees them: a look at each file, headers, digests.

Many files at a time and as arrays, so that a million clips are planned without a million objects. `Work` and
`scan` take any object with these three methods.
"""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from featurize.decode import digest, read_header

ABSENT = -1  # the size and the time of a file that cannot be seen
UNREADABLE = -1  # the rate of a file that cannot be read
_READERS = 8  # threads that read headers: they wait for the disk more than for the processor
_BATCH = 256  # headers that a thread reads at a time


class Recordings:
    """The files below a dataset's folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def look(self, files: pd.Series) -> np.ndarray:
        """Bytes and modification time (ns) of each file, ABSENT where it cannot be seen; int64 [2, files]."""
        return _pairs([_look(f"{self.folder}/{file}") for file in files])

    def headers(self, files: pd.Series) -> np.ndarray:
        """Rate (Hz) and samples per channel of each file, 0 and 0 where it is no recording; int64 [2, files].

        The rate of a file that cannot be read is UNREADABLE.
        """
        batches = [files.iloc[first : first + _BATCH].tolist() for first in range(0, len(files), _BATCH)]
        with ThreadPoolExecutor(_READERS) as pool:
            return np.concatenate([_pairs([]), *pool.map(self._headers, batches)], axis=1)

    def digest(self, file: str) -> str:
        """The xxh3-128 of a file's bytes.

        Raises:
            OSError: the file cannot be read.
        """
        return digest(self.folder / file)

    def _headers(self, files: list[str]) -> np.ndarray:
        return _pairs([_header(self.folder / file) for file in files])


def _look(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return ABSENT, ABSENT
    # A folder or a pipe of a clip's name is no recording; to open a pipe would wait for ever.
    return (found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else (ABSENT, ABSENT)


def _header(path: Path) -> tuple[int, int]:
    if not path.is_file():
        return UNREADABLE, 0
    try:
        header = read_header(path)
    except OSError:
        return UNREADABLE, 0
    return header.native_rate, header.native_samples


def _pairs(pairs: list[tuple[int, int]]) -> np.ndarray:
    return np.array(pairs, np.int64).reshape(-1, 2).T
