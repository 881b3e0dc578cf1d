"""Decoding: a recording's header, its digest, and its samples as one float32 channel.

libsndfile, through soundfile, reads wav, flac, ogg, mp3 and what else it knows, at any rate and width, by the
content and whatever the name. A plain 16-bit wav needs no library. A recording's bytes are read once where they fit
in memory: digest and samples are then of the same bytes. A recording with less data than its header claims is used
as far as it goes and marked truncated.
"""

import io
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile as sf
import xxhash

from cache.storage import LocalStorage
from featurize.wav_header import HEAD_BYTES, head_with_sizes, read_wav

SUFFIXES = frozenset(  # of files that are taken for recordings where nothing lists them
    ".aif .aifc .aiff .au .caf .flac .mp3 .mpga .oga .ogg .opus .rf64 .snd .w64 .wav .wave .wv".split()  # noqa: SIM905
)
HELD_BYTES = 1 << 26  # a larger file is not held in memory
_BLOCK = 1 << 20  # samples a read
_CODEC_BLOCK = 1 << 14  # where data may break off in the middle: what is lost then is at most a block
_OF_FFMPEG = {  # how files begin that phones and cameras make
    "MP4, M4A or MOV": rb".{4}ftyp",
    "Matroska or WebM": rb"\x1aE\xdf\xa3",
    "AVI": rb"RIFF.{4}AVI ",
    "WMA or WMV": rb"0&\xb2u\x8ef\xcf\x11",
    "AAC": rb"\xff[\xf0\xf1\xf8\xf9]",
    "AMR": rb"#!AMR",
}
_MIN_RATE = 100  # Hz; a header that says less is taken for a lie, as its clip would fill the disk once resampled
_MOST_HOURS = 24 * 7  # a few KB of FLAC can claim years of silence, which would fill the disk
# No codec packs real sound tighter than this many samples a byte; a header that claims more is not believed.
_PLAUSIBLE_SAMPLES_PER_BYTE = 64
_OGG_TAIL = 1 << 17  # bytes at the end of an Ogg file that hold its last page whole: a page has at most 65,307


class DecodeError(ValueError):
    """A recording that cannot be decoded; the message is the reason."""


class ReadError(OSError):
    """A recording that cannot be read now, or is not what it was; the message is the reason."""

    @classmethod
    def of(cls, error: OSError) -> "ReadError":
        """The same error, in the system's words."""
        return cls(error.strerror or str(error))


