"""Figures of one clip: its waveform, a zoom, its log-mel frames and its MFCCs."""

import numpy as np
from matplotlib.axes import Axes

from report.plots.theme import BLUE, axes_or_current

_COLUMNS = 200  # of a picture: what a small figure can show
ZOOM = 500  # samples


def waveform(samples: np.ndarray, sample_rate: int, ax: Axes | None = None) -> Axes:
    """A waveform, as the range of its amplitudes in each of 200 stretches of time.

    Args:
        samples: float [n_samples], full scale is 1. sample_rate: Hz.

    >>> waveform(np.sin(np.arange(8000)), 8000).get_xlabel()
    'time (s)'
    """
    ax = axes_or_current(ax)
    seconds = len(samples) / sample_rate
    if len(samples):
        starts = _starts(len(samples))
        low, high = (bound.reduceat(samples, starts) for bound in (np.minimum, np.maximum))
        times = np.linspace(0, seconds, len(starts))
        ax.fill_between(times, np.minimum(low, 0), np.maximum(high, 0), color=BLUE, linewidth=0.5)
    _time(ax, 0, seconds)
    _amplitude(ax, float(np.abs(samples).max(initial=0)))
    ax.set_title("Waveform")
    return ax


def loudest_moment(samples: np.ndarray, sample_rate: int, ax: Axes | None = None, n_samples: int = ZOOM) -> Axes:
    """The samples around a clip's loudest one, so many of them, each as it is.

    Args:
        samples: float [n_samples], full scale is 1. sample_rate: Hz.

    >>> loudest_moment(np.sin(np.arange(8000)), 8000).get_title()
    'Zoom: 500 samples'
    """
    ax = axes_or_current(ax)
    peak = int(np.abs(samples).argmax()) if len(samples) else 0
    first = max(0, min(peak - n_samples // 2, len(samples) - n_samples))
    part = samples[first : first + n_samples]
    ax.plot((first + np.arange(len(part))) / sample_rate, part, color=BLUE, linewidth=0.7)
    _time(ax, first / sample_rate, (first + max(len(part), 1)) / sample_rate)
    _amplitude(ax, float(np.abs(part).max(initial=0)))
    ax.set_title(f"Zoom: {len(part)} samples")
    return ax


def log_mel(frames: np.ndarray, sample_rate: int, hop_length: int, ax: Axes | None = None) -> Axes:
    """A log-mel picture: seconds to the right, Hz upwards, brighter is louder.

    Args:
        frames: float [n_frames, n_mels], in dB; bands are librosa's (Slaney's scale, 0 Hz to half the rate).
        sample_rate: Hz. hop_length: samples between frames.

    >>> log_mel(np.zeros((100, 64)), 16000, 160).get_ylabel()
    'frequency (Hz)'
    """
    ax = axes_or_current(ax)
    _picture(ax, frames, hop_length / sample_rate, "magma")
    n_mels, top = frames.shape[1], hz_to_mel(sample_rate / 2)
    ticks = [hz for hz in (200, 1000, 4000, 16000) if hz < sample_rate / 2]
    ax.set_yticks([hz_to_mel(hz) / top * (n_mels + 1) - 1 for hz in ticks], [_hz(hz) for hz in ticks])
    ax.set(title="Log-mel", ylabel="frequency (Hz)")
    return ax


def mfcc(frames: np.ndarray, sample_rate: int, hop_length: int, ax: Axes | None = None) -> Axes:
    """A picture of MFCCs: seconds to the right, coefficients upwards.

    The first coefficient is the loudness, an order larger than the others: it does not set the colours' range.

    Args:
        frames: float [n_frames, n_mfcc]. sample_rate: Hz. hop_length: samples between frames.

    >>> mfcc(np.zeros((100, 40)), 44100, 512).get_ylabel()
    'coefficient'
    """
    ax = axes_or_current(ax)
    limit = float(np.percentile(np.abs(frames[:, 1:]), 98)) if frames[:, 1:].size else 1.0
    _picture(ax, frames, hop_length / sample_rate, "PuOr_r", vmin=-limit or -1, vmax=limit or 1)
    ax.set_yticks([tick for tick in (0, 10, 20, 30, 40, 60, 80, 100) if tick < frames.shape[1]])
    ax.set(title="MFCC", ylabel="coefficient")
    return ax


def hz_to_mel(hz: float) -> float:
    """Slaney's mel scale, librosa's default: linear below 1 kHz, logarithmic above.

    >>> hz_to_mel(1000), round(hz_to_mel(6400))
    (15.0, 42)
    """
    return hz * 3 / 200 if hz < 1000 else 15 + float(np.log(hz / 1000)) * 27 / float(np.log(6.4))


def _picture(ax: Axes, frames: np.ndarray, step_s: float, colors: str, **limits: float) -> None:
    """Frames as an image, neighbours averaged where there are more than can be seen."""
    frames = frames if len(frames) else np.zeros((1, frames.shape[1]))
    starts = _starts(len(frames))
    image = (np.add.reduceat(frames, starts) / np.diff(starts, append=len(frames))[:, None]).T
    seconds = len(frames) * step_s
    extent = (0, seconds, -0.5, frames.shape[1] - 0.5)
    ax.imshow(image, colors, aspect="auto", origin="lower", interpolation="none", extent=extent, **limits)
    ax.grid(False)
    _time(ax, 0, seconds)


def _starts(n: int) -> np.ndarray:
    """Where 200 stretches of n samples or frames begin, or as many as there are."""
    return np.arange(min(_COLUMNS, n)) * n // min(_COLUMNS, n)


def _time(ax: Axes, start: float, stop: float) -> None:
    stop = max(stop, start + 1e-3)
    digits = max(0, 1 - int(np.floor(np.log10(stop - start))))
    ticks = np.linspace(start, stop, 3)
    ax.set_xticks(ticks, [f"{tick:.{digits}f}" for tick in ticks])
    for label, side in zip(ax.get_xticklabels(), ("left", "center", "right"), strict=True):
        label.set_horizontalalignment(side)
    ax.set(xlim=(start, stop), xlabel="time (s)")


def _amplitude(ax: Axes, peak: float) -> None:
    peak = peak or 1.0
    digits = max(1, 1 - int(np.floor(np.log10(peak))))
    ticks = (-peak, 0, peak)
    ax.set_yticks(ticks, [f"{tick:.{digits}f}" if tick else "0" for tick in ticks])
    ax.set(ylim=(-peak * 1.1, peak * 1.1))


def _hz(hz: int) -> str:
    return f"{hz // 1000}k" if hz >= 1000 else str(hz)
