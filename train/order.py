"""The order of the clips in an epoch: random over all of them, or over a block of chunks at a time.

A store larger than memory is read from disk again in each epoch. In random order every window waits for the disk;
in blocks, the chunk files of a block are read one after another before they are needed, and random order within
the block is left. Blocks are put together anew in each epoch.

Either order is a pure function of (seed, epoch, clip) and, in blocks, of the chunk that holds the clip. So are
mixup partners: those of a block are drawn from the block.
"""

import os
from functools import lru_cache
from typing import Literal

import numpy as np

from train.draws import Purpose, below, draw

Order = Literal["random", "blocks"]
BLOCK = 16  # chunks: 131 MB of waveforms at 16 kHz
_NONE = np.zeros(0, np.int64)


class EpochOrder:
    """Orders of n clips, and their partners."""

    def __init__(self, seed: int, keys: np.ndarray, chunks: np.ndarray | None = None):
        """keys: uint64 [n], from `clip_keys`. chunks: int64 [n], that hold the clips; None for one random order."""
        self._seed, self._keys, self.n = seed, keys, len(keys)
        self._chunks = chunks
        self._epoch = lru_cache(maxsize=2)(self._of_epoch)

    def rows(self, epoch: int) -> np.ndarray:
        """The clips in the epoch's order; int64 [n]."""
        return self._epoch(epoch)[0]

    def partners(self, epoch: int, rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """A clip for each of some, from its own block.

        Args:
            rows: int64 [m]. numbers: uint64 [m], uniform.
        Returns:
            int64 [m].
        """
        if self._chunks is None:
            return below(numbers, np.full(len(rows), self.n))
        order, blocks, starts = self._epoch(epoch)
        block = blocks[rows]
        return order[starts[block] + below(numbers, starts[block + 1] - starts[block])]

    def chunks_ahead(self, epoch: int, rows: np.ndarray) -> np.ndarray:
        """The chunks to read while some clips are at work, int64: of the block after one that begins among them.

        An epoch's first clips have those of their own block too.
        """
        if self._chunks is None:
            return _NONE
        order, _, starts = self._epoch(epoch)
        begun = np.flatnonzero(np.isin(order[starts[:-1]], rows))
        wanted = {*(begun + 1), *begun[begun == 0]}
        ahead = [order[starts[block] : starts[block + 1]] for block in sorted(wanted) if block + 1 < len(starts)]
        return np.unique(self._chunks[np.concatenate(ahead)]) if ahead else _NONE

    def _of_epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The order, and, in blocks, that of each clip, where in the order each starts, and where the last ends."""
        order = np.argsort(draw(self._seed, epoch, self._keys, Purpose.ORDER))
        if self._chunks is None:
            return order, _NONE, _NONE
        distinct, which = np.unique(self._chunks, return_inverse=True)
        drawn = draw(self._seed, epoch, distinct.astype(np.uint64), Purpose.CHUNK)
        blocks = np.argsort(np.argsort(drawn, kind="stable"))[which] // BLOCK
        small = blocks.astype(np.min_scalar_type(blocks.max(initial=0)))  # sorted five times as fast
        order = order[np.argsort(small[order], kind="stable")]
        return order, blocks, np.concatenate([[0], np.cumsum(np.bincount(blocks, minlength=1))])


def fitting_order(n_bytes: int) -> Order:
    """Blocks for a store of so many bytes, if it is larger than the memory that is free."""
    return "blocks" if n_bytes > free_memory() else "random"


def free_memory() -> int:
    """Bytes of memory that can be had, pages of files that can be dropped included; all of it where none says."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":") for line in file)
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
