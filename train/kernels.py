"""The loops over samples and frames of one window, compiled by numba: each one pass, and none holds the GIL."""

import numpy as np
from numba import njit

float32 = np.float32
_ZERO, _HALF, _TINY = float32(0), float32(0.5), float32(1e-6)


@njit(nogil=True, cache=True)
def normalise(samples, scale, before, factor, out):
    """Write samples * scale, `before` zeros ahead of it and zeros after it, normalised by its own range, * factor.

    Args:
        samples: int16 or float32 [n]. scale, factor: float32. before: samples. out: float32 [length].
    Returns:
        What silence became.
    """
    low, high = _range(samples, len(samples) < len(out))
    least = float32(low) * scale
    divisor = float32(high) * scale - least + _TINY
    silence = ((_ZERO - least) / divisor - _HALF) * factor
    after = before + len(samples)
    inner = out[before:after]  # plain indices from 0 on both sides, or LLVM does not vectorise the loop
    for i in range(len(samples)):
        inner[i] = ((float32(samples[i]) * scale - least) / divisor - _HALF) * factor
    out[:before] = silence
    out[after:] = silence
    return silence


@njit(nogil=True, cache=True)
def mix(samples, scale, before, share, others, other_scale, other_before, out):
    """Write the sum of two padded waveforms, each at a range of 1, in the proportion share to 1 - share.

    Args:
        samples, others: int16 or float32. scale, other_scale, share: float32. before, other_before: samples.
        out: float32 [length].
    """
    factor, after = _level(samples, scale, share, len(out)), before + len(samples)
    out[:before] = _ZERO
    out[after:] = _ZERO
    inner = out[before:after]
    for i in range(len(samples)):
        inner[i] = float32(samples[i]) * factor
    factor = _level(others, other_scale, float32(1) - share, len(out))
    inner = out[other_before : other_before + len(others)]
    for i in range(len(others)):
        inner[i] += float32(others[i]) * factor


@njit(nogil=True, cache=True)
def normalise_again(out, factor):
    """Normalise a waveform in place by its own range, * factor; return what silence became."""
    low, high = _range(out, False)
    slope = factor / (high - low + _TINY)
    silence = -low * slope - _HALF * factor
    for i in range(len(out)):
        out[i] = out[i] * slope + silence
    return silence


@njit(nogil=True, cache=True)
def place(frames, before, silent, out):
    """Write frames, `before` silent ones ahead of them and silent ones after them.

    Args:
        frames: float32 [n, at least width]. silent: float32 [width]. out: float32 [length, width].
    """
    after, width = before + len(frames), out.shape[1]
    out[:before] = silent
    out[after:] = silent
    for i in range(len(frames)):
        for j in range(width):
            out[before + i, j] = frames[i, j]


@njit(nogil=True, cache=True)
def blend(frames, before, silent, share, out):
    """Mix frames into out, likewise padded: out * share + frames * (1 - share)."""
    rest = float32(1) - share
    after, width = before + len(frames), out.shape[1]
    for i in range(len(out)):
        frame = frames[i - before] if before <= i < after else silent
        for j in range(width):
            out[i, j] = out[i, j] * share + frame[j] * rest


@njit(nogil=True, cache=True)
def _level(samples, scale, share, length):
    """What brings samples, padded to length, to a range of share."""
    low, high = _range(samples, len(samples) < length)
    return scale * share / ((float32(high) - float32(low)) * scale + _TINY)


@njit(nogil=True, cache=True, fastmath={"nnan", "nsz"})  # a store holds no NaN
def _range(samples, with_zero):
    """Least and greatest sample, of samples and a zero if with_zero; one of the two there is."""
    low = high = samples.dtype.type(0) if with_zero else samples[0]
    for i in range(len(samples)):
        sample = samples[i]
        low = sample if sample < low else low
        high = sample if sample > high else high
    return low, high