class Buffers:
    """Arrays by name, in memory that is used again from clip to clip: each fresh page of 4 KB costs a page fault.

    They are for one thread; an array is valid until its name is taken again.
    """

    def __init__(self):
        self._kept: dict[str, np.ndarray] = {}

    def take(self, name: str, shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
        """An array of any content."""
        n_bytes = prod(shape) * np.dtype(dtype).itemsize
        if name not in self._kept or len(self._kept[name]) < n_bytes:
            self._kept[name] = np.empty(n_bytes + n_bytes // 8, np.uint8)
        return self._kept[name][:n_bytes].view(dtype).reshape(shape)


@dataclass(frozen=True)
class Header:
    """What a header says, or decoding where headers only estimate: rate in Hz, samples per channel."""

    native_rate: int
    native_samples: int


class Recording:
    """An open recording: its digest, and its samples in blocks, as often as they are asked for.

    digest: the xxh3-128 of its bytes. size, mtime_ns: of the file that was opened. sample_rate: Hz. truncated:
    whether data was missing, known once the blocks have been read.

    >>> import io, soundfile
    >>> soundfile.write(file := io.BytesIO(), np.zeros(800), 8000, format="FLAC")
    >>> with Recording(file.getvalue(), Header(8000, 800)) as recording:
    ...     len(recording.samples()), recording.truncated
    (800, False)
    """

    def __init__(self, source: Path | bytes, header: Header, buffers: Buffers | None = None, mtime_ns: int = 0):
        """Open a recording, a file or its bytes, and read it once.

        Args:
            header: as `read_header` gave it; no more samples than it says are taken. mtime_ns: of bytes.
        Raises:
            ReadError: it cannot be read, is not a file, or changed while it was read.
        """
        self.header, self.sample_rate, self.truncated = header, header.native_rate, False
        self._buffers, self._file = buffers or Buffers(), None
        if isinstance(source, bytes):
            self.size, self.mtime_ns, self._data = len(source), mtime_ns, source
            self.digest = xxhash.xxh3_128_hexdigest(source)
            return
        with ExitStack() as opened:
            try:
                self._file = opened.enter_context(_open(source))
                self.size, self.mtime_ns = self._look()
                self._data = self._read_all() if self.size <= HELD_BYTES else None
                self.digest = _hashed(self._file) if self._data is None else xxhash.xxh3_128_hexdigest(self._data)
            except OSError as error:
                raise ReadError.of(error) from error
            self._check_unchanged()
            if self._data is None:
                opened.pop_all()  # to be read again
            else:
                self._file = None

    def __enter__(self) -> "Recording":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()
            self._file = None

    def samples(self) -> np.ndarray:
        """All samples, float32 [n], valid until the next recording with the same buffers; raises as `blocks`."""
        out = self._buffers.take("samples", (self.header.native_samples,))
        return out[: sum(map(len, self.blocks(out)))]

    def blocks(self, out: np.ndarray | None = None) -> Iterator[np.ndarray]:
        """float32 [n] each, the mean of the channels.

        Args:
            out: float32 [all samples], to lay the blocks in, one after another; else each is an array of its own.
        Raises:
            DecodeError: not a recording, or a sample is not finite.
            ReadError: the file cannot be read, or changed meanwhile.
        """
        n_samples = 0
        with self._decoding() as (blocks, has_integers, lacks_data):
            for block in blocks:
                mono = _mono(block, np.empty(len(block), np.float32) if out is None else out[n_samples:])
                if not (has_integers or np.isfinite([mono.min(), mono.max()]).all()):
                    raise DecodeError("samples must be finite, got NaN or infinity")
                n_samples += len(block)
                yield mono
        self.truncated = n_samples < self.header.native_samples or lacks_data

    @contextmanager
    def _decoding(self) -> Iterator[tuple[Iterable[np.ndarray], bool, bool]]:
        """Blocks, int16 or float32 [n, channels]; whether they are of integers; whether the file was cut."""
        plain = self._plain()
        if plain is not None or not self.size:
            yield (() if plain is None else np.split(plain, range(_BLOCK, len(plain), _BLOCK))), True, False
            return
        try:
            with _sound(self._file or io.BytesIO(self._data)) as (file, lacks_data):
                self._check_header(file)
                has_integers = file.subtype.startswith("PCM_") or file.subtype in ("ULAW", "ALAW")
                yield _blocks(file, self.header.native_samples), has_integers, lacks_data
        except sf.LibsndfileError as error:
            raise DecodeError(self._why(error.error_string.strip(". "))) from error
        self._check_unchanged()

    def _why(self, reason: str) -> str:
        """Why libsndfile cannot decode it, and what can."""
        file = self._file or io.BytesIO(self._data)
        file.seek(0)
        head = file.read(HEAD_BYTES)
        for kind, pattern in _OF_FFMPEG.items():
            if re.match(pattern, head, re.DOTALL):
                return f"{kind}, which libsndfile cannot decode; convert it, for example by ffmpeg -i FILE FILE.wav"
        return f"not a recording that libsndfile can decode ({reason})"

    def _plain(self) -> np.ndarray | None:
        """int16 [n, channels]: the samples of a plain 16-bit wav in memory; None for any other recording."""
        wav = self._data and read_wav(io.BytesIO(self._data[:HEAD_BYTES]), self.size)
        if not wav or not wav.is_plain or wav.bits != 16 or wav.rate != self.header.native_rate:
            return None
        samples = np.frombuffer(self._data, "<i2", wav.n_samples * wav.channels, wav.offset)
        return samples.reshape(-1, wav.channels)[: self.header.native_samples]

    def _read_all(self) -> memoryview:
        data = memoryview(self._buffers.take("file", (self.size,), "uint8"))
        n_read = 0
        while n_read < self.size and (n := self._file.readinto(data[n_read:])):
            n_read += n
        return data[:n_read]

    def _look(self) -> tuple[int, int]:
        found = os.fstat(self._file.fileno())
        return found.st_size, found.st_mtime_ns

    def _check_unchanged(self) -> None:
        if self._file and self._look() != (self.size, self.mtime_ns):
            raise ReadError("changed while it was read; run featurize again")

    def _check_header(self, file: sf.SoundFile) -> None:
        """Refuse a recording that nobody could decode, with the reason, or that the plan has no room for."""
        n_samples = 0 if self.header.native_rate else _n_samples(file, self.size)
        if reason := _absurd(file.samplerate, n_samples):
            raise DecodeError(reason)
        if not self.header.native_rate:
            raise DecodeError("its header could not be read when it was planned; touch it and run featurize again")


def read_header(source: Path | bytes) -> Header:
    """Read the header of a recording, a file or its bytes; 0 Hz and 0 samples for what is not a recording.

    Decoding finds the reason. mp3 headers only estimate, some lie, and some leave the length out: those recordings
    are measured by decoding.

    Raises:
        OSError: the file cannot be read, or is not a file.
    """
    with io.BytesIO(source) if isinstance(source, bytes) else _open(source) as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        wav = read_wav(io.BytesIO(stream.read(HEAD_BYTES)), size)
        if wav and wav.is_plain:
            return Header(wav.rate, wav.n_samples)
        try:
            with _sound(stream) as (file, _):
                header = Header(file.samplerate, _n_samples(file, size))
        except sf.SoundFileError:
            return Header(0, 0)
        return Header(0, 0) if _absurd(header.native_rate, header.native_samples) else header


def _open(path: Path) -> io.FileIO:
    return open(LocalStorage(path.parent).open(path.name), "rb", buffering=0)


def _hashed(file: io.FileIO) -> str:
    hashed, block = xxhash.xxh3_128(), bytearray(1 << 18)
    while n_bytes := file.readinto(block):
        hashed.update(memoryview(block)[:n_bytes])
    return hashed.hexdigest()


class _Forward(sf.SoundFile):
    """A recording that is read from its beginning to its end.

    soundfile seeks after each read if it can. In a FLAC whose header leaves its length out the last of these fails,
    and takes the samples with it.
    """

    def seekable(self) -> bool:
        return False


class _Stream:
    """A file for libsndfile, which takes a read error for the file's end: the error is kept.

    head: bytes that stand in for the file's first.
    """

    def __init__(self, file: BinaryIO, head: bytes):
        self._file, self._head, self.error = file, head, None
        self.seek, self.tell = file.seek, file.tell

    def readinto(self, buffer: memoryview) -> int:
        begin = self._file.tell()
        try:
            n_bytes = self._file.readinto(buffer)
        except OSError as error:
            self.error = ReadError.of(error)
            return 0
        head = self._head[begin : begin + n_bytes]
        buffer[: len(head)] = head
        return n_bytes


@contextmanager
def _sound(file: BinaryIO) -> Iterator[tuple[sf.SoundFile, bool]]:
    """Open a recording with libsndfile; also whether the file ends before its samples do."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    wav = read_wav(file, size)
    lacks_data = wav.truncated if wav else _is_cut_ogg(file, size)
    stream = _Stream(file, head_with_sizes(file, wav) if wav and wav.streamed else b"")
    file.seek(0)
    try:
        with _Forward(stream) as sound:
            yield sound, lacks_data
    finally:
        if stream.error:
            raise stream.error


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


def _n_samples(file: sf.SoundFile, size: int) -> int:
    """Samples per channel, measured where the header is not believed."""
    if file.format != "MPEG" and file.frames <= _PLAUSIBLE_SAMPLES_PER_BYTE * size:
        return file.frames
    return sum(map(len, _blocks(file, _MOST_HOURS * 3600 * file.samplerate + 1)))


def _absurd(sample_rate: int, n_samples: int) -> str:
    """Why a recording of so many samples, at this rate (Hz), is refused; "" if it is not."""
    if sample_rate < _MIN_RATE:
        return f"its sample rate must be at least {_MIN_RATE} Hz, got {sample_rate}"
    if n_samples > _MOST_HOURS * 3600 * sample_rate:
        return f"it must be at most {_MOST_HOURS} h long, got more; cut it into parts"
    return ""


def _is_cut_ogg(file: BinaryIO, size: int) -> bool:
    """Whether an Ogg file ends before its last page, the one that is marked as the end of its stream.

    Source: RFC 3533, section 6: "OggS", version, flags (4: last page), ..., the number of segments in byte 26.
    """
    file.seek(0)
    if file.read(4) != b"OggS":
        return False
    file.seek(max(0, size - _OGG_TAIL))
    tail = file.read(_OGG_TAIL)
    page = tail[tail.rfind(b"OggS\0") :]
    segments = page[27 : 27 + page[26]] if len(page) > 26 else b""
    return not segments or len(page) < 27 + page[26] + sum(segments) or not page[5] & 4


def _mono(block: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Fill out with the mean of the channels of a block, int16 or float32 [n, channels], and return it."""
    out, channels = out[: len(block)], block.shape[1]
    scale = np.float32((1 / 32768 if block.dtype == np.int16 else 1) / channels)
    if channels == 1:
        return np.multiply(block[:, 0], scale, out=out)
    np.add(block[:, 0], block[:, 1], out=out, dtype=np.float32)
    for channel in range(2, channels):
        out += block[:, channel]
    out *= scale
    return out
