"""The logmel kind: librosa's log-mel spectrogram of a whole clip, to 1e-3. MFCCs begin with these frames too.

Source: librosa 0.11, `feature.melspectrogram` and `power_to_db`.
"""

from collections.abc import Iterable

import numpy as np

from cache.specification import LogmelSpecification, MfccSpecification
from featurize.mel import HOP, N_FFT, mel_power
from featurize.waveform import Blocks


def extract_logmel(waveform: Blocks, specification: LogmelSpecification, out: np.ndarray) -> tuple[int, float]:
    """Write a clip's log-mel frames to out, in dB.

    Args:
        out: float32 [capacity, n_mels], zeros.
    Returns:
        frames written, and the dB of every band of a silent frame of this clip.
    Raises:
        ValueError: the samples are so large that their power overflows.
    """
    decibels, floor = above_floor(waveform.blocks(specification.sample_rate), specification, len(out))
    np.add(decibels, np.float32(floor), out=out[: len(decibels)])
    return len(decibels), float(np.float32(floor))


def above_floor(
    blocks: Iterable[np.ndarray], specification: LogmelSpecification | MfccSpecification, capacity: int
) -> tuple[np.ndarray, float]:
    """Log-mel frames above their clip's floor, max(-100, maximum - 80) dB: float32 [frames, n_mels], and the floor.

    Args:
        blocks: the clip, float32 [n] each. capacity: frames that it has at most.
    Raises:
        ValueError: the samples are so large that their power overflows.
    """
    lowest = 10 * np.log10(specification.amin)
    mel = _all_frames(blocks, specification, np.empty((capacity, specification.n_mels), np.float32))
    if not len(mel):
        return mel, lowest
    np.maximum(mel, specification.amin, out=mel)
    decibels = np.log10(mel, out=mel)
    decibels *= 10
    maximum = float(decibels.max())
    if not np.isfinite(maximum):
        raise ValueError("its power is not finite: its samples are too large")
    floor = max(lowest, maximum - specification.top_db)
    decibels -= floor
    return np.maximum(decibels, 0, out=decibels), floor


def _all_frames(
    blocks: Iterable[np.ndarray], specification: LogmelSpecification | MfccSpecification, mel: np.ndarray
) -> np.ndarray:
    """Mel power of each frame, the first centred on the first sample: the rows of mel that there are frames for."""
    samples, begin, done, n_samples = np.empty(0, np.float32), -N_FFT // 2, 0, 0
    for block in blocks:
        whole = max(0, (len(samples) - begin - N_FFT) // HOP + 1) if len(samples) else 0
        mel_power(samples, begin, specification, mel[done : done + whole])
        done, begin = done + whole, begin + whole * HOP
        used = max(0, begin)  # what is left of the blocks before begins where the next frame does
        samples, begin = np.concatenate([samples[used:], block]) if len(samples) else block, begin - used
        n_samples += len(block)
    n_frames = 1 + n_samples // HOP if n_samples else 0
    mel_power(samples, begin, specification, mel[done:n_frames])
    return mel[:n_frames]
