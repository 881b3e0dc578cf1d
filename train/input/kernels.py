"""The loops over samples and frames of a batch of windows, compiled by numba; none holds the GIL.

A call cuts a whole batch: one for each window would wait for the GIL as often, while the net's thread has it. So
what clips show comes as addresses, in `Parts`, and whoever calls keeps the arrays that lie there.
"""

from typing import NamedTuple

import numpy as np
from numba import carray, njit, types
from numba.core import cgutils
from numba.extending import intrinsic, overload

float32, int32 = np.float32, np.int32
_ZERO, _ONE, _HALF, _TINY = float32(0), float32(1), float32(0.5), float32(1e-6)


class Parts(NamedTuple):
    """What n windows show: each a part of its own clip and, where it is mixed, of another.

    addresses: intp [n, 2], of contiguous samples or frames. counts: int64 [n, 2], how many there are; befores:
    int64 [n, 2], how much silence comes before them: together at most a window's length, or no counts. like: one of
    the arrays at the addresses.
    """

    addresses: np.ndarray
    counts: np.ndarray
    befores: np.ndarray
    like: np.ndarray


@njit(nogil=True, cache=True)
def address(array):
    """Where an array's elements begin; `array.ctypes.data` takes five times as long."""
    return array.ctypes.data


@njit(nogil=True, cache=True)
def cut_waveforms(parts, scales, shares, factors, masks, out):
    """Write waveforms, padded with zeros and normalised by their own range, times a factor.

    Where a share is below 1, both waveforms are brought to a range of 1 first and mixed, share to 1 - share.

    Args:
        parts: of int16 or float32 samples. scales: float32 [n, 2]. shares, factors: float32 [n].
        masks: int64 [n, masks, 2], first and end of what is as if silent. out: float32 [n, length].
    """
    length, span, mixed = out.shape[1], np.empty(2, parts.like.dtype), np.empty(2, float32)
    for i in range(len(out)):
        row, own, before, share = out[i], _samples(parts, i, 0), parts.befores[i, 0], shares[i]
        _find_range(own, length, span)
        width = _width(span, scales[i, 0])
        if share == 1:
            silence = _write(own, before, float32(span[0]), scales[i, 0] / width, _HALF, factors[i], row)
        else:
            _write(own, before, _ZERO, share * scales[i, 0] / width, _ZERO, _ONE, row)
            other = _samples(parts, i, 1)
            _find_range(other, length, span)
            _add(other, (_ONE - share) * scales[i, 1] / _width(span, scales[i, 1]), row[parts.befores[i, 1] :])
            mixed[:] = row[0]
            _widen(mixed, row)
            silence = _rewrite(row, mixed[0], _ONE / _width(mixed, _ONE), _HALF, factors[i])
        for first, end in masks[i]:
            row[first:end] = silence


@njit(nogil=True, cache=True)
def cut_frames(parts, silences, shares, gains, loudness, fill, time_masks, band_masks, out):
    """Write frames, padded with silent ones; mixed, share to 1 - share, plus gain * loudness, then masked.

    Args:
        parts: of float32 frames, at least as wide as those of out. silences: float32 [n, 2], what a silent one
            has where loudness is above 0. shares, gains: float32 [n], gains in dB. loudness, fill: float32 [width].
        time_masks, band_masks: int64 [n, masks, 2], first and end of what fill replaces.
        out: float32 [n, length, width].
    """
    width = out.shape[2]
    for i in range(len(out)):
        window, gain = out[i], gains[i]
        _place(_frames(parts, i, 0), parts.befores[i, 0], silences[i, 0], loudness, window)
        if shares[i] < 1:
            _blend(_frames(parts, i, 1), parts.befores[i, 1], silences[i, 1], loudness, shares[i], window)
        if gain != 0:
            for t in range(len(window)):
                for j in range(width):
                    window[t, j] += gain * loudness[j]
        for first, end in time_masks[i]:
            window[first:end] = fill
        for first, end in band_masks[i]:
            window[:, first:end] = fill[first:end]


