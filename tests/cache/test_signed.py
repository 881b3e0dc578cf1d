import json

import pytest

from cache.signed import signed, unsigned

BODY = {"name": "Glöckchen", "n": [1, 2.5, None]}


def test_round_trip():
    assert unsigned(signed(BODY)) == {**BODY, "checksum": json.loads(signed(BODY))["checksum"]}


def test_the_file_is_json_with_the_checksum_last():
    assert list(json.loads(signed(BODY))) == ["name", "n", "checksum"]


def test_every_flipped_bit_and_every_cut_is_refused():
    data = bytearray(signed(BODY))
    for bit in range(8 * len(data)):
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError, match="its checksum does not match"):
            unsigned(bytes(data))
        data[bit // 8] ^= 1 << bit % 8
    for n_bytes in range(len(data)):
        with pytest.raises(ValueError, match="its checksum does not match"):
            unsigned(bytes(data[:n_bytes]))
