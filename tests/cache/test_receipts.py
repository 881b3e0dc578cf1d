import json
import os

import numpy as np
import pytest
import xxhash

from cache.receipts import (
    Receipt,
    Receipts,
    SlotResult,
    Status,
    begun_with,
    checksum,
    chunk_files,
    done_groups,
    read_receipt,
    read_receipts,
    receipts_folder,
    signed,
    unsigned,
    withdraw,
    write_receipt,
)
from cache.storage import CacheError, DamagedError, LocalStorage

SUM = "0123456789abcdef"
RECORDING = {"file": "audio_train/Glöckchen.wav", "size": 44, "mtime_ns": -5, "native_rate": 48000}
RECEIPT = Receipt(
    group=7,
    checksums=(SUM, "fedcba9876543210"),
    slots=(
        SlotResult(12, "00ff" * 8, Status.OK, 48000, float(np.float32(1 / 3)), checksum=SUM, **RECORDING),
        SlotResult(13, "11ff" * 8, Status.TRUNCATED, 100, 1e-38, checksum=SUM, native_samples=2**40),
        SlotResult(14, "22ff" * 8, Status.EMPTY),
        SlotResult(15, "", Status.FAILED, 0, -1131.3708, "Datei fehlt – “weg”", retry=True),
    ),
    versions={"numpy": "2.0", "soxr": "1.0"},
)


@pytest.fixture
def store(tmp_path):
    """A store with one receipt, and chunk files for it."""
    store = LocalStorage(tmp_path / "raw-100.zarr")
    write_receipt(store, RECEIPT)
    for chunk in (7, 8):
        store.write(f"features/c/{chunk}", b"")
    return store


def _path(store, group=7):
    return receipts_folder(store).path(f"{group:06d}.json")


def test_round_trip(store):
    found = read_receipt(store, 7)
    assert found == RECEIPT
    assert isinstance(found.slots[0].status, Status)


def test_receipts_lie_beside_their_store(store):
    assert receipts_folder(store) == store.parent / "raw-100.receipts"
    assert receipts_folder(store).names() == ["000007.json"]


def test_equal_receipts_have_equal_bytes(store):
    before = _path(store).read_bytes()
    write_receipt(store, RECEIPT)
    assert _path(store).read_bytes() == before


def test_statuses_are_pinned():
    """They are written in every store's `status` array."""
    names = ["PENDING", "OK", "TRUNCATED", "EMPTY", "FAILED"]
    assert {status.name: int(status) for status in Status} == {name: n for n, name in enumerate(names)}


def test_checksum_is_xxh3_64():
    assert checksum(b"chunk") == xxhash.xxh3_64_hexdigest(b"chunk")
    assert checksum(memoryview(np.zeros(1000, np.int16)).cast("B")) == checksum(bytes(2000))


def test_done_groups_are_those_with_a_receipt(store):
    write_receipt(store, Receipt(1_234_567, (SUM,), (), {}))
    for name in (
        "7.json",
        "0000007.json",
        "00000x.json",
        "notes.json",
        "notes.txt",
        ".earmark-01234567-000003.json",
    ):
        (_path(store).parent / name).write_text("{}")
    assert done_groups(store) == {7, 1_234_567}
    assert done_groups(store.parent / "none.zarr") == set()


def test_a_withdrawn_receipt_is_gone(store):
    withdraw(store, 7)
    withdraw(store, 8)
    assert done_groups(store) == set()
    with pytest.raises(FileNotFoundError):
        read_receipt(store, 7)


@pytest.mark.slow
def test_any_flipped_bit_is_refused(store):
    data = bytearray(_path(store).read_bytes())
    for bit in range(8 * len(data)):
        data[bit // 8] ^= 1 << bit % 8
        _path(store).write_bytes(data)
        with pytest.raises(DamagedError, match="its checksum does not match"):
            read_receipt(store, 7)
        data[bit // 8] ^= 1 << bit % 8


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "1", '"x"', "{}", '{"checksum": 1}', "\xff", "[" * 10**5])
def test_what_is_not_a_receipt_is_refused(store, text):
    _path(store).write_text(text, encoding="latin-1")
    message = r"000007\.json: damaged receipt \(.*\); run featurize to make its chunk"
    with pytest.raises(DamagedError, match=message):
        read_receipt(store, 7)


