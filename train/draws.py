"""Random numbers that are a pure function of (seed, epoch, clip, purpose).

Nothing here has a state, so it does not matter who asks, when, in which order or how often: batch size, worker
threads and reading ahead cannot change what a clip gets. A clip is known by the hash of its name, so neither its
place in a table, in a fold nor in a store changes it either.

Source: the finaliser of splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
2014), chained over the four values.
"""

from collections.abc import Iterable
from enum import IntEnum

import numpy as np
import pyarrow as pa
import xxhash


class Purpose(IntEnum):
    """What a number is drawn for; numbers drawn for different purposes are independent."""

    ORDER = 1
    START = 2
    WEIGHTS = 3
    DROPOUT = 4
    PARTNER = 5
    PARTNER_START = 6
    SHARE = 7
    GAIN = 8
    POLARITY = 9
    TIME_MASK_0 = 10
    TIME_MASK_0_START = 11
    TIME_MASK_1 = 12
    TIME_MASK_1_START = 13
    BAND_MASK_0 = 14
    BAND_MASK_0_START = 15
    BAND_MASK_1 = 16
    BAND_MASK_1_START = 17
    CHUNK = 18


def clip_keys(names: Iterable[str]) -> np.ndarray:
    """A number for each clip that depends on its name alone; uint64 [clips]."""
    encoded = pa.array(names, pa.large_string()).cast(pa.large_binary()).to_pylist()
    return np.fromiter(map(xxhash.xxh3_64_intdigest, encoded), np.uint64, len(encoded))


def draw(seed: int, epoch: int, keys: np.ndarray, purpose: int) -> np.ndarray:
    """One uniform 64-bit number for each clip.

    Args:
        seed, epoch: 0 to 2**64 - 1.
        keys: uint64 [clips], from `clip_keys`.
        purpose: one of `Purpose`.
    Returns:
        uint64 [clips].
    """
    state = np.zeros(1, np.uint64)
    for value in (seed, epoch, purpose):
        state = _mix(state ^ np.uint64(value))
    return _mix(keys ^ state)


def unit(numbers: np.ndarray) -> np.ndarray:
    """Turn 64-bit numbers into float64 uniform over [0, 1), in steps of 2**-53, which is exact."""
    return (numbers >> np.uint64(11)) * 2.0**-53


def below(numbers: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Turn 64-bit numbers into integers uniform over 0 ... count - 1.

    Args:
        numbers: uint64 [clips]. counts: int64 [clips], 1 to 2**53.
    Returns:
        int64 [clips]; a value's probability is off by at most 2**-53.
    """
    return (unit(numbers) * counts).astype(np.int64)  # (1 - 2**-53) * count still rounds to below count


def net_seed(seed: int, fold: int) -> int:
    """The seed of a fold's weights: one of its own for each fold, 0 to 2**32 - 1."""
    return _seed_of(seed, fold, 0, Purpose.WEIGHTS)


def layer_seed(seed: int, layer: int) -> int:
    """The seed of one layer's weights in a net, 0 to 2**32 - 1; seed: the net's."""
    return _seed_of(seed, layer, 1, Purpose.WEIGHTS)


def dropout_seed(seed: int, fold: int, epoch: int, layer: int) -> int:
    """The seed of one layer's dropout in one epoch of a fold, 0 to 2**32 - 1."""
    return _seed_of(seed, epoch, fold << 32 | layer, Purpose.DROPOUT)


def _seed_of(seed: int, epoch: int, key: int, purpose: Purpose) -> int:
    return int(draw(seed, epoch, np.array([key], np.uint64), purpose)[0] >> np.uint64(32))


def _mix(z: np.ndarray) -> np.ndarray:
    z = z + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
