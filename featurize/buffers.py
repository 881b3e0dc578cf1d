"""Memory that is used again from clip to clip: each fresh page of 4 KB costs a page fault."""

from math import prod

import numpy as np


class Buffers:
    """Arrays by name, for one thread. An array is valid until its name is taken again."""

    def __init__(self):
        self._kept: dict[str, np.ndarray] = {}

    def take(self, name: str, shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
        """An array of any content, in memory that this name had before if that is large enough."""
        n_bytes = prod(shape) * np.dtype(dtype).itemsize
        if name not in self._kept or len(self._kept[name]) < n_bytes:
            self._kept[name] = np.empty(n_bytes + n_bytes // 8, np.uint8)
        return self._kept[name][:n_bytes].view(dtype).reshape(shape)
