"""A clip's samples at another rate, and without the silence at its ends; whole or in blocks, with equal results."""

from collections.abc import Iterable, Iterator

import numpy as np
import soxr

_HOP, _HOPS = 512, 4  # samples; hops of a frame
_SILENT = 1e-10  # librosa's least power; a clip that has no more is not trimmed


class Resampler:
    """soxr's high quality, for one clip, whose blocks are pushed one after another.

    Source: librosa.resample(res_type="soxr_hq"), its default, which may give one sample more.

    >>> len(Resampler(44100, 16000).push(np.zeros(44100, np.float32), last=True))
    16000
    """

    def __init__(self, sample_rate: int, new_rate: int):
        """sample_rate, new_rate: Hz."""
        self._rates, self._stream = (sample_rate, new_rate), None
        self._n_in = self._n_out = 0

    def push(self, block: np.ndarray, last: bool) -> np.ndarray:
        """Take the next block, float32 [n], and return what of the clip at the new rate is complete.

        All blocks together are at most `longest`. A clip that keeps its rate is not copied.
        """
        if self._rates[0] == self._rates[1]:
            return block
        self._n_in += len(block)
        room = longest(self._n_in, *self._rates) - self._n_out
        if last and not self._stream:
            return soxr.resample(block, *self._rates, "HQ")[:room] if room else block[:0]
        self._stream = self._stream or soxr.ResampleStream(*self._rates, 1, dtype="float32", quality="HQ")
        resampled = self._stream.resample_chunk(block, last=last)
        resampled = resampled[: max(0, room)] if last else resampled
        self._n_out += len(resampled)
        return resampled


def longest(n_samples: int, sample_rate: int, new_rate: int) -> int:
    """`cache.specification.resampled_length` of one clip: samples that it has at most at another rate (Hz)."""
    return (2 * n_samples * new_rate + sample_rate) // (2 * sample_rate) if sample_rate else 0


def sounding(blocks: Iterable[np.ndarray], top_db: float) -> tuple[int, int]:
    """The first sample of a clip that sounds and the one after its last.

    A frame sounds where its power is less than top_db below that of the loudest.

    Args:
        blocks: the clip, float32 [n] each.
        top_db: dB.
    Source: librosa 0.11, `effects.trim` with its defaults: frames of 2,048 samples every 512, centred.

    >>> clip = np.concatenate([np.zeros(8192), np.ones(8192), np.zeros(8192)]).astype(np.float32)
    >>> sounding([clip], top_db=60)
    (7680, 17408)
    """
    energies, rest, n_samples = [], np.empty(0, np.float32), 0
    for block in blocks:
        n_samples += len(block)
        samples = np.concatenate([rest, block]) if len(rest) else block
        whole = len(samples) // _HOP * _HOP
        energies.append(_energies(samples[:whole]))
        rest = samples[whole:].copy()
    energies.append(_energies(np.pad(rest, (0, -len(rest) % _HOP))))
    before = np.zeros(_HOPS // 2)
    hops = np.concatenate([before, *energies, before])
    power = np.convolve(hops, np.ones(_HOPS), "valid")[: 1 + n_samples // _HOP] / (_HOP * _HOPS)
    sounds = np.maximum(power, _SILENT) > 10 ** (-top_db / 10) * max(_SILENT, power.max(initial=0))
    loud = np.flatnonzero(sounds)
    return (int(loud[0]) * _HOP, min(n_samples, (int(loud[-1]) + 1) * _HOP)) if len(loud) else (0, 0)


def cut(blocks: Iterable[np.ndarray], start: int, stop: int, size: int) -> Iterator[np.ndarray]:
    """Samples [start, stop) of all blocks together, in pieces of at most so many."""
    n_before = 0
    for block in blocks:
        part = block[max(0, start - n_before) : max(0, stop - n_before)]
        yield from np.split(part, range(size, len(part), size))
        n_before += len(block)


def _energies(samples: np.ndarray) -> np.ndarray:
    """Of each hop, float64 [n / 512]."""
    hops = samples.reshape(-1, _HOP)
    return np.einsum("ij,ij->i", hops, hops, dtype=np.float64)
