"""The logmel kind: librosa's log-mel spectrogram of a whole clip, to 1e-3. MFCCs begin with these frames too.

Source: librosa 0.11, `feature.melspectrogram` and `power_to_db`.
"""

import numpy as np

from cache.specification import LogmelSpecification, MfccSpecification
from featurize.features.mel import mel_power


def logmel(samples: np.ndarray, sample_rate: int, n_mels: int = 64, top_db: float = 80.0) -> np.ndarray:
    """Log-mel frames of a clip in dB; what is more than top_db below the clip's maximum is raised to there.

    Args:
        samples: float32 [n]. sample_rate: Hz.
    Returns:
        float32 [1 + n // 512, n_mels]; no frames for no samples.
    Raises:
        ValueError: the samples are so large that their power overflows.
    Source: librosa 0.11, `power_to_db(feature.melspectrogram(...))` with their defaults, transposed.

    >>> noise = np.random.default_rng(0).uniform(-1, 1, 44100)
    >>> logmel(noise, 44100).shape
    (87, 64)
    """
    specification = LogmelSpecification(n_mels, sample_rate, top_db=top_db)
    power = mel_power(samples, sample_rate, (n_mels,))
    return features(specification, power, float(power.max(initial=0)))


def value(specification: LogmelSpecification, power: float) -> float:
    """Every band of a silent frame, in dB, of a clip with this greatest power.

    Raises:
        ValueError: the power is not finite.
    """
    return float(10 * log_power(lowest_power(specification, power)))


def features(specification: LogmelSpecification, block: np.ndarray, power: float) -> np.ndarray:
    """Frames of a clip with this greatest power as they are stored: float32 [frames, n_mels], in dB."""
    out = np.maximum(block, lowest_power(specification, power), out=np.empty(block.shape, np.float32))
    np.log10(out, out=out)
    out *= 10
    return out


def lowest_power(specification: LogmelSpecification | MfccSpecification, power: float) -> np.float32:
    """What lower power is raised to, in a clip with this greatest power: 80 dB below it for the default top_db.

    Raises:
        ValueError: the power is not finite.
    """
    if not np.isfinite(power):
        raise ValueError("its power is not finite: its samples are too large")
    return np.float32(max(specification.amin, power * 10 ** (-specification.top_db / 10)))


def log_power(power: np.float32) -> np.float32:
    """log10 of a power; of an array's one element, as NumPy computes that of many."""
    return np.log10(np.full(16, power))[0]
