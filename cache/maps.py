"""Memory maps of chunk files, few enough at a time for the limit on open files.

A chunk file is its array's bytes, so a map of it is the array. Each map holds a file descriptor; the least
recently used one is dropped when there are too many. Arrays that were handed out keep their own map alive.
"""

import mmap
import resource
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from threading import Lock

import numpy as np

from cache.errors import CacheError
from cache.places import require_disk


def map_limit() -> int:
    """Maps to hold at a time: a quarter of the files that the process may open, at most 1,024."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1024 if files == resource.RLIM_INFINITY else max(1, min(1024, files // 4))


class ChunkMaps:
    """Read-only arrays straight from chunk files, opened when first asked for; safe to share by threads."""

    def __init__(self, path: Callable[[int], Path], shape: tuple[int, ...], dtype, limit: int | None = None):
        """path: a chunk's file by its number. shape, dtype: of every chunk. limit: maps to hold at a time."""
        self._path, self._shape, self._dtype = path, shape, np.dtype(dtype)
        self._limit = limit or map_limit()
        self._maps: OrderedDict[int, np.ndarray] = OrderedDict()
        self._lock = Lock()

    def __getitem__(self, chunk: int) -> np.ndarray:
        """The chunk's array, read-only, of the shape given.

        Raises:
            CacheError: the chunk's file is missing, of another size, or in a bucket.
        """
        with self._lock:
            if chunk in self._maps:
                self._maps.move_to_end(chunk)
                return self._maps[chunk]
            if len(self._maps) >= self._limit:
                self._maps.popitem(last=False)
            return self._maps.setdefault(chunk, self._open(chunk))

    def _open(self, chunk: int) -> np.ndarray:
        path, expected = self._path(chunk), self._dtype.itemsize * int(np.prod(self._shape))
        require_disk(path, "be mapped")
        try:
            with open(path, "rb") as file:
                found = file.seek(0, 2)
                if found == expected:
                    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                    return np.frombuffer(mapped, self._dtype).reshape(self._shape)
        except FileNotFoundError:
            found = "no file"
        raise CacheError(
            f"{path}: chunk must have {expected} bytes, got {found}; run `python -m cache verify`, then featurize"
        )
