"""A store's receipts in columns are the receipts."""

import numpy as np
import pytest

import cache.results
from cache.fold import read_receipts
from cache.receipts import Receipt, SlotResult, Status, write_receipt
from cache.results import Results

VERSIONS = {"numpy": "2.0"}
RECEIPTS = [
    Receipt(
        0, ("a" * 16,), tuple(SlotResult(i, f"{i:032x}", Status.OK, 7 * i, 0.1 + i) for i in range(5)), VERSIONS
    ),
    Receipt(
        1, ("b" * 16, "c" * 16), (SlotResult(5, "", Status.FAILED, reason="Ö: no", retry=True),), {"numpy": "3"}
    ),
    Receipt(3, ("d" * 16,), (), VERSIONS),
    Receipt(
        4, ("e" * 16,), (SlotResult(6, "x", Status.EMPTY), SlotResult(9, "y", Status.TRUNCATED, 2, 1e-9)), VERSIONS
    ),
]


@pytest.fixture
def store(tmp_path):
    for receipt in RECEIPTS:
        write_receipt(tmp_path / "raw-100.zarr", receipt)
    return tmp_path / "raw-100.zarr"


@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_each_receipt_is_given_back_as_it_was_written(store, monkeypatch, rows):
    monkeypatch.setattr(cache.results, "_ROWS", rows)
    assert list(read_receipts(store).values()) == RECEIPTS
    assert list(read_receipts(store)) == [0, 1, 3, 4] and 2 not in read_receipts(store)


def test_columns_hold_every_result_in_the_order_of_groups(store):
    results = read_receipts(store)
    assert results.column("slot").tolist() == [0, 1, 2, 3, 4, 5, 6, 9]
    assert results.column("length").tolist() == [0, 7, 14, 21, 28, 0, 0, 2]
    assert results.column("status").tolist() == [1, 1, 1, 1, 1, 4, 3, 2]
    assert results.column("retry").tolist() == [False] * 5 + [True] + [False] * 2
    assert results.column("value")[[1, 7]].tolist() == [1.1, 1e-9]
    assert results.texts("digest").to_pylist()[4:] == [f"{4:032x}", "", "x", "y"]
    assert results.texts("reason").to_pylist()[4:6] == ["", "Ö: no"]


def test_receipts_that_were_read_and_those_that_are_objects_are_the_same(store):
    read, made = read_receipts(store), Results.of(reversed(RECEIPTS))
    assert read.checksum == made.checksum and dict(read) == dict(made)


def test_no_receipts_are_empty_columns(tmp_path):
    results = read_receipts(tmp_path / "none.zarr")
    assert len(results) == 0 and results.column("slot").dtype == np.int64 and len(results.column("slot")) == 0
    assert results.texts("digest").to_pylist() == []
