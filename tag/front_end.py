"""From waveforms to the windows that a net sees, in Keras's own operations: for models that need no code of ours.

The numbers are those of featurize and of the windows that a run predicts, as a graph for waveforms of any length:
they are trimmed, quantised (raw) or turned into frames (mfcc, logmel), cut into evenly spaced crops, and
normalised (raw). Decibels are counted from the clip's floor until the crops are cut, so that what lies around a
short clip is 0 for every kind.

The Fourier transform is two products with small matrices: Keras's own FFT does not convert to ONNX.
`keras.layers.STFTSpectrogram` does, but it adds 17 MB of weights to a model, and is off by up to 0.03 dB near the
floor of a pure tone, where this is off by 0.0005.

Source: Cooley and Tukey, "An algorithm for the machine calculation of complex Fourier series", 1965.
"""

from collections.abc import Callable
from typing import NamedTuple

import librosa
import numpy as np
import scipy.fft
from keras import KerasTensor, layers, ops

from cache.specification import Specification
from featurize.features.mel import HOP, N_FFT

_FULL = 32767  # the peak's int16 value
_TINY = 1e-6  # keeps the range of a silent window of waveform above 0
_SILENT = 1e-10  # librosa's least power; a clip that has no more is not trimmed
_ROWS, _COLUMNS = 32, 64  # of a frame's samples for its Fourier transform
_Complex = tuple[KerasTensor, KerasTensor]  # real and imaginary parts


class _Part(NamedTuple):
    """The part of each clip that is used: int32 [n, 1], its first sample or frame, and how many there are."""

    first: KerasTensor
    length: KerasTensor