@intrinsic
def _pointer(typing_context, address):
    """An address as a pointer, as `carray` wants it."""

    def code(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.intp), code


@njit(nogil=True, cache=True)
def _samples(parts, i, which):
    return carray(_pointer(parts.addresses[i, which]), parts.counts[i, which], parts.like.dtype)


@njit(nogil=True, cache=True)
def _frames(parts, i, which):
    shape = (parts.counts[i, which], parts.like.shape[1])
    return carray(_pointer(parts.addresses[i, which]), shape, parts.like.dtype)


@njit(nogil=True, cache=True)
def _find_range(samples, length, span):
    """The least and the greatest sample; the zeros that pad fewer than length take part."""
    span[:] = samples[0] if len(samples) == length else 0
    _widen(span, samples)


def _widen(span, samples):
    """Widen a range, least and greatest, to take samples in; replaced by one of the two below."""


@overload(_widen)
def _widen_by_type(span, samples):
    return _widen_integers if isinstance(samples.dtype, types.Integer) else _widen_floats


def _widen_integers(span, samples):
    low, high = span[0], span[1]
    for i in range(len(samples)):
        sample = samples[i]
        low = sample if sample < low else low
        high = sample if sample > high else high
    span[0], span[1] = low, high


def _widen_floats(span, samples):
    """By integers of the same order: of floats, LLVM compares one at a time."""
    ends, bits = span.view(np.int32), samples.view(np.int32)
    low, high = _ordered(ends[0]), _ordered(ends[1])
    for i in range(len(bits)):
        sample = _ordered(bits[i])
        low = sample if sample < low else low
        high = sample if sample > high else high
    ends[0], ends[1] = _ordered(low), _ordered(high)


@njit(nogil=True, cache=True)
def _ordered(bits):
    """The bits of a float32 as an integer that grows with it, and back; a store holds no NaN."""
    return int32(bits ^ ((bits >> 31) & 0x7FFFFFFF))


@njit(nogil=True, cache=True)
def _width(span, scale):
    """The width of a range, never 0."""
    return (float32(span[1]) - float32(span[0])) * scale + _TINY


@njit(nogil=True, cache=True)
def _write(samples, before, low, slope, middle, factor, out):
    """Write ((samples - low) * slope - middle) * factor, and what a zero becomes around it; return the latter."""
    silence, after = ((_ZERO - low) * slope - middle) * factor, before + len(samples)
    inner = out[before:after]  # plain indices from 0 on both sides, or LLVM does not vectorise the loop
    for i in range(len(samples)):
        inner[i] = ((float32(samples[i]) - low) * slope - middle) * factor
    out[:before] = silence
    out[after:] = silence
    return silence


@njit(nogil=True, cache=True)
def _rewrite(out, low, slope, middle, factor):
    """`_write` in place, where LLVM would take one sample at a time, as the arguments overlap."""
    for i in range(len(out)):
        out[i] = ((out[i] - low) * slope - middle) * factor
    return ((_ZERO - low) * slope - middle) * factor


@njit(nogil=True, cache=True)
def _add(samples, level, out):
    for i in range(len(samples)):
        out[i] += float32(samples[i]) * level


@njit(nogil=True, cache=True)
def _place(frames, before, silence, loudness, out):
    after, width = before + len(frames), out.shape[1]
    for t in range(len(out)):
        if before <= t < after:
            for j in range(width):
                out[t, j] = frames[t - before, j]
        else:
            for j in range(width):
                out[t, j] = silence if loudness[j] > 0 else _ZERO


@njit(nogil=True, cache=True)
def _blend(frames, before, silence, loudness, share, out):
    rest = _ONE - share
    after, width = before + len(frames), out.shape[1]
    for t in range(len(out)):
        if before <= t < after:
            for j in range(width):
                out[t, j] = out[t, j] * share + frames[t - before, j] * rest
        else:
            for j in range(width):
                out[t, j] = out[t, j] * share + (silence if loudness[j] > 0 else _ZERO) * rest
