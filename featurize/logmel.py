"""The logmel kind: librosa's log-mel spectrogram of a whole clip, to 1e-3, in less than half its time.

The same steps with the repeated work left out: float32 FFTs in blocks that stay in the processor's cache, and the
mel filter bank built once and applied only where it is not zero. MFCCs begin with these frames too.

Source: librosa 0.11, `feature.melspectrogram` and `power_to_db`.
"""

from dataclasses import dataclass
from functools import lru_cache

import librosa
import numpy as np
import scipy.fft
from numba import njit

from cache.specification import LogmelSpecification, MfccSpecification
from featurize.waveform import Waveform

_BLOCK = 64  # frames an FFT call: 64 x 2048 float32 and their spectrum fit in 1 MB of cache


@dataclass(frozen=True)
class _Bank:
    """Window [n_fft], mel filters [n_mels, bins], and where each filter begins and ends."""

    window: np.ndarray
    filters: np.ndarray
    first: np.ndarray
    last: np.ndarray


def extract_logmel(waveform: Waveform, specification: LogmelSpecification, out: np.ndarray) -> tuple[int, float]:
    """Write a clip's log-mel frames to out, in dB.

    Args:
        out: float32 [capacity, n_mels], zeros.
    Returns:
        frames written, and the dB of every band of a silent frame of this clip.
    Raises:
        ValueError: the samples are so large that their power overflows.
    """
    decibels, floor = above_floor(waveform.at(specification.sample_rate), specification)
    np.add(decibels, np.float32(floor), out=out[: len(decibels)])
    return len(decibels), float(np.float32(floor))


def above_floor(
    samples: np.ndarray, specification: LogmelSpecification | MfccSpecification
) -> tuple[np.ndarray, float]:
    """Log-mel frames above their clip's floor, max(-100, maximum - 80) dB: float32 [frames, n_mels], and the floor.

    Raises:
        ValueError: the samples are so large that their power overflows.
    """
    lowest = 10 * np.log10(specification.amin)
    if not len(samples):
        return np.empty((0, specification.n_mels), np.float32), lowest
    mel = _mel_power(samples, specification)
    np.maximum(mel, specification.amin, out=mel)
    decibels = np.log10(mel, out=mel)
    decibels *= 10
    maximum = float(decibels.max())
    if not np.isfinite(maximum):
        raise ValueError("its power is not finite: its samples are too large")
    floor = max(lowest, maximum - specification.top_db)
    decibels -= floor
    return np.maximum(decibels, 0, out=decibels), floor


def _mel_power(samples: np.ndarray, specification: LogmelSpecification | MfccSpecification) -> np.ndarray:
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
def _bank(specification: LogmelSpecification | MfccSpecification) -> _Bank:
    n_fft, n_mels = specification.n_fft, specification.n_mels
    filters = librosa.filters.mel(sr=specification.sample_rate, n_fft=n_fft, n_mels=n_mels)
    used = filters > 0
    return _Bank(
        window=librosa.filters.get_window("hann", n_fft, fftbins=True).astype(np.float32),
        filters=filters,
        first=np.argmax(used, axis=1),
        last=np.where(used.any(axis=1), used.shape[1] - np.argmax(used[:, ::-1], axis=1), 0),
    )
