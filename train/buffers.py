"""Arrays that are used again once nobody holds them any more.

Fresh memory for each batch costs more than the windows in it: TensorFlow sets malloc to give large pieces back at
once, so every batch would fault its pages in anew. An array is free when its reference count says so: whoever still
reads it, a tensor that shares its memory or a view included, holds a reference. It begins at a multiple of 64
bytes, where TensorFlow and JAX take it without a copy.
"""

import sys
from math import prod
from threading import Lock

import numpy as np

_ALIGNMENT = 64  # bytes
_MOST = 32  # arrays that are kept; more are in flight only where somebody collects batches


class Buffers:
    """Hands out float32 arrays; safe to share by threads."""

    def __init__(self):
        self._arrays: list[np.ndarray] = []  # flat: views of views hold the array that they are all cut from
        self._lock = Lock()
        self._free_count = self._counts([_aligned(1)])[0]

    def take(self, shape: tuple[int, ...]) -> np.ndarray:
        """An array of the shape, its content undefined, that nobody else holds."""
        size = prod(shape)
        with self._lock:
            for place, count in enumerate(self._counts(self._arrays)):
                if count == self._free_count and self._arrays[place].size == size:
                    return self._arrays[place].reshape(shape)
            array = _aligned(size)
            if len(self._arrays) < _MOST:
                self._arrays.append(array)
            return array.reshape(shape)

    @staticmethod
    def _counts(arrays: list[np.ndarray]) -> list[int]:
        return [sys.getrefcount(array) for array in arrays]


def _aligned(size: int) -> np.ndarray:
    """A flat array that is the base of its views: what it is cut from itself is a buffer, and no array to them."""
    n_bytes = 4 * size
    memory = np.empty(n_bytes + _ALIGNMENT, np.uint8)
    first = -memory.ctypes.data % _ALIGNMENT
    return np.frombuffer(memory[first : first + n_bytes].data, np.float32)
