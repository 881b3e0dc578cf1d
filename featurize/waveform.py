"""One clip's waveform, at any rate that a kind of feature asks for; each rate is made once."""

import numpy as np
import soxr

from cache.specification import resampled_length


class Waveform:
    """A mono clip: `at(rate)` resamples it with soxr's high quality setting, as librosa does by default."""

    def __init__(self, samples: np.ndarray, sample_rate: int):
        """samples: float32 [n_samples]; sample_rate: Hz."""
        self._rates = {sample_rate: samples}
        self._native = sample_rate

    def at(self, sample_rate: int) -> np.ndarray:
        """The waveform at a rate in Hz: float32 [n], n at most `resampled_length`.

        Source: librosa.resample(res_type="soxr_hq"), which may give one sample more.
        """
        if sample_rate not in self._rates:
            samples = self._rates[self._native]
            longest = int(resampled_length(len(samples), self._native, sample_rate))
            resampled = soxr.resample(samples, self._native, sample_rate, "HQ") if longest else samples[:0]
            self._rates[sample_rate] = resampled[:longest]
        return self._rates[sample_rate]
