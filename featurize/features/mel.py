"""Mel power of a clip's frames: window, FFT, power and mel filters, `LANES` frames side by side.

The innermost loop of every step runs over frames, so each step vectorises whatever it does along a frame. The
spectrum is computed once for all filter banks that are asked for. A band's numbers do not depend on which other
bands are computed with it, nor a frame's on the frames beside it.

    tile      512 x (LANES + 4)    samples, transposed once: sample o of hop b, so that all four hops of every frame
                                   are stretches of its rows
    spectrum  2 x 1024 x LANES     even samples as real and odd ones as imaginary parts, transformed in five stages
    power     513 x 2 x LANES      bins k and 1024 - k side by side, as they are separated together

Sources: Van Loan, Computational Frameworks for the Fast Fourier Transform, 1992: Stockham's self-sorting transform,
section 1.7, here in radix 4, and transforms of real data, section 4.3; `librosa.filters.mel`.
"""

from collections.abc import Sequence
from functools import lru_cache

import librosa
import numpy as np
from numba import njit

LANES = 16  # float32 numbers in the widest vectors there are
N_FFT, HOP = 2048, 512
GRAIN = 64  # frames come in multiples of it, so that a DCT of so many gives the same bits however a clip is cut
_POINTS = N_FFT // 2
_IMAGINARY = _POINTS * LANES + 144  # where imaginary parts begin: not a multiple of 4 KB, which caches dislike
_STEP = HOP // 2  # points of a hop
_WIDTH = LANES + 4
_FAST = {"nogil": True, "fastmath": True, "error_model": "numpy"}


