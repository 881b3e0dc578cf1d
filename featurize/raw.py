"""The raw kind: a clip's waveform at the store's rate, as int16 with the clip's peak as its scale."""

import numpy as np

from cache.specification import RawSpecification
from featurize.waveform import Waveform

_FULL = 32767


def extract_raw(waveform: Waveform, specification: RawSpecification, out: np.ndarray) -> tuple[int, float]:
    """Write a clip's samples to out.

    Args:
        out: int16 or float32 [capacity], zeros.
    Returns:
        samples written, and the scale: waveform = out * scale, to half a quantisation step.
    Raises:
        ValueError: the samples are so large that resampling overflows.
    """
    samples = waveform.at(specification.sample_rate)
    kept = out[: len(samples)]
    peak = max(samples.max(initial=0), -samples.min(initial=0))
    if not np.isfinite(peak):
        raise ValueError("its resampled waveform is not finite: its samples are too large")
    if out.dtype == np.float32:
        kept[:] = samples
        return len(samples), 1.0
    scale = np.float32(peak / _FULL)
    if scale > 0:  # a silent clip stays zeros, with a scale of zero
        np.rint(samples / scale, out=kept, casting="unsafe")
    return len(samples), float(scale)
