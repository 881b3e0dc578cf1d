"""How loud each clip is, in one pass over its waveform that keeps five numbers."""

import numba
import numpy as np

BLOCK_S = 0.02  # of the blocks that are silent or not
SILENCE_DB = -60.0  # dBFS: a block whose RMS is below is silent
COLUMNS = ["peak_db", "rms_db", "clipped", "silence", "offset"]


def levels(samples: np.ndarray, sample_rate: int, scale: float = 1.0) -> tuple[float, float, int, float, float]:
    """Levels of one waveform.

    Args:
        samples: int16 or float32 [n_samples], > 0; times scale, full scale is 1.
    Returns:
        peak and RMS in dBFS (-inf for silence), samples at or beyond full scale, the share of 20 ms blocks whose
        RMS is below -60 dBFS, and the DC offset (the mean).

    >>> levels(np.full(320, 0.1, np.float32), 16000)
    (-20.0, -20.0, 0, 0.0, 0.1)
    """
    block = max(1, round(BLOCK_S * sample_rate))
    peak, power, clipped, silent, mean = _measure(samples, scale, block, 10 ** (SILENCE_DB / 10))
    with np.errstate(divide="ignore"):
        peak_db, rms_db = 20 * np.log10(peak), 10 * np.log10(power)
    return round(float(peak_db), 2), round(float(rms_db), 2), int(clipped), float(silent), round(float(mean), 6)


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _measure(samples, scale, block, silence):  # pragma: no cover
    """Peak, mean power, samples at full scale, share of silent blocks, mean; one pass, block by block."""
    n_samples = len(samples)
    peak = power = total = 0.0
    clipped = silent = 0
    full_scale = np.float32((1 - 1 / 32768) / scale) if scale > 0 else np.float32(np.inf)
    for first in range(0, n_samples, block):
        part = samples[first : first + block]
        square = added = high = np.float32(0)
        beyond = 0
        for i in range(len(part)):
            value = np.float32(part[i])
            square += value * value
            added += value
            high = max(high, abs(value))
            beyond += abs(value) >= full_scale
        peak = max(peak, high)
        power += square
        total += added
        clipped += beyond
        silent += 1 if square * scale * scale < silence * len(part) else 0
    n_blocks = (n_samples + block - 1) // block
    return peak * scale, power * scale * scale / n_samples, clipped, silent / n_blocks, total * scale / n_samples
