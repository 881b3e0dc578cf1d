"""The raw kind: a clip's waveform at the store's rate, as int16 with the clip's peak as its scale."""

from collections import deque

import numpy as np

from cache.specification import RawSpecification
from featurize.waveform import Blocks

_FULL = 32767


def extract_raw(waveform: Blocks, specification: RawSpecification, out: np.ndarray) -> tuple[int, float]:
    """Write a clip's samples to out.

    Args:
        out: int16 or float32 [capacity], zeros.
    Returns:
        samples written, and the scale: waveform = out * scale, to half a quantisation step.
    Raises:
        ValueError: the samples are so large that resampling overflows.
    """
    blocks = deque(waveform.blocks(specification.sample_rate))
    peak = max((max(block.max(initial=0), -block.min(initial=0)) for block in blocks), default=np.float32(0))
    if not np.isfinite(peak):
        raise ValueError("its resampled waveform is not finite: its samples are too large")
    scale = np.float32(1 if out.dtype == np.float32 else peak / _FULL)
    length = 0
    while blocks:  # one by one, so that a long clip is in memory once
        block = blocks.popleft()
        _write(block, scale, out[length : length + len(block)])
        length += len(block)
    return length, float(scale)


def _write(samples: np.ndarray, scale: np.float32, out: np.ndarray) -> None:
    if out.dtype == np.float32:
        out[:] = samples
    elif scale > 0:  # a silent clip stays zeros, with a scale of zero
        np.rint(samples / scale, out=out, casting="unsafe")
