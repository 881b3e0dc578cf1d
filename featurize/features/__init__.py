"""The kinds of features: the one list, and what each kind is computed from.

A kind is a module with these names; a new kind is one such file and one line in `KINDS` (and what a store of it
holds, in `cache.specification`):

    value(specification, largest)            the number that is stored for the clip, beside its features
    features(specification, block, largest)  a block's features as they are stored, along time

A block is mel power of frames where the specification has n_mels, else waveform; largest is the greatest magnitude
in all blocks of the clip. So a clip is gone through twice: once for its largest number, once for its features.
"""

from collections.abc import Iterable, Iterator
from types import ModuleType

import numpy as np

from cache.specification import Specification
from featurize.features import logmel, mfcc, raw
from featurize.features.mel import HOP, N_FFT, MelFrames
from featurize.resample import Resampler

KINDS: dict[str, ModuleType] = {"raw": raw, "mfcc": mfcc, "logmel": logmel}


def kind_of(specification: Specification) -> ModuleType:
    """The module that computes a specification's features.

    Raises:
        ValueError: frames of a length or distance that `mel_power` does not compute.
    """
    if _n_mels(specification) and (specification.n_fft, specification.hop_length) != (N_FFT, HOP):
        found = f"{specification.n_fft} and {specification.hop_length}"
        raise ValueError(f"{specification.name}: n_fft and hop_length must be {N_FFT} and {HOP}, got {found}")
    return KINDS[specification.kind]


def largest(block: np.ndarray) -> float:
    """The greatest magnitude in a block, 0 for one without elements, NaN for one with NaN."""
    return float(max(block.max(), -block.min())) if block.size else 0.0


def inputs(
    blocks: Iterable[np.ndarray], native_rate: int, specifications: Iterable[Specification]
) -> Iterator[tuple[Specification, np.ndarray]]:
    """Turn a clip's samples, in one pass, into what the features of each specification are computed from.

    Args:
        blocks: float32 [n] each, trimmed already. native_rate: Hz.
    Yields:
        a specification and its next block: float32 [n], or [frames, n_mels].
    """
    by_rate: dict[int, list[Specification]] = {}
    for specification in specifications:
        by_rate.setdefault(specification.sample_rate, []).append(specification)
    banks = {rate: sorted({*map(_n_mels, alike)} - {0}) for rate, alike in by_rate.items()}
    resamplers = {rate: Resampler(native_rate, rate) for rate in by_rate}
    frames = {rate: MelFrames(rate, banks[rate]) for rate in by_rate if banks[rate]}
    for block, is_last in _with_end(blocks):
        for rate, alike in by_rate.items():
            waveform = resamplers[rate].push(block, is_last)
            found = {0: waveform}
            if banks[rate]:
                mel = frames[rate].push(waveform, is_last)
                found |= zip(banks[rate], np.split(mel, np.cumsum(banks[rate])[:-1], axis=1), strict=True)
            for specification in alike:
                yield specification, found[_n_mels(specification)]


def _n_mels(specification: Specification) -> int:
    return getattr(specification, "n_mels", 0)


def _with_end(blocks: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, bool]]:
    """Blocks, and whether each is the last."""
    blocks = iter(blocks)
    block = next(blocks, None)
    while block is not None:
        following = next(blocks, None)
        yield block, following is None
        block = following
