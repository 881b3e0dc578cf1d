"""Augmentation of training windows: what each window of a batch shows, as plain numbers.

`WindowPlan` says which stretch of which clips the windows show, how they are mixed, scaled and masked; `windows`
cuts them from the memory maps. `Augmentation` draws the plans of training batches: each number is a pure function
of (seed, epoch, clip) and of the set of clips that are trained on.

Sources: mixup: Zhang et al., "mixup: Beyond empirical risk minimization", 2018; for waveforms of equal level,
Tokozume et al., "Learning from between-class examples", 2018. Masks: Park et al., "SpecAugment", 2019.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from scipy.special import betaincinv

from train.input.randomness import Purpose, below, draw, random_offsets, unit
from train.recipe import Recipe

_TIME_MASKS = (Purpose.TIME_MASK_0, Purpose.TIME_MASK_1)
_BAND_MASKS = (Purpose.BAND_MASK_0, Purpose.BAND_MASK_1)
Numbers = Callable[[int], np.ndarray]  # from a purpose to the numbers of some clips in one epoch


@dataclass(frozen=True)
class WindowPlan:
    """What n windows show.

    Attributes:
        clips, offsets: int64 [n], each window's clip and where in it the window begins.
        partners, partner_offsets: int64 [n], the clip that is mixed into the window (mixup), and where.
        shares: float32 [n], the share of the window's own clip, above 0; 1 where nothing is mixed in.
        gains: float32 [n], dB.
        flipped: bool [n], whether the polarity is turned (raw only).
        time_masks: int64 [n, masks, 2], first and end of the samples or frames that are hidden.
        band_masks: int64 [n, masks, 2], first and end of the bands that are hidden.
    """

    clips: np.ndarray
    offsets: np.ndarray
    partners: np.ndarray
    partner_offsets: np.ndarray
    shares: np.ndarray
    gains: np.ndarray
    flipped: np.ndarray
    time_masks: np.ndarray
    band_masks: np.ndarray

    def __getitem__(self, rows: slice) -> "WindowPlan":
        """Some of the windows."""
        return WindowPlan(*(values[rows] for values in vars(self).values()))


def plain_plan(clips: np.ndarray, offsets: np.ndarray) -> WindowPlan:
    """The plan of windows without augmentation; clips, offsets: int64 [n]."""
    n = len(clips)
    ones, zeros, none = np.ones(n, np.float32), np.zeros(n, np.float32), np.zeros((n, 0, 2), np.int64)
    return WindowPlan(clips, offsets, clips, offsets, ones, zeros, np.zeros(n, bool), none, none)


class Augmentation:
    """Draws the order of the training clips in each epoch, and the plans of their windows."""

    def __init__(
        self,
        recipe: Recipe,
        seed: int,
        clips: np.ndarray,
        keys: np.ndarray,
        lengths: np.ndarray,
        shape: tuple[int, int],
        kind: str,
    ):
        """Of the clips to train on.

        Args:
            clips: int64 [n], numbers of the clips. keys: uint64 [n], from `clip_keys`. lengths: int64 [n], in
                samples or frames. shape: of a window, [time, width]. kind: of feature.
        """
        self._recipe, self._seed, self._shape = recipe, seed, shape
        self.clips, self._keys, self._lengths = clips, keys, lengths
        self._flips = recipe.polarity and kind == "raw"
        self._band_mask = recipe.band_mask if kind == "logmel" else 0.0  # MFCCs have no bands to hide
        self.order = lru_cache(maxsize=2)(self._order)

    def first_offsets(self) -> np.ndarray:
        """Where the window of each clip begins in the first epoch (with windows drawn once: in all); int64 [n]."""
        return self(0, np.arange(len(self.clips)))[0].offsets

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
        numbers = partial(draw, self._seed, epoch, self._keys[rows])
        offsets = partial(draw, self._seed, 0 if self._recipe.windows == "once" else epoch, self._keys[rows])
        partners = below(numbers(Purpose.PARTNER), len(self._keys)) if self._recipe.mixup else rows
        lengths, window = self._lengths, self._shape[0]
        return WindowPlan(
            clips=self.clips[rows],
            offsets=random_offsets(lengths[rows], window, offsets(Purpose.OFFSET)),
            partners=self.clips[partners],
            partner_offsets=random_offsets(lengths[partners], window, offsets(Purpose.PARTNER_OFFSET)),
            shares=_shares(numbers(Purpose.SHARE), self._recipe.mixup),
            gains=(self._recipe.gain * (2 * unit(numbers(Purpose.GAIN)) - 1)).astype(np.float32),
            flipped=(unit(numbers(Purpose.POLARITY)) < 0.5) & self._flips,
            time_masks=_masks(numbers, len(rows), _TIME_MASKS, self._recipe.time_mask, window),
            band_masks=_masks(numbers, len(rows), _BAND_MASKS, self._band_mask, self._shape[1]),
        ), partners


def _shares(numbers: np.ndarray, mixup: float) -> np.ndarray:
    """Shares from Beta(mixup, mixup), by its inverse, or 1 less them: a window's own share is at least one half."""
    shares = betaincinv(mixup, mixup, unit(numbers)) if mixup else np.ones(len(numbers))
    return np.maximum(shares, 1 - shares).astype(np.float32)


def _masks(numbers: Numbers, n: int, purposes: tuple[Purpose, ...], largest: float, length: int) -> np.ndarray:
    """Stretches of 0 to largest * length elements, anywhere inside; int64 [n, masks, 2]."""
    most = int(largest * length)
    if not most:
        return np.zeros((n, 0, 2), np.int64)
    masks = []
    for purpose in purposes:
        widths = below(numbers(purpose), most + 1)
        firsts = below(numbers(purpose + 1), length - widths + 1)
        masks.append(np.stack([firsts, firsts + widths], axis=1))
    return np.stack(masks, axis=1)
