"""Players: stretches of clips as MP3 in data: URIs, each clip once however often the page plays it.

MP3, because every browser plays it (Safari learned Ogg late) and its files say their exact length. soundfile writes
it, at a variable rate of some 24 kbit/s for 16 kHz. A clip that is longer than the page has room for is cut to its
loudest stretch. Clips whose peak is below -12 dBFS are raised to it, so that quiet ones can be heard.
"""

import base64
import os
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr

BUDGET_BYTES = 5_000_000  # of the page, for all players
_BYTES_PER_S = 3_600  # of the page: some 21 kbit/s in base64
_LENGTHS_S = (12, 10, 8, 6, 5, 4, 3, 2, 1.5, 1)  # that a player may have at most
_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)  # that MP3 knows, Hz
_LOWEST_PEAK = 10 ** (-12 / 20)
_QUALITY = 0.8  # 0 the best, 1 the smallest


def mp3(samples: np.ndarray, sample_rate: int) -> bytes:
    """A waveform as an MP3 file; a rate that MP3 does not know becomes the next higher one.

    Args:
        samples: float [n_samples], full scale is 1; what is beyond is clipped. sample_rate: Hz.

    >>> len(mp3(np.zeros(16000), 16000)) < 4000
    True
    """
    rate = next((rate for rate in _RATES if rate >= sample_rate), _RATES[-1])
    samples = np.clip(samples, -1, 1).astype(np.float32)
    if rate != sample_rate:
        samples = soxr.resample(samples, sample_rate, rate)
    with tempfile.TemporaryDirectory(prefix="earmark-") as folder:  # a file: soundfile then lets other threads run
        path = Path(folder, "player.mp3")
        sf.write(path, samples, rate, "MPEG_LAYER_III", compression_level=_QUALITY, bitrate_mode="VARIABLE")
        return path.read_bytes()


def data_uri(samples: np.ndarray, sample_rate: int) -> str:
    """A waveform as the data: URI of an MP3 file that can be heard. Args as in `mp3`.

    >>> data_uri(np.zeros(16000), 16000)[:22]
    'data:audio/mpeg;base64'
    """
    peak = float(np.abs(samples).max(initial=0))
    if 0 < peak < _LOWEST_PEAK:
        samples = samples * (_LOWEST_PEAK / peak)
    return "data:audio/mpeg;base64," + base64.b64encode(mp3(samples, sample_rate)).decode()


def loudest_stretch(samples: np.ndarray, n_samples: int) -> slice:
    """Where the n_samples of the most energy are, to a hundredth of that.

    >>> loudest_stretch(np.array([0, 0, 3, 3, 0, 1]), 2)
    slice(2, 4, None)
    """
    if len(samples) <= n_samples:
        return slice(0, len(samples))
    step = max(1, n_samples // 100)
    energy = np.square(samples[: len(samples) // step * step].reshape(-1, step), dtype=np.float32).sum(1)
    sums = np.concatenate([[0], np.cumsum(energy, dtype=np.float64)])
    blocks = n_samples // step
    first = int((sums[blocks:] - sums[:-blocks]).argmax()) * step
    first = min(first, len(samples) - n_samples)
    return slice(first, first + n_samples)


def seconds_each(seconds: np.ndarray, budget_bytes: int = BUDGET_BYTES) -> float:
    """How long a player may be, so that all of them fit into the page.

    Args:
        seconds: float [n_players], lengths of the clips.

    >>> seconds_each(np.full(10, 30.0)), seconds_each(np.full(400, 30.0))
    (12, 3)
    """
    fits = (most for most in _LENGTHS_S if np.minimum(seconds, most).sum() * _BYTES_PER_S <= budget_bytes)
    return next(fits, _LENGTHS_S[-1])


class Players:
    """Players that are encoded in threads while the page is drawn."""

    def __init__(self, read: Callable[[int], np.ndarray], sample_rate: int, rows: Iterable[int], seconds: float):
        """Begin to encode.

        Args:
            read: gives the samples of a clip, float [n_samples] with full scale 1, from its row; called from
                threads. sample_rate: Hz. rows: of the clips to play. seconds: that a player has at most.
        """
        self._threads = ThreadPoolExecutor(os.cpu_count())
        self._sounds: dict[int, Future] = {
            row: self._threads.submit(_encode, read, row, sample_rate, seconds) for row in dict.fromkeys(rows)
        }

    def __enter__(self) -> "Players":
        return self

    def __exit__(self, *error: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    def sounds(self) -> dict[int, tuple[str, float, float]]:
        """Of each row: the data: URI, and where in the clip it starts and stops, in seconds."""
        return {row: sound.result() for row, sound in self._sounds.items()}


def _encode(read: Callable[[int], np.ndarray], row: int, rate: int, seconds: float) -> tuple[str, float, float]:
    samples = read(row)
    stretch = loudest_stretch(samples, max(1, round(seconds * rate)))
    return data_uri(samples[stretch], rate), round(stretch.start / rate, 2), round(stretch.stop / rate, 2)
