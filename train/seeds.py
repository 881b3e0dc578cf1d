"""The seeds of a net's weights and dropout, pure functions of the run's seed: see `cache.windows.randomness`."""

import numpy as np

from cache.windows.randomness import Purpose, draw


def net_seed(seed: int, fold: int) -> int:
    """The seed of the weights of a fold's net, 0 to 2**32 - 1; every fold has its own."""
    return _seed_of(seed, fold, 0, Purpose.WEIGHTS)


def layer_seed(seed: int, layer: int) -> int:
    """The seed of the weights of one layer of a net, 0 to 2**32 - 1; seed: the net's."""
    return _seed_of(seed, layer, 1, Purpose.WEIGHTS)


def dropout_seed(seed: int, fold: int, epoch: int, layer: int) -> int:
    """The seed of one layer's dropout in one epoch of a fold, 0 to 2**32 - 1."""
    return _seed_of(seed, epoch, fold << 32 | layer, Purpose.DROPOUT)


def _seed_of(seed: int, epoch: int, key: int, purpose: Purpose) -> int:
    return int(draw(seed, epoch, np.array([key], np.uint64), purpose)[0] >> np.uint64(32))
