"""One clip's waveform, in blocks, at any rate that a kind of feature asks for.

A `Waveform` has its samples in memory, one block, and makes each rate once. A `LongWaveform` never has: its
recording is decoded again for each kind of feature, which costs a twentieth of the time and spares gigabytes. Both
give the same numbers, as soxr does whether it is fed at once or in blocks.
"""

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
import soxr

from cache.specification import resampled_length
from featurize.decode import Recording
from featurize.trim import sounding


class Blocks(Protocol):
    """What a kind of feature is computed from."""

    @property
    def truncated(self) -> bool:
        """Whether data was missing; known once the blocks have been read."""

    def blocks(self, sample_rate: int) -> Iterator[np.ndarray]:
        """The waveform at a rate in Hz, float32 [n] each; n adds up to at most `resampled_length`."""

    def trimmed(self, top_db: float | None) -> "Blocks":
        """Itself without what is more than top_db below its loudest, at both ends; None trims nothing."""


class Waveform:
    """A mono clip in memory."""

    def __init__(self, samples: np.ndarray, sample_rate: int, truncated: bool = False):
        """samples: float32 [n_samples]; sample_rate: Hz."""
        self.truncated = truncated
        self._rates = {sample_rate: samples}
        self._native = sample_rate
        self._trimmed: dict[float, Waveform] = {}

    def blocks(self, sample_rate: int) -> Iterator[np.ndarray]:
        """See `Blocks`: a single block."""
        yield self.at(sample_rate)

    def at(self, sample_rate: int) -> np.ndarray:
        """The waveform at a rate in Hz: float32 [n], n at most `resampled_length`.

        Source: librosa.resample(res_type="soxr_hq"), its default, which may give one sample more.
        """
        if sample_rate not in self._rates:
            samples = self._rates[self._native]
            longest = int(resampled_length(len(samples), self._native, sample_rate))
            resampled = soxr.resample(samples, self._native, sample_rate, "HQ") if longest else samples[:0]
            self._rates[sample_rate] = resampled[:longest]
        return self._rates[sample_rate]

    def trimmed(self, top_db: float | None) -> "Waveform":
        """See `Blocks`."""
        if top_db is None:
            return self
        if top_db not in self._trimmed:
            samples = self.at(self._native)
            part = samples[slice(*sounding([samples], top_db))]
            self._trimmed[top_db] = Waveform(part, self._native, self.truncated)
        return self._trimmed[top_db]


class LongWaveform:
    """A mono clip that is decoded, and resampled, as its blocks are asked for."""

    def __init__(self, recording: Recording, part: tuple[int, int | None] = (0, None)):
        """part: its first sample and the one after its last, at its own rate."""
        self._recording, self._part = recording, part

    @property
    def truncated(self) -> bool:
        """See `Blocks`."""
        return self._recording.truncated

    def blocks(self, sample_rate: int) -> Iterator[np.ndarray]:
        """See `Blocks`."""
        native = _cut(self._recording.blocks(), *self._part)
        if sample_rate == self._recording.sample_rate:
            return native
        return _resampled(native, self._recording.sample_rate, sample_rate)

    def trimmed(self, top_db: float | None) -> "LongWaveform":
        """See `Blocks`."""
        return self if top_db is None else LongWaveform(self._recording, sounding(self._recording.blocks(), top_db))


def waveform_of(recording: Recording) -> Waveform | LongWaveform:
    """A recording's waveform: in memory unless it is long."""
    if recording.is_long:
        return LongWaveform(recording)
    return Waveform(recording.samples, recording.sample_rate, recording.truncated)


def _cut(blocks: Iterable[np.ndarray], start: int, stop: int | None) -> Iterator[np.ndarray]:
    """Samples [start, stop) of all blocks together."""
    n_before = 0
    for block in blocks:
        yield block[max(0, start - n_before) : None if stop is None else max(0, stop - n_before)]
        n_before += len(block)


def _resampled(blocks: Iterable[np.ndarray], sample_rate: int, new_rate: int) -> Iterator[np.ndarray]:
    stream = soxr.ResampleStream(sample_rate, new_rate, 1, dtype="float32", quality="HQ")
    n_in = n_out = 0
    for block in blocks:
        n_in += len(block)
        resampled = stream.resample_chunk(block)
        n_out += len(resampled)
        yield resampled
    last = stream.resample_chunk(np.empty(0, np.float32), last=True)
    yield last[: max(0, int(resampled_length(n_in, sample_rate, new_rate)) - n_out)]
