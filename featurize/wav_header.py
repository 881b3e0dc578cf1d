"""What the header of a wav claims of its samples, held against the file's size.

libsndfile silently shortens a truncated wav to what is there, and reads a streamed one, whose writer never came
back to fill in the sizes, as empty. Layout (little-endian): "RIFF" size "WAVE", then chunks: id[4] size[4] data,
padded to an even length. RF64, for more than 4 GB, has sizes of all ones there and the true ones in a chunk "ds64".

Sources: Microsoft and IBM, Multimedia Programming Interface and Data Specifications 1.0, 1991; EBU Tech 3306, 2009.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

HEAD_BYTES = 512  # what `plain_header` looks at
_MOST_BYTES = 0xFFFFFFFF
_UNKNOWN = (0, _MOST_BYTES)
_MOST_CHUNKS = 10_000  # a file with more before its samples is not walked to its end
_START = struct.Struct("<4sI4s4sIHHIIHH")  # RIFF size WAVE fmt_ 16 tag channels rate byte_rate block_align bits
_PCM, _FLOAT = 1, 3
_PLAIN_WIDTHS = {(_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32), (_FLOAT, 64)}  # bits a sample


@dataclass(frozen=True)
class PlainWav:
    """A wav whose header says all: rate in Hz, samples per channel, channels, where samples begin, their form."""

    rate: int
    n_samples: int
    channels: int
    offset: int
    is_int16: bool


@dataclass(frozen=True)
class WavData:
    """A wav's data chunk: where it begins, bytes that it claims, bytes that are there, bytes of a sample frame.

    streamed: the header leaves the size out.
    """

    offset: int
    claimed: int
    available: int
    block_align: int
    streamed: bool

    @property
    def truncated(self) -> bool:
        """Whether samples are missing: the file ends before they do, or no header could claim so many."""
        return self.available > _MOST_BYTES if self.streamed else self.claimed > self.available

    @property
    def n_samples(self) -> int:
        """Samples per channel that are there."""
        n_bytes = min(self.available, _MOST_BYTES) if self.streamed else min(self.claimed, self.available)
        return n_bytes // self.block_align


def plain_header(head: bytes, file_size: int) -> PlainWav | None:
    """Read the header of an ordinary wav, from the first `HEAD_BYTES` of the file.

    None for any other file: a format chunk of more than 16 bytes, a chunk that is neither a LIST nor the samples
    before or behind them, a size that is not the file's, a number that is out of the ordinary. libsndfile reads
    those. It takes several times as long, and gives the same for plain ones.
    """
    if len(head) < _START.size:
        return None
    riff, size, wave, fmt, fmt_size, tag, channels, rate, byte_rate, block_align, bits = _START.unpack_from(head)
    ordinary = (
        (riff, size, wave, fmt, fmt_size) == (b"RIFF", file_size - 8, b"WAVE", b"fmt ", 16)
        and (tag, bits) in _PLAIN_WIDTHS
        and (block_align, byte_rate) == (channels * bits // 8, rate * block_align)
        and 1 <= channels <= 8
        and 1000 <= rate <= 192_000
    )
    offset, n_bytes = _data_after_lists(head, _START.size)
    if ordinary and 0 < n_bytes == file_size - offset and n_bytes % block_align == 0:
        return PlainWav(rate, n_bytes // block_align, channels, offset, (tag, bits) == (_PCM, 16))
    return None


def wav_data(file: BinaryIO) -> WavData | None:
    """Find the data chunk of a wav; None for any other file, and for a wav without one.

    A chunk whose name is zeros ends the search: it lies in space that a recorder reserved and never wrote.
    """
    size, block_align, long_size = file.seek(0, os.SEEK_END), 1, None
    file.seek(0)
    start = file.read(12)
    if start[:4] not in (b"RIFF", b"RF64") or start[8:] != b"WAVE":
        return None
    for name, claimed in _chunks(file):
        offset = file.tell()
        if name == b"data":
            if start[:4] == b"RF64" and claimed == _MOST_BYTES and long_size is not None:
                return WavData(offset, long_size, size - offset, max(1, block_align), streamed=False)
            is_open = start[:4] == b"RIFF" and claimed in _UNKNOWN and size > offset
            streamed = is_open and not (claimed == 0 and _chunks_follow(file, size))
            return WavData(offset, claimed, size - offset, max(1, block_align), streamed)
        body = file.read(16) if name in (b"fmt ", b"ds64") else b""
        if name == b"fmt " and len(body) >= 14:
            (block_align,) = struct.unpack_from("<H", body, 12)
        if name == b"ds64" and len(body) == 16:
            (long_size,) = struct.unpack_from("<Q", body, 8)
        file.seek(offset + claimed + claimed % 2)
    return None


def head_with_sizes(file: BinaryIO, wav: WavData) -> bytes:
    """The bytes of a streamed wav before its samples, with the two sizes filled in."""
    file.seek(0)
    head = bytearray(file.read(wav.offset))
    struct.pack_into("<I", head, 4, min(wav.offset + wav.available - 8, _MOST_BYTES))
    struct.pack_into("<I", head, wav.offset - 4, wav.n_samples * wav.block_align)
    return bytes(head)


def _data_after_lists(head: bytes, offset: int) -> tuple[int, int]:
    """Where the samples begin and the bytes that they claim; 0, 0 if any chunk but LIST lies before them."""
    while offset + 8 <= len(head):
        name, size = struct.unpack_from("<4sI", head, offset)
        offset += 8
        if name == b"data":
            return offset, size
        if name != b"LIST" or size % 2:
            break
        offset += size
    return 0, 0


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Name and size of each chunk from here on; whoever asks for the next has moved the file to it."""
    for _ in range(_MOST_CHUNKS):
        header = file.read(8)
        if len(header) < 8 or header[:4] == bytes(4):
            return
        yield struct.unpack("<4sI", header)


def _chunks_follow(file: BinaryIO, size: int) -> bool:
    """Whether a data chunk of size 0 is followed by whole chunks to the file's end: then it is truly empty."""
    for _, length in _chunks(file):
        if file.seek(length + length % 2, os.SEEK_CUR) >= size:
            return file.tell() == size
    return False
