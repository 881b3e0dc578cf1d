"""The loops over samples and frames of a batch of windows, compiled by numba; none of them holds the GIL.

One call cuts a whole batch: with a call for each window, cutting would wait for the GIL as often, which the net's
thread holds. So parts of clips are passed as addresses, in `Parts`, and the caller keeps their arrays alive.
"""

from typing import NamedTuple

import numpy as np
from numba import carray, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

float32, int32 = np.float32, np.int32
_compiled = njit(nogil=True, cache=True)
_ZERO, _ONE, _HALF, _TINY = float32(0), float32(1), float32(0.5), float32(1e-6)


class Parts(NamedTuple):
    """The parts of clips that n windows show: one of its own clip each, and one of its partner where it is mixed.

    Where there is a part, counts and n_before together are at most a window's length.
    """

    addresses: np.ndarray  # intp [n, 2], of contiguous samples or frames
    counts: np.ndarray  # int64 [n, 2], how many there are
    n_before: np.ndarray  # int64 [n, 2], how many silent ones come before them
    like: np.ndarray  # one of the arrays at the addresses, for its type


@_compiled
def address(array):
    """Where an array's elements begin; `array.ctypes.data` takes five times as long."""
    return array.ctypes.data


@_compiled
def cut_waveforms(parts, scales, shares, factors, masks, out):
    """Write waveforms, padded with zeros and normalised by their own range, times a factor.

    Where a share is below 1, both waveforms are scaled to a range of 1 first, then mixed, share to 1 - share.

    Args:
        parts: of int16 or float32 samples. scales: float32 [n, 2]. shares, factors: float32 [n].
        masks: int64 [n, masks, 2], first and end of what becomes silent. out: float32 [n, length].
    """
    length, span, mixed = out.shape[1], np.empty(2, parts.like.dtype), np.empty(2, float32)
    for i in range(len(out)):
        row, own, before, share = out[i], _part(parts, i, 0), parts.n_before[i, 0], shares[i]
        _range_of(own, length, span)
        width = _range_width(span, scales[i, 0])
        if share == 1:
            silence = _write_samples(own, before, float32(span[0]), scales[i, 0] / width, _HALF, factors[i], row)
        else:
            _write_samples(own, before, _ZERO, share * scales[i, 0] / width, _ZERO, _ONE, row)
            other = _part(parts, i, 1)
            _range_of(other, length, span)
            level = (_ONE - share) * scales[i, 1] / _range_width(span, scales[i, 1])
            _mix_samples(other, level, row[parts.n_before[i, 1] :])
            mixed[:] = row[0]
            _widen(mixed, row)
            silence = _normalise_in_place(row, mixed[0], _ONE / _range_width(mixed, _ONE), _HALF, factors[i])
        for first, end in masks[i]:
            row[first:end] = silence


@_compiled
def cut_frames(parts, silences, shares, gains, loudness, fill, time_masks, band_masks, out):
    """Write frames, padded with silent ones; mixed, share to 1 - share, plus gain * loudness, then masked.

    Args:
        parts: of float32 frames, at least as wide as those of out. silences: float32 [n, 2], the value of a
            silent frame where loudness is above 0. shares, gains: float32 [n], gains in dB.
            loudness, fill: float32 [width].
        time_masks, band_masks: int64 [n, masks, 2], first and end of what fill replaces.
        out: float32 [n, length, width].
    """
    width = out.shape[2]
    for i in range(len(out)):
        window, gain = out[i], gains[i]
        _mix_frames(_part(parts, i, 0), parts.n_before[i, 0], silences[i, 0], loudness, _ONE, window)
        if shares[i] < 1:
            _mix_frames(
                _part(parts, i, 1), parts.n_before[i, 1], silences[i, 1], loudness, _ONE - shares[i], window
            )
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


@_compiled
def _part(parts, i, which):
    shape = (parts.counts[i, which], *parts.like.shape[1:])
    return carray(_pointer(parts.addresses[i, which]), shape, parts.like.dtype)


@_compiled
def _range_of(samples, length, span):
    """The least and the greatest sample; the zeros that pad fewer than length take part."""
    span[:] = samples[0] if len(samples) == length else 0
    _widen(span, samples)


@_compiled
def _widen(span, samples):
    """Widen a range, least and greatest, to take samples in.

    Floats are compared as integers of the same order: of floats, LLVM compares one at a time.
    """
    if samples.itemsize == 4:
        ends, bits = span.view(np.int32), samples.view(np.int32)
        first, last = _ordered(ends[0]), _ordered(ends[1])
        for i in range(len(bits)):
            number = _ordered(bits[i])
            first = number if number < first else first
            last = number if number > last else last
        ends[0], ends[1] = _ordered(first), _ordered(last)
    else:
        low, high = span[0], span[1]
        for i in range(len(samples)):
            sample = samples[i]
            low = sample if sample < low else low
            high = sample if sample > high else high
        span[0], span[1] = low, high


@_compiled
def _ordered(bits):
    """The bits of a float32 as an integer that grows with it, and back; a store holds no NaN."""
    return int32(bits ^ ((bits >> 31) & 0x7FFFFFFF))


@_compiled
def _range_width(span, scale):
    """The width of a range, never 0."""
    return (float32(span[1]) - float32(span[0])) * scale + _TINY


@_compiled
def _write_samples(samples, before, low, slope, middle, factor, out):
    """Write ((samples - low) * slope - middle) * factor, and what a zero becomes around it; return the latter."""
    silence, after = ((_ZERO - low) * slope - middle) * factor, before + len(samples)
    inner = out[before:after]  # plain indices from 0 on both sides, or LLVM does not vectorise the loop
    for i in range(len(samples)):
        inner[i] = ((float32(samples[i]) - low) * slope - middle) * factor
    out[:before] = silence
    out[after:] = silence
    return silence


@_compiled
def _normalise_in_place(out, low, slope, middle, factor):
    """`_write_samples` in place, where LLVM would take one sample at a time, as the arguments overlap."""
    for i in range(len(out)):
        out[i] = ((out[i] - low) * slope - middle) * factor
    return ((_ZERO - low) * slope - middle) * factor


@_compiled
def _mix_samples(samples, level, out):
    for i in range(len(samples)):
        out[i] += float32(samples[i]) * level


@_compiled
def _mix_frames(frames, before, silence, loudness, share, out):
    """Mix frames and the silence around them into out; with a share of 1 they replace it."""
    after, width, rest = before + len(frames), out.shape[1], _ONE - share
    for t in range(len(out)):
        for j in range(width):
            kept = out[t, j] * rest if rest > 0 else _ZERO  # what out holds at first may be no number
            if before <= t < after:
                out[t, j] = kept + frames[t - before, j] * share
            else:
                out[t, j] = kept + (silence if loudness[j] > 0 else _ZERO) * share