ODD_VALUES = [None, True, 1.5, 10**30, -1, "x", [], {}, float("nan"), float("inf"), "Ä" * 16, "\ud800"]


@pytest.mark.parametrize("odd", ODD_VALUES, ids=ascii)
def test_a_receipt_whose_fields_are_odd_is_refused(store, odd):
    """Its own checksum is right, as that of one that was written by hand."""
    sound = json.loads(_path(store).read_bytes())
    del sound["checksum"]
    for name in ("group", "checksums", "slots", "versions"):
        if (name, odd) != ("versions", {}):
            _refused(store, {**sound, name: odd})
        _refused(store, {key: value for key, value in sound.items() if key != name})
    for name, column in sound["slots"].items():
        _refused(store, {**sound, "slots": {**sound["slots"], name: odd}})
        _refused(store, {**sound, "slots": {**sound["slots"], name: column[1:]}})
        fine = (name in {"reason", "file"} and isinstance(odd, str) and odd != "\ud800") or (
            (name in {"mtime_ns", "size"} and odd == -1)
            or (name == "value" and odd in (1.5, 10**30, -1))
            or (name == "retry" and odd is True)
        )
        if not fine:
            _refused(store, {**sound, "slots": {**sound["slots"], name: [odd, *column[1:]]}})
    _refused(store, {**sound, "checksums": [odd]})
    _refused(
        store, {**sound, "versions": {"numpy": odd}} if not isinstance(odd, str) else {**sound, "versions": odd}
    )


def _refused(store, body) -> None:
    _path(store).write_bytes(signed(body))
    with pytest.raises(DamagedError, match=r"000007\.json: damaged receipt \("):
        read_receipt(store, 7)
    assert dict(read_receipts(store)) == {}


def test_a_slot_that_is_there_twice_is_refused(store):
    write_receipt(store, Receipt(7, (SUM,), (RECEIPT.slots[0],) * 2, {}))
    with pytest.raises(DamagedError, match=r"damaged receipt \(it must have each field once for each slot\)"):
        read_receipt(store, 7)


def test_json_that_is_nested_too_deeply_is_refused():
    text = b'{"a": ' + b"[" * 10**5 + b"]" * 10**5 + b',\n "checksum": "'
    with pytest.raises(ValueError, match="nested too deeply"):
        unsigned(text + checksum(text).encode() + b'"\n}')


def test_a_receipt_under_the_number_of_another_is_refused(store):
    _path(store).rename(_path(store, 8))
    with pytest.raises(DamagedError, match=r"000008\.json: damaged receipt \(it is that of another group\)"):
        read_receipt(store, 8)


@pytest.mark.parametrize("version", [2, 4, "3", None])
def test_another_version_is_refused_as_such(store, version):
    body = {**json.loads(_path(store).read_bytes()), "version": version}
    del body["checksum"]
    _path(store).write_bytes(signed(body))
    for read in (lambda: read_receipt(store, 7), lambda: read_receipts(store)):
        with pytest.raises(
            CacheError, match=rf"000007\.json: receipt version must be 3, got {version}; use"
        ) as raised:
            read()
        assert not isinstance(raised.value, DamagedError)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink(path, path)])
def test_a_pipe_a_folder_or_an_endless_link_is_no_receipt(store, make):
    _path(store).unlink()
    make(_path(store))
    with pytest.raises(OSError):
        read_receipt(store, 7)
    assert dict(read_receipts(store)) == {}


RECEIPTS = [
    Receipt(
        0,
        ("a" * 16,),
        tuple(SlotResult(i, f"{i:032x}", Status.OK, 7 * i, 0.1 + i, checksum=SUM if i else "") for i in range(5)),
        {"numpy": "2"},
    ),
    Receipt(
        1, ("b" * 16, "c" * 16), (SlotResult(5, "", Status.FAILED, reason="Ö: no", retry=True),), {"numpy": "3"}
    ),
    Receipt(3, ("d" * 16,), (), {"numpy": "2"}),
    Receipt(
        4,
        ("e" * 16,),
        (SlotResult(6, "b" * 32, Status.EMPTY), SlotResult(9, "c" * 32, Status.TRUNCATED, 2, 1e-9, checksum=SUM)),
        {"soxr": "1"},
    ),
]


