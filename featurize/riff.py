"""What a RIFF/WAVE header claims of its samples, held against the file.

libsndfile silently shortens a truncated wav to what is there, and reads a streamed one, whose writer never came
back to fill in the sizes, as empty. Layout (little-endian): "RIFF" size "WAVE", then chunks: id[4] size[4] data,
padded to an even length. Source: Microsoft and IBM, Multimedia Programming Interface and Data Specifications
1.0, 1991.
"""

import os
import struct
from dataclasses import dataclass
from mmap import ACCESS_COPY, mmap
from pathlib import Path
from typing import BinaryIO

_UNKNOWN = (0, 0xFFFFFFFF)
_START = struct.Struct("<4sI4s4sIHHIIHH")  # RIFF size WAVE fmt_ 16 tag channels rate byte_rate block_align bits
_PCM, _FLOAT = 1, 3
_PLAIN_WIDTHS = {(_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32), (_FLOAT, 64)}  # bits a sample


@dataclass(frozen=True)
class WavData:
    """A wav's data chunk: where it begins, what it claims, what is there, and the bytes of one sample frame."""

    offset: int
    claimed: int
    available: int
    block_align: int
    streamed: bool

    @property
    def truncated(self) -> bool:
        """Whether the file ends before its samples do."""
        return not self.streamed and self.claimed > self.available

    @property
    def n_samples(self) -> int:
        """Samples per channel that are there."""
        n_bytes = self.available if self.streamed else min(self.claimed, self.available)
        return n_bytes // self.block_align


def plain_header(path: Path) -> tuple[int, int] | None:
    """Rate (Hz) and samples per channel of a wav about which there is nothing to ask, from one small read.

    None for any other file: a format chunk of more than 16 bytes, a chunk that is neither a LIST nor the samples
    before or behind them, a size that is not the file's, a number that is out of the ordinary. libsndfile reads
    those. It takes several times as long, and gives the same for plain ones.
    """
    with open(path, "rb", buffering=0) as file:
        start, file_size = file.read(512), os.fstat(file.fileno()).st_size
    if len(start) < _START.size:
        return None
    riff, size, wave, fmt, fmt_size, tag, channels, rate, byte_rate, block_align, bits = _START.unpack_from(start)
    ordinary = (
        (riff, size, wave, fmt, fmt_size) == (b"RIFF", file_size - 8, b"WAVE", b"fmt ", 16)
        and (tag, bits) in _PLAIN_WIDTHS
        and (block_align, byte_rate) == (channels * bits // 8, rate * block_align)
        and 1 <= channels <= 8
        and 1000 <= rate <= 192_000
    )
    offset, n_bytes = _data_after_lists(start, _START.size)
    if ordinary and 0 < n_bytes == file_size - offset and n_bytes % block_align == 0:
        return rate, n_bytes // block_align
    return None


def _data_after_lists(start: bytes, offset: int) -> tuple[int, int]:
    """Where the samples begin and the bytes that they claim; 0, 0 if any chunk but LIST lies before them."""
    while offset + 8 <= len(start):
        name, size = struct.unpack_from("<4sI", start, offset)
        offset += 8
        if name == b"data":
            return offset, size
        if name != b"LIST" or size % 2:
            break
        offset += size
    return 0, 0


def wav_data(path: Path) -> WavData | None:
    """Find the data chunk of a wav; None for any other file, and for a wav without one."""
    with open(path, "rb") as file:
        start = file.read(12)
        if start[:4] != b"RIFF" or start[8:] != b"WAVE":
            return None
        size, block_align = path.stat().st_size, 1
        while len(header := file.read(8)) == 8:
            name, claimed = struct.unpack("<4sI", header)
            if name == b"data":
                offset = file.tell()
                streamed = claimed in _UNKNOWN and size > offset and not _chunks_follow(file, claimed, size)
                return WavData(offset, claimed, size - offset, max(1, block_align), streamed)
            body = file.read(14) if name == b"fmt " else b""
            if len(body) == 14:
                (block_align,) = struct.unpack_from("<H", body, 12)
            file.seek(claimed + claimed % 2 - len(body), 1)
    return None


def with_sizes(path: Path, wav: WavData) -> mmap:
    """A streamed wav with its two sizes filled in, as an open file; the file on disk is not touched."""
    with open(path, "rb") as file:
        filled = mmap(file.fileno(), 0, access=ACCESS_COPY)
    struct.pack_into("<I", filled, 4, min(len(filled) - 8, 0xFFFFFFFF))
    struct.pack_into("<I", filled, wav.offset - 4, min(wav.n_samples * wav.block_align, 0xFFFFFFFF))
    return filled


def _chunks_follow(file: BinaryIO, claimed: int, size: int) -> bool:
    """Whether a data chunk of size 0 is followed by whole chunks to the file's end: then it is truly empty."""
    if claimed:
        return False
    while len(header := file.read(8)) == 8:
        length = struct.unpack("<I", header[4:])[0]
        if file.seek(length + length % 2, 1) >= size:
            return file.tell() == size
    return False
