"""Random numbers that are a pure function of (seed, epoch, clip, purpose), and the offsets of windows.

Nothing here has a state, so batch size, worker threads and prefetching cannot change what a clip gets. A clip is
known by the hash of its name, so its place in a table, a fold or a store does not matter either.

An offset is where a window begins, in samples or frames from the clip's beginning. The valid offsets of a clip of
`length` are 0 to length - window. A clip shorter than the window lies inside it with silence around, so its offsets
are negative: length - window to 0, and `-offset` silent elements come before the clip.

Source: the finaliser of splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
2014), chained over the four values.
"""

from collections.abc import Iterable
from enum import IntEnum

import numpy as np
import xxhash


class Purpose(IntEnum):
    """What a number is drawn for; numbers drawn for different purposes are independent."""

    ORDER = 1
    OFFSET = 2
    WEIGHTS = 3
    DROPOUT = 4
    PARTNER = 5
    PARTNER_OFFSET = 6
    SHARE = 7
    GAIN = 8
    POLARITY = 9
    TIME_MASK = 10  # to 13: width and first element of two masks
    BAND_MASK = 14  # to 17: likewise


def clip_keys(names: Iterable[str]) -> np.ndarray:
    """A number for each clip that depends on its name alone; uint64 [clips]."""
    return np.array([xxhash.xxh3_64_intdigest(name.encode()) for name in names], np.uint64)


def draw(seed: int, epoch: int, keys: np.ndarray, purpose: int) -> np.ndarray:
    """One uniform 64-bit number for each clip; uint64 [clips].

    Args:
        seed, epoch: 0 to 2**64 - 1. keys: uint64 [clips], from `clip_keys`. purpose: one of `Purpose`.
    """
    state = np.zeros(1, np.uint64)
    for value in (seed, epoch, purpose):
        state = _mix(state ^ np.uint64(value))
    return _mix(keys ^ state)


def unit(numbers: np.ndarray) -> np.ndarray:
    """Turn 64-bit numbers into float64 uniform over [0, 1), in steps of 2**-53, which is exact."""
    return (numbers >> np.uint64(11)) * 2.0**-53


def below(numbers: np.ndarray, counts: np.ndarray | int) -> np.ndarray:
    """Turn 64-bit numbers into integers uniform over 0 ... count - 1; int64 [clips].

    A count, one for each clip or one for all, is 1 to 2**53; a value's probability is off by at most 2**-53.
    """
    return (unit(numbers) * counts).astype(np.int64)  # (1 - 2**-53) * count still rounds to below count


def random_offsets(lengths: np.ndarray, window: int, numbers: np.ndarray) -> np.ndarray:
    """One offset for each clip, uniform over every valid one, the last included; int64 [clips].

    Args:
        lengths: int64 [clips], in samples or frames, as window is. numbers: uint64 [clips], uniform.
    """
    span = lengths - window
    return np.minimum(span, 0) + below(numbers, np.abs(span) + 1)


def crop_counts(lengths: np.ndarray, window: int, crops: int) -> np.ndarray:
    """Crops of each clip that differ: `crops`, or fewer where the clip has fewer valid offsets; int64 [clips]."""
    return np.clip(lengths - window + 1, 1, crops)


def crop_offsets(lengths: np.ndarray, window: int, counts: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Offsets of evenly spaced crops, both ends included; a single crop is the middle, a short clip is centred.

    Args:
        lengths: int64 [n], of the clip that each crop belongs to. counts: int64 [n], crops of that clip, from
            `crop_counts`. which: int64 [n], the crop's number among them.
    Returns:
        int64 [n], in samples or frames, as lengths are.
    """
    span = lengths - window
    middle = np.sign(span) * (np.abs(span) // 2)
    return np.where(counts == 1, middle, which * span // np.maximum(counts - 1, 1))


def _mix(z: np.ndarray) -> np.ndarray:
    z = z + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