def mel_power(
    samples: np.ndarray,
    sample_rate: int,
    banks: Sequence[int] = (128,),
    begin: int = -N_FFT // 2,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Mel power of frames of 2,048 samples, 512 apart, under a Hann window.

    Args:
        samples: float32 [n]. What a frame covers outside of them, before the first too, is zero.
        sample_rate: Hz.
        banks: bands of each mel filter bank; each goes from 0 Hz to half the sample rate.
        begin: where the first frame begins; by default it is centred on the first sample.
        out: float32 [n_frames, sum(banks)], filled and returned; by default 1 + n // 512 frames, or none.
    Returns:
        float32 [n_frames, sum(banks)], bank after bank.
    Source: librosa 0.11, `feature.melspectrogram` with its defaults.

    >>> tone = np.cos(2 * np.pi * 1000 / 44100 * np.arange(4096))
    >>> power = mel_power(tone, 44100, banks=(64, 128))
    >>> power.shape, int(power[4, :64].argmax())
    ((9, 192), 15)
    """
    samples = np.require(samples, np.float32, "CW")
    if out is None:
        out = np.empty((1 + len(samples) // HOP if len(samples) else 0, sum(banks)), np.float32)
    _mel_power(samples, begin, *_tables(sample_rate, tuple(banks)), out)
    return out


class MelFrames:
    """Mel power of a clip's frames while its samples arrive in blocks; the first frame is centred on sample 0."""

    def __init__(self, sample_rate: int, banks: Sequence[int]):
        """sample_rate: Hz. banks: as for `mel_power`."""
        self._sample_rate, self._banks = sample_rate, tuple(banks)
        self._rest, self._begin = np.empty(0, np.float32), -N_FFT // 2  # of the next frame, counted in the rest
        self._n_samples = self._n_frames = 0

    def push(self, block: np.ndarray, last: bool) -> np.ndarray:
        """Take the next block, float32 [n], and return the frames that are complete: float32 [frames, bands].

        All but the last return a multiple of `GRAIN` frames.
        """
        samples = np.concatenate([self._rest, block]) if len(self._rest) else block
        self._n_samples += len(block)
        if last:
            n_frames = 1 + self._n_samples // HOP - self._n_frames if self._n_samples else 0
        else:
            n_frames = max(0, (len(samples) - self._begin - N_FFT) // HOP + 1) // GRAIN * GRAIN
        out = np.empty((n_frames, sum(self._banks)), np.float32)
        mel = mel_power(samples, self._sample_rate, self._banks, self._begin, out)
        self._n_frames, self._begin = self._n_frames + n_frames, self._begin + n_frames * HOP
        used = max(0, self._begin)
        self._rest, self._begin = samples[used:].copy(), self._begin - used
        return mel


@njit(cache=True, **_FAST)
def _mel_power(samples, start, window, twiddles, turn, weight, run_band, run_begin, run_end, mel):
    tile = np.empty(HOP * _WIDTH, np.float32)
    x, y = np.empty(2 * _IMAGINARY, np.float32), np.empty(2 * _IMAGINARY, np.float32)
    power = np.zeros((_POINTS + 2 + 8) * LANES, np.float32)  # with room for weights of 0 behind the last bin
    bands = np.empty(mel.shape[1] * LANES, np.float32)
    for first in range(0, len(mel), LANES):
        _transpose(samples, start + first * HOP, tile)
        _first_stage(tile, window, twiddles, x)
        _stage(x, y, twiddles[1536:], 256, 4 * LANES)
        _stage(y, x, twiddles[1920:], 64, 16 * LANES)
        _stage(x, y, twiddles[2016:], 16, 64 * LANES)
        _stage(y, x, twiddles[2040:], 4, 256 * LANES)
        _power(x, turn, power)
        _filter(power, weight, run_band, run_begin, run_end, bands)
        for lane in range(min(LANES, len(mel) - first)):
            for band in range(mel.shape[1]):
                mel[first + lane, band] = bands[band * LANES + lane]


@njit(inline="always", **_FAST)
def _transpose(samples, begin, tile):
    """Hop b of the tile is samples[begin + 512 b:], zero outside."""
    for hop in range(LANES + 3):
        start = begin + hop * HOP
        column = tile[hop:]
        if start >= 0 and start + HOP <= len(samples):
            inside = samples[start : start + HOP]
            for o in range(HOP):
                column[o * _WIDTH] = inside[o]
        else:
            for o in range(HOP):
                there = 0 <= start + o < len(samples)
                column[o * _WIDTH] = samples[start + o] if there else 0


@njit(inline="always", **_FAST)
def _butterfly(ar, ai, br, bi, cr, ci, dr, di, w, p, q):
    """Four complex numbers a, b, c, d transformed, and turned by the factors of point p."""
    sr, si, tr, ti = ar + cr, ai + ci, ar - cr, ai - ci
    ur, ui, vr, vi = br + dr, bi + di, bi - di, dr - br
    br, bi, cr, ci, dr, di = tr + vr, ti + vi, sr - ur, si - ui, tr - vr, ti - vi
    return (
        sr + ur,
        si + ui,
        br * w[p] - bi * w[p + q],
        br * w[p + q] + bi * w[p],
        cr * w[p + 2 * q] - ci * w[p + 3 * q],
        cr * w[p + 3 * q] + ci * w[p + 2 * q],
        dr * w[p + 4 * q] - di * w[p + 5 * q],
        dr * w[p + 5 * q] + di * w[p + 4 * q],
    )


@njit(inline="always", **_FAST)
def _first_stage(tile, window, w, y):
    """The first stage, of 1024 points, on windowed samples: points p, p + 256, ... are a hop apart."""
    for p in range(_STEP):
        even, odd = tile[2 * p * _WIDTH :], tile[(2 * p + 1) * _WIDTH :]
        h, g = window[2 * p :], window[2 * p + 1 :]
        out = y[4 * p * LANES :]
        for i in range(LANES):
            ar, ai = even[i] * h[0], odd[i] * g[0]
            br, bi = even[i + 1] * h[HOP], odd[i + 1] * g[HOP]
            cr, ci = even[i + 2] * h[2 * HOP], odd[i + 2] * g[2 * HOP]
            dr, di = even[i + 3] * h[3 * HOP], odd[i + 3] * g[3 * HOP]
            a = _butterfly(ar, ai, br, bi, cr, ci, dr, di, w, p, _STEP)
            for k in range(4):
                out[i + k * LANES] = a[2 * k]
                out[i + k * LANES + _IMAGINARY] = a[2 * k + 1]


@njit(inline="always", **_FAST)
def _stage(x, y, w, points, stride):
    """One stage from x to y: transforms of so many points, stride numbers apart."""
    q = points // 4
    for p in range(q):
        a, b, c, d = x[stride * p :], x[stride * (p + q) :], x[stride * (p + 2 * q) :], x[stride * (p + 3 * q) :]
        out = y[4 * stride * p :]
        for i in range(stride):
            j = i + _IMAGINARY
            e = _butterfly(a[i], a[j], b[i], b[j], c[i], c[j], d[i], d[j], w, p, q)
            for k in range(4):
                out[i + k * stride] = e[2 * k]
                out[j + k * stride] = e[2 * k + 1]


@njit(inline="always", **_FAST)
def _power(z, turn, power):
    """Power of bins k and 1024 - k, from points k and 1024 - k of the transform."""
    for k in range(_POINTS // 2 + 1):
        c, d = turn[0, k], turn[1, k]
        one, other = z[k * LANES :], z[(_POINTS - k) % _POINTS * LANES :]
        out = power[2 * k * LANES :]
        for i in range(LANES):
            er, ei = one[i] + other[i], one[i + _IMAGINARY] - other[i + _IMAGINARY]
            fr, fi = one[i + _IMAGINARY] + other[i + _IMAGINARY], other[i] - one[i]
            gr, gi = fr * c - fi * d, fr * d + fi * c
            out[i] = (er + gr) * (er + gr) + (ei + gi) * (ei + gi)
            out[i + LANES] = (er - gr) * (er - gr) + (ei - gi) * (ei - gi)


@njit(inline="always", **_FAST)
def _filter(power, weight, band, begin, end, bands):
    """The bands' sums, four bins a step: with one, most of the time goes into keeping the sum in memory."""
    bands[:] = 0
    t = 0
    for run in range(len(end)):
        total = bands[band[run] * LANES :]
        bins = power[begin[run] :]
        while t < end[run]:
            w = weight[t:]
            for i in range(LANES):
                one, two = bins[i], bins[i + 2 * LANES]
                three, four = bins[i + 4 * LANES], bins[i + 6 * LANES]
                total[i] += w[0] * one + w[1] * two + w[2] * three + w[3] * four
            t += 4
            bins = bins[8 * LANES :]


@lru_cache(maxsize=16)
def _tables(sample_rate: int, banks: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """What the kernel reads beside samples: the window; the stages' factors, one after another; the factors that
    separate bins, [2, 513]; and the mel filters.

    A filter is two runs of bins that lie evenly in `power`, each padded with zeros to a multiple of 4: the weights,
    one run after another; and of each run its band, where in `power` it begins, and where its weights end.
    """
    filters = np.concatenate([librosa.filters.mel(sr=sample_rate, n_fft=N_FFT, n_mels=bank) for bank in banks]) / 4
    half, runs = _POINTS // 2, []
    for band, row in enumerate(filters.astype(np.float32)):  # the power is that of twice each bin, hence the 4
        for of_run, lane in ((row[: half + 1], 0), (row[:half:-1], 1)):  # bins from 0 up, and from 1024 down
            if len(k := of_run.nonzero()[0]):
                weights = of_run[k[0] : k[-1] + 1]
                runs.append((band, (2 * k[0] + lane) * LANES, np.pad(weights, (0, -len(weights) % 4))))
    bands, begins, weights = zip(*runs, strict=True)
    window = librosa.filters.get_window("hann", N_FFT, fftbins=True).astype(np.float32)
    twiddles = np.concatenate([_twiddles(_POINTS // 4**stage) for stage in range(5)])
    turn = _parts(np.exp(-2j * np.pi * np.arange(half + 1) / N_FFT))
    ends = np.cumsum([len(row) for row in weights])
    return window, twiddles, turn, np.concatenate(weights), np.array(bands), np.array(begins), ends


def _twiddles(points: int) -> np.ndarray:
    """Factors of a stage, [3 * 2 * points / 4]: of each output but the first, real parts, then imaginary ones."""
    angle = np.outer([1, 2, 3], np.arange(points // 4)) / points
    return np.concatenate([_parts(np.exp(-2j * np.pi * row)).ravel() for row in angle])


def _parts(values: np.ndarray) -> np.ndarray:
    return np.stack([values.real, values.imag]).astype(np.float32)
