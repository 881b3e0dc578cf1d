"""A store's chunks, compared with the checksums in their receipts before anything is made of them."""

from pathlib import Path

from cache.errors import DamagedError
from cache.receipts import Receipt, checksum

_MEND = "run `python -m cache verify`, then featurize"


def check_chunk(path: Path, data: bytes | memoryview, receipt: Receipt, chunk: int) -> None:
    """Refuse bytes that are not those of a chunk that its receipt counts.

    Raises:
        DamagedError: names the file.
    """
    expected, found = receipt.checksums[chunk - receipt.group], checksum(data)
    if found != expected:
        raise DamagedError(f"{path}: checksum must be {expected}, got {found}; {_MEND}")


def read_sound_chunk(path: Path, receipt: Receipt, chunk: int) -> bytes:
    """Read a chunk's file and check it.

    Raises:
        DamagedError: it is missing, or not what its receipt counts.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise DamagedError(f"{path}: chunk must be there, got no file; {_MEND}") from error
    check_chunk(path, data, receipt, chunk)
    return data
