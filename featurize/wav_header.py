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

HEAD_BYTES = 512  # enough of a plain wav for `read_wav`
_MOST_BYTES = 0xFFFFFFFF
_FORMAT = struct.Struct("<HHIIHH")  # tag, channels, rate, bytes a second, bytes a sample of all channels, bits
_MOST_CHUNKS = 10_000  # a file with more before its samples is not walked to its end
_PCM, _FLOAT = 1, 3
_PLAIN_WIDTHS = {(_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32), (_FLOAT, 64)}  # bits a sample


@dataclass(frozen=True)
class Wav:
    """What a wav says of its samples: channels, rate (Hz), bytes a sample of all channels, bits a sample.

    offset: where the samples begin. n_bytes: that are there of them. truncated: the header claims more, or leaves
    out a size that no header could tell. streamed: the header leaves the size out. is_plain: `read_wav` tells all
    of it as libsndfile does.
    """

    channels: int
    rate: int
    block_align: int
    bits: int
    offset: int
    n_bytes: int
    truncated: bool
    streamed: bool
    is_plain: bool

    @property
    def n_samples(self) -> int:
        """Samples per channel that are there."""
        return self.n_bytes // self.block_align


def read_wav(file: BinaryIO, size: int) -> Wav | None:
    """Read the header of a wav; None for any other file, and for a wav without a data chunk.

    A plain one has no chunk but LIST between its format, of 16 bytes, and its samples, none behind them, and no
    number out of the ordinary. libsndfile reads the others; it takes several times as long, and gives the same for
    plain ones.

    Args:
        file: at its beginning; the first `HEAD_BYTES` tell whether it is plain. size: bytes of the whole file.
    """
    start, form, long_size, is_plain = file.read(12), (0, 0, 0, 0, 1, 0), _MOST_BYTES, True
    if start[:4] not in (b"RIFF", b"RF64") or start[8:] != b"WAVE":
        return None
    for number, (name, claimed) in enumerate(_chunks(file)):
        offset = file.tell()
        if name == b"data":
            break
        body = file.read(16).ljust(16, b"\0") if name in (b"fmt ", b"ds64") else b""
        if name == b"fmt ":
            form = _FORMAT.unpack(body)
        if name == b"ds64":
            (long_size,) = struct.unpack_from("<Q", body, 8)
        is_plain &= name == b"LIST" and claimed % 2 == 0 if number else (name, claimed) == (b"fmt ", 16)
        file.seek(offset + claimed + claimed % 2)
    else:
        return None
    tag, channels, rate, byte_rate, block_align, bits = form
    available, is_riff = size - offset, start[:4] == b"RIFF"
    is_plain = (
        is_plain
        and start[:8] == struct.pack("<4sI", b"RIFF", (size - 8) % 2**32)
        and (tag, bits) in _PLAIN_WIDTHS
        and (block_align, byte_rate) == (channels * bits // 8, rate * block_align)
        and 1 <= channels <= 8
        and 1000 <= rate <= 192_000
        and 0 < claimed == available
        and claimed % block_align == 0
    )
    left_out = claimed == _MOST_BYTES or (claimed == 0 and not _chunks_follow(file, size))
    streamed = is_riff and available > 0 and left_out
    if streamed:
        n_bytes, claimed = min(available, _MOST_BYTES), available
    else:
        claimed = long_size if claimed == _MOST_BYTES else claimed
        n_bytes = min(available, claimed)
    return Wav(channels, rate, max(1, block_align), bits, offset, n_bytes, claimed > n_bytes, streamed, is_plain)


def head_with_sizes(file: BinaryIO, wav: Wav) -> bytes:
    """The bytes of a streamed wav before its samples, with the two sizes filled in."""
    file.seek(0)
    head = bytearray(file.read(wav.offset))
    struct.pack_into("<I", head, 4, min(wav.offset + wav.n_bytes - 8, _MOST_BYTES))
    struct.pack_into("<I", head, wav.offset - 4, wav.n_samples * wav.block_align)
    return bytes(head)


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Name and size of each chunk from here on; whoever asks for the next has moved the file to it.

    A name of zeros ends them: it lies in space that a recorder reserved and never wrote.
    """
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
