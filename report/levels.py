"""How loud each clip is, from the raw store: one pass over the memory maps that keeps five numbers a clip."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pandas as pd

BLOCK_S = 0.02  # of the blocks that are silent or not
SILENCE_DB = -60.0  # dBFS: a block whose RMS is below is silent
COLUMNS = ["peak_db", "rms_db", "clipped", "silence", "offset"]
_BATCH = 64  # clips that a thread takes at a time


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


def levels_table(
    read: Callable[[int], np.ndarray], scales: np.ndarray, sample_rate: int, rows: np.ndarray, n_rows: int
) -> pd.DataFrame:
    """Levels of many clips, on every core.

    Args:
        read: gives the samples of a row; called from several threads. scales: float [n_rows].
        rows: int [n], those to measure, each with samples. n_rows: of the table.
    Returns:
        [n_rows] of `COLUMNS`, NaN in the other rows.
    """
    values = np.full((n_rows, len(COLUMNS)), np.nan)

    def measure(batch: np.ndarray) -> None:
        for row in batch:
            values[row] = levels(read(row), sample_rate, float(scales[row]))

    batches = [rows[i : i + _BATCH] for i in range(0, len(rows), _BATCH)]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(measure, batches))
    return pd.DataFrame(values, columns=COLUMNS)


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
