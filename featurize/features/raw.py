"""The raw kind: a clip's waveform at the store's rate, as int16 with a scale per clip, or as float32."""

import numpy as np

from cache.specification import RawSpecification

_FULL = 32767  # the peak's int16 value
_SILENT = np.finfo(np.float32).tiny * _FULL  # a peak below has a scale that float32 does not hold to full precision


def quantise(samples: np.ndarray) -> tuple[np.ndarray, float]:
    """Quantise a clip so that its peak uses the full 16 bits: samples = int16 * scale, to half a step.

    Args:
        samples: float32 [n].
    Returns:
        int16 [n], and the scale: the peak / 32,767. A peak below 4e-34 is silence: zeros, and a scale of 0.
    Raises:
        ValueError: a sample is not finite.

    >>> quantise(np.float32([0.5, -1, 0.25]))[0]
    array([ 16384, -32767,   8192], dtype=int16)
    """
    specification = RawSpecification(dtype="int16")
    peak = float(np.abs(samples).max(initial=0))
    return features(specification, samples, peak), value(specification, peak)


def value(specification: RawSpecification, peak: float) -> float:
    """The scale of a clip with this peak; 1 for float32.

    Raises:
        ValueError: the peak is not finite: the samples are so large that resampling overflows.
    """
    if not np.isfinite(peak):
        raise ValueError("its resampled waveform is not finite: its samples are too large")
    if specification.dtype == "float32":
        return 1.0
    return float(np.float32(peak / _FULL)) if peak >= _SILENT else 0.0


def features(specification: RawSpecification, block: np.ndarray, peak: float) -> np.ndarray:
    """Samples of a clip with this peak as they are stored: int16 or float32 [n]."""
    if specification.dtype == "float32":
        return block
    scale = np.float32(value(specification, peak))
    out = np.zeros(len(block), np.int16)
    return np.rint(block / scale, out=out, casting="unsafe") if scale else out
