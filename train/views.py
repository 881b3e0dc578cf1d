"""What a batch of windows shows, as plain numbers: which stretch of which clips, mixed, scaled and masked how.

`Views` is the plan of a batch; `windows` cuts it from the memory maps. `TrainingViews` draws the plans of training
batches: each number of a clip is a pure function of (seed, epoch, clip), and of the clips that are trained on.

Sources: mixup: Zhang et al., "mixup: Beyond empirical risk minimization", 2018; for waveforms of equal level,
Tokozume et al., "Learning from between-class examples", 2018. Masks: Park et al., "SpecAugment", 2019.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv

from train.draws import Purpose, below, draw, unit
from train.order import EpochOrder
from train.recipe import Recipe
from train.starts import random_starts

_TIME_MASKS = (Purpose.TIME_MASK_0, Purpose.TIME_MASK_1)
_BAND_MASKS = (Purpose.BAND_MASK_0, Purpose.BAND_MASK_1)


@dataclass(frozen=True)
class Views:
    """The plan of n windows.

    clips, starts: int64 [n], what a window shows. partners, partner_starts: int64 [n], what is mixed into it.
    shares: float32 [n], the window's own share, above 0; 1 where nothing is mixed in. gains: float32 [n], dB.
    flipped: bool [n], upside down (raw). time_masks: int64 [n, masks, 2], first and end of what is hidden.
    band_masks: likewise, of coefficients.
    """

    clips: np.ndarray
    starts: np.ndarray
    partners: np.ndarray
    partner_starts: np.ndarray
    shares: np.ndarray
    gains: np.ndarray
    flipped: np.ndarray
    time_masks: np.ndarray
    band_masks: np.ndarray

    def __getitem__(self, rows: slice) -> "Views":
        """Some of the windows."""
        return Views(*(values[rows] for values in vars(self).values()))


def plain_views(clips: np.ndarray, starts: np.ndarray) -> Views:
    """Views of some clips as they are; clips, starts: int64 [n]."""
    n = len(clips)
    ones, zeros, none = np.ones(n, np.float32), np.zeros(n, np.float32), np.zeros((n, 0, 2), np.int64)
    return Views(clips, starts, clips, starts, ones, zeros, np.zeros(n, bool), none, none)


class TrainingViews:
    """Draws the views of training windows."""

    def __init__(
        self,
        recipe: Recipe,
        seed: int,
        clips: np.ndarray,
        keys: np.ndarray,
        lengths: np.ndarray,
        shape: tuple[int, int],
        kind: str,
        chunks: np.ndarray | None = None,
    ):
        """Of the clips to train on.

        Args:
            clips: int64 [n], their numbers. keys: uint64 [n], from `clip_keys`. lengths: int64 [n], in samples or
                frames. shape: of a window, [time, width]. kind: of feature. chunks: int64 [n], that hold the clips,
                to go through in blocks; None for one random order.
        """
        self._recipe, self._seed, self._shape = recipe, seed, shape
        self.order = EpochOrder(seed, keys, chunks)
        self._clips, self._keys, self._lengths = clips, keys, lengths
        self._flips = recipe.polarity and kind == "raw"
        self._band_mask = recipe.band_mask if kind == "logmel" else 0.0  # MFCCs have no bands to hide

    def __call__(self, epoch: int, rows: np.ndarray) -> tuple[Views, np.ndarray]:
        """Views of some of the clips in an epoch.

        Args:
            rows: int64 [batch], of the clips that are trained on.
        Returns:
            The views, and the rows of their partners, int64 [batch]; its own where a clip has none.
        """
        numbers = _Numbers(self._seed, epoch, self._keys[rows])
        starts = _Numbers(self._seed, 0 if self._recipe.windows == "once" else epoch, self._keys[rows])
        partners = self.order.partners(epoch, rows, numbers(Purpose.PARTNER)) if self._recipe.mixup else rows
        return Views(
            clips=self._clips[rows],
            starts=random_starts(self._lengths[rows], self._shape[0], starts(Purpose.START)),
            partners=self._clips[partners],
            partner_starts=random_starts(self._lengths[partners], self._shape[0], starts(Purpose.PARTNER_START)),
            shares=self._shares(numbers),
            gains=(self._recipe.gain * (2 * unit(numbers(Purpose.GAIN)) - 1)).astype(np.float32),
            flipped=(unit(numbers(Purpose.POLARITY)) < 0.5) & self._flips,
            time_masks=_masks(numbers, _TIME_MASKS, self._recipe.time_mask, self._shape[0]),
            band_masks=_masks(numbers, _BAND_MASKS, self._band_mask, self._shape[1]),
        ), partners

    def _shares(self, numbers: "_Numbers") -> np.ndarray:
        """From Beta(a, a) by its inverse, the greater side of it: a window's own share is at least one half."""
        if not self._recipe.mixup:
            return np.ones(numbers.n, np.float32)
        shares = betaincinv(self._recipe.mixup, self._recipe.mixup, unit(numbers(Purpose.SHARE)))
        return np.maximum(shares, 1 - shares).astype(np.float32)


class _Numbers:
    """The numbers of some clips in one epoch, by purpose."""

    def __init__(self, seed: int, epoch: int, keys: np.ndarray):
        self._seed, self._epoch, self._keys, self.n = seed, epoch, keys, len(keys)

    def __call__(self, purpose: int) -> np.ndarray:
        return draw(self._seed, self._epoch, self._keys, purpose)


def _masks(numbers: _Numbers, purposes: tuple[Purpose, ...], largest: float, length: int) -> np.ndarray:
    """Stretches of 0 to largest * length elements, anywhere inside; int64 [n, masks, 2]."""
    most = int(largest * length)
    if not most:
        return np.zeros((numbers.n, 0, 2), np.int64)
    masks = []
    for purpose in purposes:
        widths = below(numbers(purpose), np.full(numbers.n, most + 1))
        firsts = below(numbers(purpose + 1), length - widths + 1)
        masks.append(np.stack([firsts, firsts + widths], axis=1))
    return np.stack(masks, axis=1)
