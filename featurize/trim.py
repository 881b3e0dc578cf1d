"""Where a clip sounds: what lies between silence at its beginning and silence at its end.

Source: librosa 0.11, `effects.trim` with its defaults: frames of 2,048 samples every 512, centred, the power of
each against that of the loudest. Here in blocks, so that a long recording need not be in memory.
"""

from collections.abc import Iterable

import numpy as np

_HOP, _HOPS = 512, 4  # samples; hops of a frame
_SILENT = 1e-10  # librosa's least power; a clip that has no more is not trimmed


def sounding(blocks: Iterable[np.ndarray], top_db: float) -> tuple[int, int]:
    """The first sample of a clip that sounds and the one after its last.

    Args:
        blocks: the clip, float32 [n] each. top_db: what is more than so many dB below the loudest frame is silence.
    """
    energies, rest, n_samples = [], np.empty(0, np.float32), 0
    for block in blocks:
        n_samples += len(block)
        samples = np.concatenate([rest, block]) if len(rest) else block
        whole = len(samples) // _HOP * _HOP
        energies.append(_energies(samples[:whole]))
        rest = samples[whole:]
    energies.append(_energies(np.pad(rest, (0, -len(rest) % _HOP))))
    before = np.zeros(_HOPS // 2)
    hops = np.concatenate([before, *energies, before])
    power = np.convolve(hops, np.ones(_HOPS), "valid")[: 1 + n_samples // _HOP] / (_HOP * _HOPS)
    sounds = np.maximum(power, _SILENT) > 10 ** (-top_db / 10) * max(_SILENT, power.max(initial=0))
    loud = np.flatnonzero(sounds)
    return (int(loud[0]) * _HOP, min(n_samples, (int(loud[-1]) + 1) * _HOP)) if len(loud) else (0, 0)


def _energies(samples: np.ndarray) -> np.ndarray:
    """Of each hop, float64 [n / 512]."""
    hops = samples.reshape(-1, _HOP)
    return np.einsum("ij,ij->i", hops, hops, dtype=np.float64)
