import numpy as np
import pytest

from cache.errors import CacheError
from cache.fold import bring_up_to_date, fold, read_receipts, store_files
from cache.plan import slot_starts
from cache.receipts import Receipt, SlotResult, Status, read_receipt, receipt_path, withdraw, write_receipt
from cache.results import Results
from cache.specification import MfccSpecification, RawSpecification
from cache.store import Store

RAW = RawSpecification(100)
MFCC = MfccSpecification(4, 2000)
VERSIONS = {"numpy": "2.0"}


def _results(slots, status=Status.OK) -> tuple[SlotResult, ...]:
    return tuple(SlotResult(slot, f"{slot:032x}", status, 10 + slot, 0.5 + slot) for slot in slots)


def test_receipts_become_arrays_by_slot(make_plan):
    plan = make_plan([3, 4, 300, 5])
    receipts = [Receipt(3, ("",), _results([3], Status.TRUNCATED), {}), Receipt(0, ("",), _results([0, 1]), {})]
    slots = fold(plan, RAW, Results.of(receipts))
    assert slots.start.tolist() == slot_starts(plan, RAW).tolist()
    assert slots.length.tolist() == [10, 11, 0, 13]
    assert slots.status.tolist() == [Status.OK, Status.OK, Status.PENDING, Status.TRUNCATED]
    assert slots.value.tolist() == [0.5, 1.5, 0.0, 3.5]
    kinds = [array.dtype for array in (slots.start, slots.length, slots.status, slots.value)]
    assert kinds == [np.int64, np.int64, np.uint8, np.float32]


def test_nothing_folds_into_nothing(make_plan):
    slots = fold(make_plan([]), MFCC, Results.of([]))
    assert [len(slots.start), len(slots.length), len(slots.status), len(slots.value)] == [0, 0, 0, 0]


def test_the_order_of_receipts_does_not_matter(make_plan):
    plan = make_plan([3, 300, 5])
    receipts = {group: Receipt(group, (f"{group}",), _results([slot]), {}) for slot, group in enumerate([0, 1, 3])}
    turned = dict(reversed(receipts.items()))
    assert store_files(plan, RAW, receipts, VERSIONS) == store_files(plan, RAW, turned, VERSIONS)


def test_attributes_say_what_the_store_is(make_cache):
    store = Store(make_cache().path / MFCC.name)
    assert store.attributes["format"] == "earmark-store"
    assert store.attributes["format_version"] == 1
    assert store.attributes["specification"] == MFCC.to_dict()
    assert store.attributes["versions"] == VERSIONS
    assert store.attributes["receipts"]["n"] == 4


@pytest.mark.parametrize("change", ["checksum", "digest", "fewer"])
def test_the_checksum_over_receipts_knows_each_of_them(make_plan, change):
    plan = make_plan([3, 300, 5])
    receipts = {0: Receipt(0, ("a",), _results([0]), {}), 3: Receipt(3, ("b",), _results([2]), {})}
    other = {
        "checksum": {**receipts, 3: Receipt(3, ("c",), _results([2]), {})},
        "digest": {**receipts, 3: Receipt(3, ("b",), (SlotResult(2, "other", Status.OK, 12, 2.5),), {})},
        "fewer": {0: receipts[0]},
    }[change]
    before, after = (store_files(plan, RAW, found, VERSIONS)["zarr.json"] for found in (receipts, other))
    assert before != after


def test_folding_again_writes_nothing(make_cache):
    made = make_cache()
    before = _identities(made.path / RAW.name)
    _fold_again(made, RAW)
    assert _identities(made.path / RAW.name) == before


def test_folding_mends_what_is_damaged_or_gone(make_cache):
    made = make_cache()
    store = made.path / RAW.name
    before = _contents(store)
    (store / "zarr.json").write_text("{")
    (store / "length" / "c" / "0").unlink()
    (store / "scale" / "c" / "0").write_bytes(b"short")
    _fold_again(made, RAW)
    assert _contents(store) == before


def test_a_damaged_receipt_counts_as_none(make_cache):
    made = make_cache()
    store = made.path / RAW.name
    receipt_path(store, 1).write_text("{}")
    assert sorted(read_receipts(store)) == [0, 2, 5]
    _fold_again(made, RAW)
    assert Store(store).status[3] == Status.PENDING


def test_a_withdrawn_receipt_makes_its_slots_pending(make_cache):
    made = make_cache()
    store = made.path / MFCC.name
    withdraw(store, 0)
    _fold_again(made, MFCC)
    assert Store(store).status.tolist()[:4] == [Status.PENDING] * 3 + [Status.OK]


def test_a_newer_receipt_is_not_taken_for_none(make_cache, monkeypatch):
    made = make_cache()
    receipt = read_receipt(made.path / RAW.name, 1)
    monkeypatch.setattr("cache.receipts.VERSION", 3)
    write_receipt(made.path / RAW.name, receipt)
    monkeypatch.undo()
    with pytest.raises(CacheError, match=r"000001\.json: format version must be at most 2, got 3"):
        read_receipts(made.path / RAW.name)


def _fold_again(made, specification) -> None:
    store = made.path / specification.name
    bring_up_to_date(store, store_files(made.plan, specification, read_receipts(store), VERSIONS))


def _identities(store):
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in store.rglob("*")}


def _contents(store):
    return {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
