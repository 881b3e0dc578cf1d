"""The mfcc kind: `librosa.feature.mfcc` of a whole clip, to 1e-3, at a third of its time.

The DCT of the log-mel frames is one product with a matrix, taken of decibels above the clip's floor: the numbers
are smaller, so that float32 stays exact enough (4e-4 instead of 1.2e-3). The floor itself adds to the first
coefficient alone.

Source: librosa 0.11, `feature.mfcc`; Davis and Mermelstein, 1980. The DCT is the orthonormal DCT-II.
"""

from functools import lru_cache

import numpy as np
import scipy.fft

from cache.specification import MfccSpecification
from featurize.logmel import above_floor
from featurize.waveform import Blocks


def extract_mfcc(waveform: Blocks, specification: MfccSpecification, out: np.ndarray) -> tuple[int, float]:
    """Write a clip's MFCCs to out.

    Args:
        out: float32 [capacity, n_mfcc], zeros.
    Returns:
        frames written, and the first coefficient of a silent frame of this clip (the others are 0).
    Raises:
        ValueError: the samples are so large that their power overflows.
    """
    decibels, floor = above_floor(waveform.blocks(specification.sample_rate), specification, len(out))
    frames = out[: len(decibels)]
    np.matmul(decibels, _dct(specification.n_mels, specification.n_mfcc), out=frames)
    silence = np.float32(floor * np.sqrt(specification.n_mels))
    frames[:, 0] += silence
    return len(frames), float(silence)


@lru_cache(maxsize=8)
def _dct(n_mels: int, n_mfcc: int) -> np.ndarray:
    """float32 [n_mels, n_mfcc]."""
    matrix = scipy.fft.dct(np.eye(n_mels), axis=1, norm="ortho")[:, :n_mfcc]
    return np.ascontiguousarray(matrix.astype(np.float32))
