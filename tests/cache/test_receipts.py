import numpy as np
import pytest
import xxhash

from cache.errors import CacheError, DamagedError
from cache.receipts import (
    Receipt,
    SlotResult,
    Status,
    checksum,
    done_groups,
    read_receipt,
    receipt_path,
    receipts_folder,
    withdraw,
    write_receipt,
)

RECEIPT = Receipt(
    group=7,
    checksums=("0123456789abcdef", "fedcba9876543210"),
    slots=(
        SlotResult(12, "00ff", Status.OK, 48000, float(np.float32(1 / 3))),
        SlotResult(13, "11ff", Status.TRUNCATED, 100, 1e-38),
        SlotResult(14, "22ff", Status.EMPTY),
        SlotResult(15, "", Status.FAILED, 0, -1131.3708, "Datei fehlt – “weg”", retry=True),
    ),
    versions={"numpy": "2.0", "soxr": "1.0"},
)


@pytest.fixture
def store(tmp_path):
    write_receipt(tmp_path / "raw-100.zarr", RECEIPT)
    return tmp_path / "raw-100.zarr"


def test_round_trip(store):
    found = read_receipt(store, 7)
    assert found == RECEIPT
    assert isinstance(found.slots[0].status, Status)


def test_receipts_lie_beside_their_store(store):
    assert receipts_folder(store) == store.parent / "raw-100.receipts"
    assert receipt_path(store, 7) == store.parent / "raw-100.receipts" / "000007.json"
    assert not store.exists()


def test_equal_receipts_have_equal_bytes(store):
    before = receipt_path(store, 7).read_bytes()
    write_receipt(store, RECEIPT)
    assert receipt_path(store, 7).read_bytes() == before


def test_statuses_are_pinned():
    """They are written in every store's `status` array."""
    assert {status.name: int(status) for status in Status} == {
        "PENDING": 0,
        "OK": 1,
        "TRUNCATED": 2,
        "EMPTY": 3,
        "FAILED": 4,
    }


def test_checksum_is_xxh3_64():
    assert checksum(b"chunk") == xxhash.xxh3_64_hexdigest(b"chunk")
    assert checksum(memoryview(np.zeros(1000, np.int16)).cast("B")) == checksum(bytes(2000))
    assert len(checksum(b"")) == 16


def test_done_groups_are_those_with_a_receipt(store):
    write_receipt(store, Receipt(1_234_567, (), (), {}))
    for name in ("000003.json.partial", "notes.txt", "x.json"):
        (receipts_folder(store) / name).write_text("")
    assert done_groups(store) == {7, 1_234_567}


def test_a_store_without_receipts_has_none_done(tmp_path):
    assert done_groups(tmp_path / "none.zarr") == set()


def test_a_withdrawn_receipt_is_gone(store):
    withdraw(store, 7)
    withdraw(store, 8)
    assert done_groups(store) == set()
    with pytest.raises(FileNotFoundError):
        read_receipt(store, 7)


def test_flipped_bits_are_refused_or_do_not_matter(store):
    """A receipt is checked by what it says; a flip in its white space or an escape says the same."""
    path = receipt_path(store, 7)
    data = bytearray(path.read_bytes())
    for bit in range(0, 8 * len(data), 7):  # one or two bits of every byte
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        try:
            assert read_receipt(store, 7) == RECEIPT
        except DamagedError as error:
            assert "000007.json: damaged receipt (" in str(error)
            assert str(error).endswith("; run featurize to make its chunk again")
        data[bit // 8] ^= 1 << bit % 8


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "1", '"x"', "{}", '{"checksum": 1}', "\xff"])
def test_what_is_not_a_receipt_is_refused(store, text):
    receipt_path(store, 7).write_text(text, encoding="latin-1")
    with pytest.raises(
        DamagedError, match=r"000007\.json: damaged receipt \(.*\); run featurize to make its chunk"
    ):
        read_receipt(store, 7)


def test_a_receipt_under_the_number_of_another_is_refused(store):
    receipt_path(store, 7).rename(receipt_path(store, 8))
    with pytest.raises(DamagedError, match=r"000008\.json: damaged receipt \(it is that of group 7\)"):
        read_receipt(store, 8)


def test_a_newer_version_is_refused_as_such(store, monkeypatch):
    monkeypatch.setattr("cache.receipts.VERSION", 3)
    write_receipt(store, RECEIPT)
    monkeypatch.undo()
    with pytest.raises(
        CacheError, match=r"000007\.json: format version must be at most 2, got 3; update earmark"
    ) as e:
        read_receipt(store, 7)
    assert not isinstance(e.value, DamagedError)


def test_any_flipped_bit_is_refused(store):
    path = receipt_path(store, 7)
    data = bytearray(path.read_bytes())
    for bit in range(8 * len(data)):
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        with pytest.raises(DamagedError, match="its checksum does not match"):
            read_receipt(store, 7)
        data[bit // 8] ^= 1 << bit % 8


def test_only_receipts_names_count_as_done(store):
    for name in ("7.json", "0000007.json", "00000x.json", "notes.json"):
        (receipt_path(store, 7).parent / name).write_text("{}")
    assert done_groups(store) == {7}