def windows(
    waveform: KerasTensor, specification: Specification, length: int, width: int, crops: int
) -> tuple[KerasTensor, KerasTensor]:
    """The evenly spaced crops of clips that have one length.

    Args:
        waveform: float32 [n, n_samples], at the specification's rate. length: of a window, in samples or frames.
        width: coefficients or bands of a frame; 1 for raw. crops: of a clip that is long enough.
    Returns:
        float32 [n, crops, length, width], and bool [n, crops], which of them the clip has.
    """
    n_samples = _count(waveform)
    part = _Part(ops.zeros_like(n_samples), n_samples)
    if specification.trim_db is not None:
        part = _sounding(waveform, specification.trim_db)
        waveform = waveform * _mask(waveform, part)
    if specification.kind == "raw":
        samples = _quantised(waveform) if specification.dtype == "int16" else waveform
        found, there = _crops(ops.expand_dims(samples, -1), part, length, crops)
        low, high = ops.min(found, axis=2, keepdims=True), ops.max(found, axis=2, keepdims=True)
        return (found - low) / (high - low + _TINY) - 0.5, there
    frames = _Part(part.first // HOP, ops.where(part.length > 0, 1 + part.length // HOP, 0))
    above, floor = _decibels(waveform, frames, specification)
    found, there = _crops(above, frames, length, crops)
    floor = ops.reshape(floor, (-1, 1, 1, 1))
    if specification.kind == "mfcc":
        found = _product(found, scipy.fft.dct(np.eye(specification.n_mels), axis=1, norm="ortho")[:, :width], "dct")
        floor = floor * (np.sqrt(specification.n_mels) * (np.arange(width) == 0)).astype(np.float32)
    return floor + found, there  # in this order: see `_crops`


def _quantised(waveform: KerasTensor) -> KerasTensor:
    """As `featurize.features.raw.quantise` keeps it: 16 bits of each clip's peak."""
    peak = ops.max(ops.pad(ops.abs(waveform), ((0, 0), (0, 1))), axis=1, keepdims=True)  # 0 of no samples
    scale = ops.maximum(peak / _FULL, np.finfo(np.float32).tiny)
    return ops.round(waveform / scale) * scale


def _sounding(waveform: KerasTensor, top_db: float) -> _Part:
    """The samples that `featurize.resample.sounding` leaves of each clip."""
    power = ops.maximum(ops.mean(ops.square(_frames(waveform)), axis=2), _SILENT)  # [n, time]
    sounds = power > 10 ** (-top_db / 10) * ops.max(power, axis=1, keepdims=True)
    place = _places(power)
    first = HOP * ops.min(ops.where(sounds, place, _count(power)), axis=1, keepdims=True)
    end = HOP * ops.max(ops.where(sounds, place + 1, 0), axis=1, keepdims=True)
    return _Part(first, ops.minimum(end, _count(waveform)) - first)


def _frames(waveform: KerasTensor) -> KerasTensor:
    """Frames of 2,048 samples, each centred on a hop's first sample: [n, time, 2048]."""
    padded = ops.pad(waveform, ((0, 0), (N_FFT // 2, N_FFT // 2)))
    return ops.extract_sequences(padded, N_FFT, HOP)


def _decibels(waveform: KerasTensor, part: _Part, wanted: Specification) -> tuple[KerasTensor, KerasTensor]:
    """Log-mel frames above the floor of each clip, [n, time, n_mels], and the floor, [n, 1, 1], in dB."""
    hann = librosa.filters.get_window("hann", N_FFT).astype(np.float32)
    filters = np.zeros((N_FFT, wanted.n_mels), np.float32)
    filters[: N_FFT // 2 + 1] = librosa.filters.mel(sr=wanted.sample_rate, n_fft=N_FFT, n_mels=wanted.n_mels).T
    bins = np.arange(_ROWS)[:, None] + _ROWS * np.arange(_COLUMNS)  # where `_spectral_power` has them
    power = layers.Reshape((-1, N_FFT))(_spectral_power(_frames(waveform) * hann))
    power = _product(power, filters[bins.ravel()], "mel_filters")
    power = power * ops.expand_dims(_mask(power[:, :, 0], part), -1)  # of a trimmed clip: its own frames alone
    lowest = ops.max(power, axis=(1, 2), keepdims=True) * 10 ** (-wanted.top_db / 10)
    floor = 10 * ops.log10(ops.maximum(lowest, wanted.amin))
    return ops.maximum(10 * ops.log10(ops.maximum(power, wanted.amin)) - floor, 0), floor


def _spectral_power(frames: KerasTensor) -> KerasTensor:
    """Power of each bin, frames [n, time, 2048] to [n, time, 32, 64]: bin i + 32 j in row i and column j.

    Sample 64 a + b of a frame lies in row a and column b. Columns are transformed, turned, and then rows.
    """
    row, column = np.arange(_ROWS), np.arange(_COLUMNS)
    x = layers.Reshape((-1, _ROWS, _COLUMNS))(frames)
    c, s = _turns(np.outer(row, row) / _ROWS)
    z = ops.matmul(c, x), ops.matmul(s, x)
    z = _turned(z, np.outer(row, column) / N_FFT, ops.multiply)
    real, imaginary = _turned(z, np.outer(column, column) / _COLUMNS, ops.matmul)
    return ops.square(real) + ops.square(imaginary)


def _turns(turns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Real and imaginary part of e^(-2 pi i turns), float32."""
    turned = np.exp(-2j * np.pi * turns)
    return turned.real.astype(np.float32), turned.imag.astype(np.float32)


def _turned(z: _Complex, turns: np.ndarray, product: Callable) -> _Complex:
    """The product of complex numbers with e^(-2 pi i turns), element by element or of matrices."""
    (real, imaginary), (c, s) = z, _turns(turns)
    return product(real, c) - product(imaginary, s), product(real, s) + product(imaginary, c)


def _crops(x: KerasTensor, part: _Part, length: int, crops: int) -> tuple[KerasTensor, KerasTensor]:
    """Windows as a run spaces them (`crop_counts` and `crop_offsets`), with zeros around a short clip.

    Args:
        x: [n, time, width].
    Returns:
        [n, crops, length, width], and bool [n, crops], which of them a clip has.
    """
    span, which = part.length - length, np.arange(crops, dtype=np.int32)
    counts = ops.clip(span + 1, 1, crops)
    middle = ops.sign(span) * (ops.abs(span) // 2)
    offsets = ops.where(ops.equal(counts, 1), middle, span * which // ops.maximum(counts - 1, 1))
    # sums begin with what is broadcast: Keras 3.15 takes a second number of [n, 1, 1] for a bias where n is crops
    place = ops.add(np.arange(length, dtype=np.int32), ops.expand_dims(offsets, -1))  # [n, crops, length]
    inside = ops.logical_and(place >= 0, place < ops.expand_dims(part.length, -1))
    x = ops.pad(x, ((0, 0), (0, 1), (0, 0)))  # the last of each clip is 0, and stands for all that is outside
    size = _count(x[:, :, 0])
    row = ops.cumsum(ops.ones_like(size), axis=0) - 1
    first, last = row * size + part.first, row * size + size - 1
    place = ops.where(inside, ops.expand_dims(first, -1) + place, ops.expand_dims(last, -1))
    return ops.take(ops.reshape(x, (-1, x.shape[-1])), place, axis=0), counts > which


def _count(x: KerasTensor) -> KerasTensor:
    """How many elements a row of x, [n, time], has: int32 [n, 1]. A graph knows no other number for it."""
    return ops.sum(ops.ones_like(x, dtype="int32"), axis=1, keepdims=True)


def _places(x: KerasTensor) -> KerasTensor:
    """0, 1, 2, ... along each row of x: int32 [n, time]."""
    return ops.cumsum(ops.ones_like(x, dtype="int32"), axis=1) - 1


def _mask(x: KerasTensor, part: _Part) -> KerasTensor:
    """1 in a part of each row of x, [n, time], and 0 outside: float32."""
    place = _places(x)
    return ops.cast(ops.logical_and(place >= part.first, place < part.first + part.length), "float32")


def _product(x: KerasTensor, matrix: np.ndarray, name: str) -> KerasTensor:
    """x @ matrix, as a layer: its numbers are weights, and not text in the model's description."""
    layer = layers.Dense(matrix.shape[1], use_bias=False, trainable=False, dtype="float32", name=name)
    layer.build(x.shape)
    layer.set_weights([matrix])
    return layer(x)
