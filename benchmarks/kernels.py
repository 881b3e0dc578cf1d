"""The bare kernels of both features, one after another on buffers made once: what libraries can reach.

decode, soxr to 16 kHz, and MFCC's window, SciPy's rfft, mel, log and DCT. Nothing is checked, hashed, scaled,
padded or written; rfft and soxr have no way to write into a buffer that is kept.
"""

from pathlib import Path

import librosa
import numpy as np
import scipy.fft
import soundfile as sf
import soxr
from numba import njit

RATE, MFCC_RATE, N_MFCC = 16_000, 44_100, 40
N_FFT, HOP, N_MELS, BLOCK = 2048, 512, 128, 64


class BareKernels:
    """Call it with a recording, mono and at 44.1 kHz."""

    def __init__(self, longest: int):
        """longest: samples of the longest recording."""
        filters = librosa.filters.mel(sr=MFCC_RATE, n_fft=N_FFT, n_mels=N_MELS)
        bins = [row.nonzero()[0] for row in filters]
        self._bands = np.array([(used[0], used[-1] + 1) for used in bins])
        self._filters = filters
        self._window = librosa.filters.get_window("hann", N_FFT).astype(np.float32)
        self._dct = scipy.fft.dct(np.eye(N_MELS), axis=1, norm="ortho")[:, :N_MFCC].astype(np.float32)
        n_frames = 1 + longest // HOP
        self._pcm = np.empty(longest, np.int16)
        self._samples = np.zeros(longest + N_FFT, np.float32)
        self._windowed = np.empty((BLOCK, N_FFT), np.float32)
        self._mel = np.empty((n_frames, N_MELS), np.float32)
        self._mfcc = np.empty((n_frames, N_MFCC), np.float32)

    def __call__(self, path: Path) -> None:
        with sf.SoundFile(path) as file:
            pcm = file.read(out=self._pcm[: file.frames])
        samples = np.multiply(pcm, np.float32(1 / 32768), out=self._samples[: len(pcm)])
        soxr.resample(samples, MFCC_RATE, RATE)
        n_frames = 1 + len(pcm) // HOP
        frames = np.lib.stride_tricks.sliding_window_view(self._samples, N_FFT)[::HOP][:n_frames]
        for start in range(0, n_frames, BLOCK):
            n = min(BLOCK, n_frames - start)
            windowed = np.multiply(frames[start : start + n], self._window, out=self._windowed[:n])
            spectrum = scipy.fft.rfft(windowed, axis=1)
            _mel_power(spectrum, self._filters, self._bands, self._mel[start : start + n])
        mel = self._mel[:n_frames]
        np.log10(mel, out=mel)
        np.matmul(mel, self._dct, out=self._mfcc[:n_frames])


@njit(nogil=True, fastmath=True)
def _mel_power(spectrum, filters, bands, mel):
    power = np.empty(spectrum.shape[1], np.float32)
    for frame in range(len(spectrum)):
        bins = spectrum[frame]
        for k in range(len(power)):
            power[k] = bins[k].real * bins[k].real + bins[k].imag * bins[k].imag
        for band in range(len(bands)):
            first, last = bands[band]
            weights, under = filters[band, first:last], power[first:last]
            total = np.float32(1e-10)
            for k in range(len(weights)):
                total += weights[k] * under[k]
            mel[frame, band] = total
