"""The kinds of features: the one list, and what each kind is computed from.

A kind is a module with these names; a new kind is one such file and one line in `KINDS` (and what a store of it
holds, in `cache.specification`):

    INPUT                                   "waveform", or "mel": mel power of frames
    largest(block)                          a number that the whole clip's features depend on; the clip's is the
                                            largest of its blocks', 0 for a block without elements
    value(specification, largest)           the number that is stored for the clip, beside its features
    features(specification, block, largest) a block's features as they are stored, along time

So a clip is gone through twice: once for its largest number, once for its features. A short clip is one block in
memory; a long one is decoded again. Both give the same bytes.
"""

from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import NamedTuple

import numpy as np

from cache.specification import Specification
from featurize.features import logmel, mfcc, raw
from featurize.features.mel import HOP, N_FFT, MelFrames
from featurize.resample import Resampler

KINDS: dict[str, ModuleType] = {"raw": raw, "mfcc": mfcc, "logmel": logmel}


class Need(NamedTuple):
    """What a specification's features are computed from: mel power of frames, or the waveform where n_mels is 0."""

    trim_db: float | None
    sample_rate: int
    n_mels: int = 0


def need_of(specification: Specification) -> Need:
    """What a specification's features are computed from.

    Raises:
        ValueError: frames of a length or distance that `mel_power` does not compute.
    """
    if KINDS[specification.kind].INPUT == "waveform":
        return Need(specification.trim_db, specification.sample_rate)
    if (specification.n_fft, specification.hop_length) != (N_FFT, HOP):
        found = f"{specification.n_fft} and {specification.hop_length}"
        raise ValueError(f"{specification.name}: n_fft and hop_length must be {N_FFT} and {HOP}, got {found}")
    return Need(specification.trim_db, specification.sample_rate, specification.n_mels)


def inputs(
    blocks: Iterable[np.ndarray], native_rate: int, needs: Iterable[Need], is_whole: bool = False
) -> Iterator[tuple[Need, np.ndarray]]:
    """Turn a clip's samples, in one pass, into what features are computed from.

    Args:
        blocks: float32 [n] each. native_rate: Hz. needs: of one trim_db, by which the blocks are trimmed already.
        is_whole: there is one block, the whole clip.
    Yields:
        a need and its next block: float32 [n], or [frames, n_mels].
    """
    by_rate: dict[int, list[Need]] = {}
    for need in sorted(set(needs)):
        by_rate.setdefault(need.sample_rate, []).append(need)
    resamplers = {rate: Resampler(native_rate, rate) for rate in by_rate}
    banks = {rate: tuple(need.n_mels for need in wanted if need.n_mels) for rate, wanted in by_rate.items()}
    frames = {rate: MelFrames(rate, banks[rate]) for rate in by_rate if banks[rate]}
    for block, is_last in _with_end(blocks, is_whole):
        for rate, wanted in by_rate.items():
            waveform = resamplers[rate].push(block, is_last)
            if banks[rate]:
                mel = frames[rate].push(waveform, is_last)
            begin = 0
            for need in wanted:
                end = begin + need.n_mels
                yield need, mel[:, begin:end] if need.n_mels else waveform
                begin = end


def _with_end(blocks: Iterable[np.ndarray], is_whole: bool) -> Iterator[tuple[np.ndarray, bool]]:
    """Blocks, and whether each is the last; that of a clip which is not whole is empty."""
    for block in blocks:
        yield block, is_whole
    if not is_whole:
        yield np.empty(0, np.float32), True
