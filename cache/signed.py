"""JSON files that end with a checksum of all their bytes before it, so that any byte that changes shows."""

import json

import xxhash

_DIGITS = 16
_END = b'"\n}'


def signed(body: dict) -> bytes:
    """A file of body, with `checksum` as its last field: the xxh3-64 of the file up to there."""
    text = json.dumps({**body, "checksum": ""}, indent=1).encode().removesuffix(_END)
    return text + _checksum(text) + _END


def unsigned(data: bytes) -> dict:
    """The body that `signed` made a file of, its checksum included.

    Raises:
        ValueError: these are not the bytes that `signed` made.
    """
    text = data[: -_DIGITS - len(_END)]
    if data != text + _checksum(text) + _END:
        raise ValueError("its checksum does not match")
    return json.loads(data)


def _checksum(text: bytes) -> bytes:
    return f"{xxhash.xxh3_64_intdigest(text):016x}".encode()
