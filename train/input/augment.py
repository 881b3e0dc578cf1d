"""Augmentation of training windows: the numbers of each epoch's windows, drawn as `WindowPlan`s.

Each number is a pure function of (seed, epoch, clip) and of the set of clips that are trained on.

Sources: mixup: Zhang et al., "mixup: Beyond empirical risk minimization", 2018; for waveforms of equal level,
Tokozume et al., "Learning from between-class examples", 2018. Masks: Park et al., "SpecAugment", 2019.
"""

from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
from scipy.special import betaincinv

from cache.windows.cut import WindowPlan, Windows
from cache.windows.randomness import Purpose, below, draw, random_offsets, unit
from train.recipe import Recipe

_Numbers = Callable[[int], np.ndarray]  # from a purpose to the numbers of some clips in one epoch


class Augmentation:
    """Draws the order of the training clips in each epoch, and the plans of their windows."""

    def __init__(self, recipe: Recipe, seed: int, windows: Windows, clips: np.ndarray, keys: np.ndarray):
        """clips: int64 [n], numbers of the clips to train on. keys: uint64 [n], from `clip_keys`."""
        self._recipe, self._seed, self._shape = recipe, seed, windows.shape
        self._clips, self._keys, self._lengths = clips, keys, windows.lengths[clips]
        self._flips = recipe.polarity and windows.kind == "raw"
        self._band_mask = recipe.band_mask if windows.kind == "logmel" else 0.0  # MFCCs have no bands to hide
        self.order = lru_cache(maxsize=2)(self._order)

    def first_offsets(self) -> np.ndarray:
        """Where the window of each clip begins in the first epoch (with windows drawn once: in all); int64 [n]."""
        return self(0, np.arange(len(self._clips)))[0].offsets

    def _order(self, epoch: int) -> np.ndarray:
        """The clips in the random order of an epoch, as rows of those that are trained on; int64 [n]."""
        return np.argsort(draw(self._seed, epoch, self._keys, Purpose.ORDER))

    def __call__(self, epoch: int, rows: np.ndarray) -> tuple[WindowPlan, np.ndarray]:
        """Plan the windows of some of the clips in an epoch.

        Args:
            rows: int64 [batch], of the clips that are trained on.
        Returns:
            The plan, and the rows of the partners, int64 [batch]; a clip without a partner has its own row.
        """
        recipe, lengths, (window, width) = self._recipe, self._lengths, self._shape
        numbers = partial(draw, self._seed, epoch, self._keys[rows])
        cutting = partial(draw, self._seed, 0 if recipe.windows == "once" else epoch, self._keys[rows])
        partners = below(numbers(Purpose.PARTNER), len(self._keys)) if recipe.mixup else rows
        return WindowPlan(
            clips=self._clips[rows],
            offsets=random_offsets(lengths[rows], window, cutting(Purpose.OFFSET)),
            partners=self._clips[partners],
            partner_offsets=random_offsets(lengths[partners], window, cutting(Purpose.PARTNER_OFFSET)),
            shares=_shares(numbers(Purpose.SHARE), recipe.mixup),
            gains=(recipe.gain * (2 * unit(numbers(Purpose.GAIN)) - 1)).astype(np.float32),
            flipped=(unit(numbers(Purpose.POLARITY)) < 0.5) & self._flips,
            time_masks=_masks(numbers, len(rows), Purpose.TIME_MASK, recipe.time_mask, window),
            band_masks=_masks(numbers, len(rows), Purpose.BAND_MASK, self._band_mask, width),
        ), partners


def _shares(numbers: np.ndarray, mixup: float) -> np.ndarray:
    """Shares from Beta(mixup, mixup), by its inverse, or 1 less them: a window's own share is at least one half."""
    shares = betaincinv(mixup, mixup, unit(numbers)) if mixup else np.ones(len(numbers))
    return np.maximum(shares, 1 - shares).astype(np.float32)


def _masks(numbers: _Numbers, n: int, purpose: int, largest: float, length: int) -> np.ndarray:
    """Two stretches of 0 to largest * length elements, anywhere inside; int64 [n, 2, 2], or [n, 0, 2] for none."""
    most = int(largest * length)
    masks = np.zeros((n, 2 if most else 0, 2), np.int64)
    for i in range(masks.shape[1]):
        widths = below(numbers(purpose + 2 * i), most + 1)
        masks[:, i, 0] = below(numbers(purpose + 2 * i + 1), length - widths + 1)
        masks[:, i, 1] = masks[:, i, 0] + widths
    return masks
