"""Decoding: a recording's header, its digest, and its samples as one float32 channel.

libsndfile, through soundfile, reads wav, flac, ogg, mp3 and what else it knows, at any rate and width. A
recording with less data than its header claims is used as far as it goes and marked truncated.
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import soundfile as sf
import xxhash

from featurize.riff import WavData, plain_header, wav_data, with_sizes

_LONG = 1 << 22  # samples: 95 s at 44.1 kHz, 17 MB
_BLOCK = 1 << 20  # samples a read
_CODEC_BLOCK = 1 << 14  # where data may break off in the middle: what is lost then is at most a block
_MIN_RATE = 100  # Hz; a header that says less is taken for a lie, as its clip would fill the disk once resampled
# No codec packs real sound tighter than this many samples a byte; a header that claims more is not believed.
_PLAUSIBLE_SAMPLES_PER_BYTE = 64


class DecodeError(ValueError):
    """A recording that cannot be decoded; the message is the reason."""


@dataclass(frozen=True)
class Header:
    """What a header says, or decoding where headers only estimate: rate in Hz, samples per channel."""

    native_rate: int
    native_samples: int


class Recording:
    """A recording: its samples in blocks, as often as they are asked for; kept in memory unless it is long.

    sample_rate: Hz. is_long: more samples than are kept in memory. truncated: whether data was missing, known once
    the blocks have been read.
    """

    def __init__(self, path: Path, header: Header):
        """header: as `read_header` gave it; no more samples than it says are taken."""
        self.path, self.header = path, header
        self.sample_rate = header.native_rate
        self.is_long = header.native_samples > _LONG
        self.truncated = False

    def blocks(self) -> Iterator[np.ndarray]:
        """float32 [n] each: the mean of the channels.

        Raises:
            DecodeError: not a recording, or a sample is not finite.
            OSError: the file cannot be read.
        """
        if os.path.getsize(self.path) == 0:
            return
        wav, n_samples = wav_data(self.path), 0
        try:
            with _open(self.path, wav) as file:
                self._check(file)
                for block in _blocks(file, self.header.native_samples):
                    n_samples += len(block)
                    yield _finite(_mono(block))
        except sf.LibsndfileError as error:
            raise DecodeError(
                f"not a recording that libsndfile can decode ({error.error_string.strip('. ')})"
            ) from error
        self.truncated = n_samples < self.header.native_samples or bool(wav and wav.truncated)

    @cached_property
    def samples(self) -> np.ndarray:
        """All of them, float32 [n_samples]; raises as `blocks` does."""
        blocks = list(self.blocks())
        return blocks[0] if len(blocks) == 1 else np.concatenate([np.empty(0, np.float32), *blocks])

    def _check(self, file: sf.SoundFile) -> None:
        if file.samplerate < _MIN_RATE:
            raise DecodeError(f"its sample rate must be at least {_MIN_RATE} Hz, got {file.samplerate}")
        if not self.header.native_rate:
            raise DecodeError("its header could not be read when it was planned; touch it and run featurize again")


def read_header(path: Path) -> Header:
    """Read a recording's header; 0 Hz and 0 samples for what is not a recording: decoding finds the reason.

    mp3 headers only estimate, and some headers lie: those are measured by decoding.

    Raises:
        OSError: the file cannot be read.
    """
    if plain := plain_header(path):
        return Header(*plain)
    try:
        wav = wav_data(path)
        with _open(path, wav) as file:
            n_samples = wav.n_samples if wav and wav.streamed else file.frames
            believable = n_samples <= _PLAUSIBLE_SAMPLES_PER_BYTE * os.path.getsize(path)
            if file.format == "MPEG" or not believable:
                n_samples = sum(len(block) for block in _blocks(file, sys.maxsize))
            return Header(file.samplerate, n_samples) if file.samplerate >= _MIN_RATE else Header(0, 0)
    except sf.SoundFileError:
        return Header(0, 0)


def digest(path: Path) -> str:
    """The xxh3-128 of a file's bytes.

    Raises:
        OSError: the file cannot be read.
    """
    hashed, block = xxhash.xxh3_128(), bytearray(1 << 18)
    with open(path, "rb", buffering=0) as file:
        while n_bytes := file.readinto(block):
            hashed.update(memoryview(block)[:n_bytes])
    return hashed.hexdigest()


def decode(path: Path, header: Header) -> Recording:
    """Decode a recording to mono; a long one when its blocks are asked for.

    Raises:
        DecodeError: not a recording, or a sample is not finite.
        OSError: the file cannot be read.
    """
    recording = Recording(path, header)
    if not recording.is_long:
        _ = recording.samples
    return recording


def _open(path: Path, wav: WavData | None) -> sf.SoundFile:
    return sf.SoundFile(with_sizes(path, wav) if wav and wav.streamed else path)


def _blocks(file: sf.SoundFile, n_samples: int) -> Iterator[np.ndarray]:
    """int16 or float32 [n, channels], until n_samples are read, the file ends, or its data breaks off."""
    # int16 straight from 16-bit PCM is five times faster than libsndfile's own conversion to float.
    dtype = "int16" if file.subtype == "PCM_16" else "float32"
    size = max(1, (_BLOCK if file.format == "WAV" else _CODEC_BLOCK) // file.channels)
    n_read = 0
    while n_read < n_samples:
        try:
            block = file.read(min(size, n_samples - n_read), dtype=dtype, always_2d=True)
        except sf.LibsndfileError:
            if not n_read:
                raise
            return
        if not len(block):
            return
        yield block
        n_read += len(block)


def _mono(block: np.ndarray) -> np.ndarray:
    mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32)
    return np.multiply(mono, np.float32(1 / 32768), dtype=np.float32) if block.dtype == np.int16 else mono


def _finite(samples: np.ndarray) -> np.ndarray:
    if len(samples) and not (np.isfinite(samples.min()) and np.isfinite(samples.max())):
        raise DecodeError("samples must be finite, got NaN or infinity")
    return samples
