"""The logmel kind: librosa's log-mel spectrogram of a whole clip, to 1e-3. MFCCs begin with these frames too.

Source: librosa 0.11, `feature.melspectrogram` and `power_to_db`.
"""

import numpy as np

from cache.specification import LogmelSpecification, MfccSpecification
from featurize.features.mel import mel_power

INPUT = "mel"


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
    return features(specification, power, largest(power))


def largest(block: np.ndarray) -> float:
    """The greatest power, 0 for no frames."""
    return float(block.max()) if len(block) else 0.0


def value(specification: LogmelSpecification, power: float) -> float:
    """Every band of a silent frame, in dB, of a clip with this greatest power.

    Raises:
        ValueError: the power is not finite.
    """
    return float(np.float32(floor(specification, power)))


def features(specification: LogmelSpecification, block: np.ndarray, power: float) -> np.ndarray:
    """Frames of a clip with this greatest power as they are stored: float32 [frames, n_mels], in dB."""
    lowest = floor(specification, power)
    decibels = above_floor(specification, block, lowest, np.empty(block.shape, np.float32))
    decibels += np.float32(lowest)
    return decibels


def floor(specification: LogmelSpecification | MfccSpecification, power: float) -> float:
    """max(-100, maximum - 80) dB of a clip with this greatest power, for the default amin and top_db.

    Raises:
        ValueError: the power is not finite.
    """
    if not np.isfinite(power):
        raise ValueError("its power is not finite: its samples are too large")
    lowest = 10 * np.log10(specification.amin)
    maximum = 10 * np.log10(max(power, specification.amin))
    return float(max(lowest, maximum - specification.top_db))


def above_floor(
    specification: LogmelSpecification | MfccSpecification, block: np.ndarray, lowest: float, out: np.ndarray
) -> np.ndarray:
    """Fill out with the dB of power above the floor, float32 [frames, n_mels], and return it."""
    np.maximum(block, np.float32(specification.amin), out=out)
    np.log10(out, out=out)
    out *= 10
    out -= np.float32(lowest)
    return np.maximum(out, 0, out=out)