@pytest.fixture
def several(tmp_path):
    """A store with four receipts, and no chunk files."""
    for receipt in RECEIPTS:
        write_receipt(LocalStorage(tmp_path / "raw-50.zarr"), receipt)
    return LocalStorage(tmp_path / "raw-50.zarr")


def test_each_receipt_is_given_back_as_it_was_written(several):
    found = read_receipts(several, lost_chunks=True)
    assert list(found.values()) == RECEIPTS and list(found) == [0, 1, 3, 4] and 2 not in found
    assert found.checksum == Receipts(RECEIPTS).checksum and begun_with(found) == {"numpy": "2"}
    assert begun_with(Receipts([])) == {}


def test_many_results_are_given_back_too():
    results = [SlotResult(i, f"{i:032x}", Status.OK, i + 1, 0.5, checksum=f"{i:016x}") for i in range(20000)]
    receipts = [Receipt(g, (SUM,), tuple(results[g * 1000 : (g + 1) * 1000]), {}) for g in range(20)]
    found = Receipts(receipts)
    assert found.column("slot").tolist() == list(range(20000)) and list(found.values()) == receipts
    assert found.column("group").tolist() == np.repeat(np.arange(20), 1000).tolist()


def test_columns_hold_every_result_in_the_order_of_groups(several):
    found = read_receipts(several, lost_chunks=True)
    assert found.column("slot").tolist() == [0, 1, 2, 3, 4, 5, 6, 9]
    assert found.column("group").tolist() == [0, 0, 0, 0, 0, 1, 4, 4]
    assert found.column("length").tolist() == [0, 7, 14, 21, 28, 0, 0, 2]
    assert found.column("status").tolist() == [1, 1, 1, 1, 1, 4, 3, 2]
    assert found.column("retry").tolist() == [False] * 5 + [True] + [False] * 2
    assert found.column("value")[[1, 7]].tolist() == [1.1, 1e-9]
    assert found.texts("digest").to_pylist()[4:] == [f"{4:032x}", "", "b" * 32, "c" * 32]
    assert found.texts("reason").to_pylist()[4:6] == ["", "Ö: no"]


def test_no_receipts_are_empty_columns(tmp_path):
    found = read_receipts(LocalStorage(tmp_path / "none.zarr"))
    assert len(found) == 0 and found.column("slot").dtype == np.int64 and len(found.column("group")) == 0
    assert found.texts("digest").to_pylist() == []


@pytest.mark.parametrize("change", ["checksum", "digest", "fewer"])
def test_the_checksum_over_receipts_knows_each_of_them(change):
    first, last = RECEIPTS[0], RECEIPTS[-1]
    other = {
        "checksum": [first, Receipt(4, ("f" * 16,), last.slots, last.versions)],
        "digest": [
            first,
            Receipt(4, last.checksums, (SlotResult(6, "d" * 32, Status.EMPTY), last.slots[1]), last.versions),
        ],
        "fewer": [first],
    }[change]
    assert Receipts([first, last]).checksum != Receipts(other).checksum


def test_a_receipt_whose_chunks_are_gone_does_not_count(store):
    assert list(read_receipts(store)) == [7] and chunk_files(store) == {7: 0, 8: 0}
    store.remove("features/c/8")
    assert list(read_receipts(store)) == [] and list(read_receipts(store, lost_chunks=True)) == [7]
    store.remove_all()
    assert list(read_receipts(store)) == [] and chunk_files(store) == {}


def test_a_receipt_of_other_slots_than_the_plans_does_not_count(store, make_plan):
    plan = make_plan([200] * 16).assign(group=[*range(13), 13, 13, 13])
    assert list(read_receipts(store, plan)) == []
    assert list(read_receipts(store, plan.assign(group=[0] * 12 + [7] * 4))) == [7]
    assert list(read_receipts(store, plan.head(14).assign(group=7))) == []
