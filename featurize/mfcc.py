"""The mfcc kind: `librosa.feature.mfcc` of a whole clip, to 1e-3, at a third of its time.

The same steps with the repeated work left out: float32 FFTs in blocks that stay in the processor's cache, the
mel filter bank built once and applied only where it is not zero, and the DCT as one product with a matrix, taken
of decibels above the clip's floor, which keeps float32 exact enough.

Source: librosa 0.11, `feature.mfcc`; Davis and Mermelstein, 1980. Parseval's orthonormal DCT-II.
"""

from dataclasses import dataclass
from functools import lru_cache

import librosa
import numpy as np
import scipy.fft
from numba import njit

from cache.specification import MfccSpecification
from featurize.waveform import Waveform

_BLOCK = 64  # frames an FFT call: 64 x 2048 float32 and their spectrum fit in 1 MB of cache


@dataclass(frozen=True)
class _Bank:
    """Window [n_fft], mel filters [n_mels, bins] and where each begins and ends, DCT [n_mels, n_mfcc]."""

    window: np.ndarray
    filters: np.ndarray
    first: np.ndarray
    last: np.ndarray
    dct: np.ndarray


def extract_mfcc(waveform: Waveform, specification: MfccSpecification, out: np.ndarray) -> tuple[int, float]:
    """Write a clip's MFCCs to out.

    Args:
        out: float32 [capacity, n_mfcc], zeros.
    Returns:
        frames written, and the first coefficient of a silent frame of this clip (the others are 0).
    Raises:
        ValueError: the samples are so large that their power overflows.
    """
    samples = waveform.at(specification.sample_rate)
    if not len(samples):
        return 0, silence(specification, -np.inf)
    mel = _mel_power(samples, specification)
    np.maximum(mel, specification.amin, out=mel)
    decibels = np.log10(mel, out=mel)
    decibels *= 10
    maximum = decibels.max()
    if not np.isfinite(maximum):
        raise ValueError("its power is not finite: its samples are too large")
    floor = _floor(specification, maximum)
    decibels -= floor
    np.maximum(decibels, 0, out=decibels)
    frames = out[: len(mel)]
    np.matmul(decibels, _bank(specification).dct, out=frames)
    first = silence(specification, floor + specification.top_db)
    frames[:, 0] += np.float32(first)
    return len(frames), first


def silence(specification: MfccSpecification, maximum_db: float) -> float:
    """First coefficient of a frame whose mel bands are all at the floor of a clip with this maximum (dB)."""
    return float(np.float32(_floor(specification, maximum_db) * np.sqrt(specification.n_mels)))


def _floor(specification: MfccSpecification, maximum_db: float) -> float:
    return max(10 * np.log10(specification.amin), float(maximum_db) - specification.top_db)


def _mel_power(samples: np.ndarray, specification: MfccSpecification) -> np.ndarray:
    """Mel power spectrogram of a clip padded with half a window of zeros at both ends: float32 [frames, n_mels]."""
    n_fft, hop = specification.n_fft, specification.hop_length
    bank = _bank(specification)
    padded = np.zeros(len(samples) + n_fft, np.float32)
    padded[n_fft // 2 : n_fft // 2 + len(samples)] = samples
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    mel = np.empty((len(frames), specification.n_mels), np.float32)
    windowed = np.empty((_BLOCK, n_fft), np.float32)
    for start in range(0, len(frames), _BLOCK):
        block = frames[start : start + _BLOCK]
        np.multiply(block, bank.window, out=windowed[: len(block)])
        spectrum = scipy.fft.rfft(windowed[: len(block)], axis=1)
        _apply_filters(spectrum, bank.filters, bank.first, bank.last, mel[start : start + _BLOCK])
    return mel


@njit(nogil=True, fastmath=True, cache=True)
def _apply_filters(spectrum, filters, first, last, mel):
    """Mel power of each frame. Apart, both inner loops vectorise: a quarter of the time of one loop over both, a
    tenth of a product with the whole matrix (0.20, 0.77 and 2.7 ms for 431 frames)."""
    power = np.empty(spectrum.shape[1], np.float32)
    for frame in range(spectrum.shape[0]):
        bins = spectrum[frame]
        for k in range(len(power)):
            power[k] = bins[k].real * bins[k].real + bins[k].imag * bins[k].imag
        for band in range(filters.shape[0]):
            weights, under = filters[band, first[band] : last[band]], power[first[band] : last[band]]
            total = np.float32(0)
            for k in range(len(weights)):
                total += weights[k] * under[k]
            mel[frame, band] = total


@lru_cache(maxsize=8)
def _bank(specification: MfccSpecification) -> _Bank:
    n_fft, n_mels = specification.n_fft, specification.n_mels
    filters = librosa.filters.mel(sr=specification.sample_rate, n_fft=n_fft, n_mels=n_mels)
    used = filters > 0
    dct = scipy.fft.dct(np.eye(n_mels), axis=1, norm="ortho")[:, : specification.n_mfcc]
    return _Bank(
        window=librosa.filters.get_window("hann", n_fft, fftbins=True).astype(np.float32),
        filters=filters,
        first=np.argmax(used, axis=1),
        last=np.where(used.any(axis=1), used.shape[1] - np.argmax(used[:, ::-1], axis=1), 0),
        dct=np.ascontiguousarray(dct.astype(np.float32)),
    )
