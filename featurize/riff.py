"""What a RIFF/WAVE header claims of its samples, held against the file.

libsndfile silently shortens a truncated wav to what is there, and reads a streamed one, whose writer never came
back to fill in the sizes, as empty. Layout (little-endian): "RIFF" size "WAVE", then chunks: id[4] size[4] data,
padded to an even length. Source: Microsoft and IBM, Multimedia Programming Interface and Data Specifications
1.0, 1991.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_UNKNOWN = (0, 0xFFFFFFFF)


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


def with_sizes(data: bytes, wav: WavData) -> bytes:
    """A streamed wav's bytes with its two sizes filled in."""
    filled = bytearray(data)
    struct.pack_into("<I", filled, 4, min(len(data) - 8, 0xFFFFFFFF))
    struct.pack_into("<I", filled, wav.offset - 4, min(wav.n_samples * wav.block_align, 0xFFFFFFFF))
    return bytes(filled)


def _chunks_follow(file: BinaryIO, claimed: int, size: int) -> bool:
    """Whether a data chunk of size 0 is followed by whole chunks to the file's end: then it is truly empty."""
    if claimed:
        return False
    while len(header := file.read(8)) == 8:
        length = struct.unpack("<I", header[4:])[0]
        if file.seek(length + length % 2, 1) >= size:
            return file.tell() == size
    return False
