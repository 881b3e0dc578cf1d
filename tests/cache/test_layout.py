import json

import numpy as np
import pandas as pd
import pytest
import zarr
from zarr.storage import MemoryStore

from cache.layout import (
    SLOTS_PER_CHUNK,
    chunks_per_slot,
    empty_plan,
    feature_chunk_key,
    n_chunks,
    pack,
    plan_of,
    slot_starts,
    store_files,
)
from cache.receipts import Receipt, Receipts, SlotResult, Status
from cache.specification import LogmelSpecification, MfccSpecification, RawSpecification
from cache.storage import CacheError

SPECIFICATIONS = (
    RawSpecification(100),
    RawSpecification(100, "float32"),
    MfccSpecification(4, 2000),
    LogmelSpecification(3, 1000),
)
RAW, _, MFCC, _ = SPECIFICATIONS


def _pack(seconds, first_group=0) -> list[int]:
    native = np.round(np.array(seconds, float) * 1000).astype(np.int64)
    return pack(native, np.full(len(native), 1000), first_group).tolist()


def test_groups_hold_at_most_256_seconds():
    assert _pack([100, 100, 56, 1]) == [0, 0, 0, 1]
    assert _pack([100, 100, 56.001]) == [0, 0, 1]
    assert _pack([256, 256, 1]) == [0, 1, 2]


def test_groups_hold_at_most_1024_slots():
    groups = _pack([0.01] * 2049)
    assert np.bincount(groups).tolist() == [1024, 1024, 1]


def test_long_clips_take_consecutive_chunks_of_their_own():
    assert _pack([1, 600, 1]) == [0, 1, 4]
    assert _pack([512, 512.001, 256.001, 5]) == [0, 2, 5, 7]


def test_a_clip_of_no_length_joins_the_group_that_is_open():
    assert _pack([0, 256, 0, 0, 1]) == [0, 0, 0, 0, 1]
    assert _pack([300, 0, 0, 300]) == [0, 2, 2, 3]


def test_recordings_without_a_rate_have_no_duration():
    assert pack(np.array([10**12, 5]), np.array([0, 100]), 0).tolist() == [0, 0]


def test_nothing_packs_into_nothing():
    assert _pack([]) == []
    assert n_chunks(empty_plan()) == 0
    assert len(slot_starts(empty_plan(), RawSpecification())) == 0


def test_packing_begins_at_the_first_free_chunk():
    assert _pack([1, 300, 1], first_group=7) == [7, 8, 10]


def test_durations_round_up_so_that_no_group_holds_more_than_its_seconds():
    """One sample more than 256 s at 768 kHz, in clips whose fractions of a microsecond add up to more than it."""
    samples = np.array([67_200_043, 67_200_043, 62_207_915])
    assert samples.sum() == 256 * 768_000 + 1
    assert pack(samples, np.full(3, 768_000), 0).tolist() == [0, 0, 1]
    assert chunks_per_slot(_plan_of([256 * 3, 256 * 3 + 1], 3)).tolist() == [1, 2]


def _plan_of(native_samples, native_rate) -> pd.DataFrame:
    samples, rates = np.array(native_samples), np.full(len(native_samples), native_rate)
    return pd.DataFrame({"native_samples": samples, "native_rate": rates, "group": pack(samples, rates, 0)})


@pytest.mark.parametrize("specification", SPECIFICATIONS, ids=lambda s: s.name)
def test_slots_lie_one_after_another_inside_their_chunks(specification):
    random = np.random.default_rng(0)
    plan = _plan_of(random.choice([0, 1, 50, 700, 26000, 90001], 3000), 101)
    starts = slot_starts(plan, specification)
    ends = starts + specification.capacity(plan["native_samples"].to_numpy(), plan["native_rate"].to_numpy())
    assert (starts[1:] >= ends[:-1]).all()
    group = plan["group"].to_numpy()
    assert (starts >= group * specification.chunk_length).all()
    assert (ends <= (group + chunks_per_slot(plan)) * specification.chunk_length).all()
    firsts = np.unique(group, return_index=True)[1]
    assert (starts[firsts] == group[firsts] * specification.chunk_length).all()


@pytest.mark.parametrize("specification", SPECIFICATIONS, ids=lambda s: s.name)
def test_appending_never_moves_earlier_slots(specification, make_plan):
    seconds = np.random.default_rng(1).choice([0, 0.3, 5, 100, 700], 400)
    plan = make_plan(seconds[:250])
    more = make_plan(seconds[250:])
    more["group"] = pack(more["native_samples"].to_numpy(), more["native_rate"].to_numpy(), n_chunks(plan))
    longer = pd.concat([plan, more], ignore_index=True)
    assert (slot_starts(longer, specification)[:250] == slot_starts(plan, specification)).all()
    assert slot_starts(longer, specification)[250] == n_chunks(plan) * specification.chunk_length
    assert longer["group"].is_monotonic_increasing


def test_the_number_of_chunks_covers_a_long_clip_at_the_end(make_plan):
    assert n_chunks(make_plan([3, 600])) == 4
    assert n_chunks(make_plan([600, 3])) == 4


def _result(plan, slot, **fields) -> SlotResult:
    said = {name: plan[name].iloc[slot] for name in ("file", "size", "mtime_ns", "native_rate", "native_samples")}
    said = {name: value if name == "file" else int(value) for name, value in said.items()}
    fields = {"status": Status.OK, "length": 10 + slot, "value": 0.5 + slot, **fields}
    return SlotResult(slot, plan["digest"].iloc[slot], **fields, **said)


def _receipts(plan, without=(), **fields) -> Receipts:
    """Receipts of all slots but some."""
    groups = plan.groupby("group").groups
    slots = {group: [slot for slot in found if slot not in without] for group, found in groups.items()}
    return Receipts(
        Receipt(int(group), ("a" * 16,), tuple(_result(plan, int(slot), **fields) for slot in found), {})
        for group, found in slots.items()
        if found
    )


def _arrays(files: dict[str, bytes], specification, n_slots: int) -> dict[str, np.ndarray]:
    """The arrays by slot of a store's files, each of one chunk."""
    dtypes = {"start": "int64", "length": "int64", "status": "uint8", specification.slot_value: "float32"}
    return {name: np.frombuffer(files[f"{name}/c/0"], dtype)[:n_slots] for name, dtype in dtypes.items()}


def test_receipts_become_arrays_by_slot(make_plan):
    plan = make_plan([3, 4, 300, 5])
    arrays = _arrays(_files(plan, RAW, _receipts(plan, without=[2], status=Status.TRUNCATED)), RAW, 4)
    assert arrays["start"].tolist() == slot_starts(plan, RAW).tolist()
    assert arrays["length"].tolist() == [10, 11, 0, 13]
    assert arrays["status"].tolist() == [2, 2, Status.PENDING, 2]
    assert arrays["scale"].tolist() == [0.5, 1.5, 0.0, 3.5]


def test_the_plan_is_made_anew_from_receipts(make_plan):
    plan = make_plan([3, 4, 300, 5, 100, 200])
    both = [_receipts(plan, without=[1, 4]), _receipts(plan, without=[2])]
    pd.testing.assert_frame_equal(plan_of(both), plan, check_dtype=False)


def test_slots_that_no_receipt_knows_become_rows_without_a_file(make_plan):
    plan = make_plan([3, 300, 5, 100, 200])
    found = plan_of([_receipts(plan, without=[0, 1, 4])], n_slots=6)
    assert found["file"].tolist() == ["", "", plan["file"][2], plan["file"][3], "", ""]
    assert found["group"].tolist() == [0, 0, 3, 3, 3, 3] and found["native_samples"].tolist()[4:] == [0, 0]
    assert slot_starts(found, RAW)[[2, 3]].tolist() == slot_starts(plan, RAW)[[2, 3]].tolist()
    assert n_chunks(found) <= n_chunks(plan)


def test_no_receipts_give_an_empty_plan():
    for found in (plan_of([]), plan_of([Receipts([])])):
        pd.testing.assert_frame_equal(found, empty_plan(), check_dtype=False)
        assert (found.dtypes[["size", "mtime_ns", "native_rate", "native_samples", "group"]] == np.int64).all()


@pytest.mark.parametrize(
    "other", [lambda plan: plan.assign(file=plan["file"] + "x"), lambda plan: plan.assign(group=plan["group"] + 1)]
)
def test_receipts_that_contradict_each_other_give_no_plan(make_plan, other):
    plan = make_plan([3, 300, 5])
    with pytest.raises(CacheError, match="^the receipts of the stores contradict each other; move the cache away"):
        plan_of([_receipts(plan), _receipts(other(plan))])


def test_a_slot_number_out_of_all_proportion_gives_no_plan(make_plan):
    plan = make_plan([3])
    result = SlotResult(10**15, "", Status.OK, **{"file": "x"})
    with pytest.raises(CacheError, match="contradict each other"):
        plan_of([_receipts(plan), Receipts([Receipt(7, ("a" * 16,), (result,), {})])])


def _files(plan, specification, receipts=None, generation=3):
    receipts = _receipts(plan) if receipts is None else receipts
    return store_files(plan, specification, receipts, {"numpy": "2.0"}, generation)


@pytest.mark.parametrize("specification", SPECIFICATIONS, ids=lambda s: s.name)
def test_a_stores_files_are_those_that_zarr_writes(make_plan, specification):
    """All but the features: zarr-python is given the same arrays and attributes."""
    plan = make_plan([3, 0, 600, 5])
    files = _files(plan, specification)
    attributes = json.loads(files["zarr.json"])["attributes"]
    written: dict = {}
    root = zarr.create_group(MemoryStore(written), zarr_format=3, attributes=attributes)
    plain = {"compressors": None, "filters": None, "fill_value": 0}
    for name, values in _arrays(files, specification, len(plan)).items():
        chunks = (SLOTS_PER_CHUNK,)
        new = root.create_array(
            name, shape=values.shape, chunks=chunks, dtype=values.dtype, dimension_names=("slot",), **plain
        )
        new[:] = values
    length, item = specification.chunk_length, specification.item_shape
    root.create_array(
        "features",
        shape=(n_chunks(plan) * length, *item),
        chunks=(length, *item),
        dtype=specification.dtype,
        dimension_names=specification.dimension_names,
        attributes={name: attributes[name] for name in ("format", "format_version", "specification")},
        **plain,
    )
    written = {key: data.to_bytes() for key, data in written.items()}
    assert files.keys() == written.keys()
    for key, data in files.items():
        if key.endswith("zarr.json"):
            assert json.loads(data) == json.loads(written[key]), key
        else:
            assert data == written[key], key


def test_arrays_by_slot_take_several_chunks_padded_with_zeros(make_plan):
    for n in (0, 1, SLOTS_PER_CHUNK, SLOTS_PER_CHUNK + 1):
        plan = make_plan([0.01] * n)
        files = _files(plan, RAW, Receipts([]))
        starts = b"".join(files[f"start/c/{chunk}"] for chunk in range(-(-n // SLOTS_PER_CHUNK)))
        assert starts == slot_starts(plan, RAW).tobytes().ljust(len(starts), b"\0")
        assert f"start/c/{-(-n // SLOTS_PER_CHUNK)}" not in files and len(starts) % (8 * SLOTS_PER_CHUNK) == 0


def test_the_roots_metadata_are_written_last_and_the_status_after_other_arrays(make_plan):
    keys = list(_files(make_plan([3, 0, 600]), MFCC))
    assert keys[-1] == "zarr.json" and [key for key in keys if "/c/" in key][-1] == "status/c/0"


def test_attributes_say_what_the_store_is(make_plan):
    plan = make_plan([3, 0, 600])
    attributes = json.loads(_files(plan, MFCC)["zarr.json"])["attributes"]
    assert attributes == {
        "format": "earmark-store",
        "format_version": 2,
        "specification": MFCC.to_dict(),
        "generation": 3,
        "versions": {"numpy": "2.0"},
        "receipts": {"n": 2, "checksum": _receipts(plan).checksum},
    }


def test_chunk_keys_are_zarrs():
    assert feature_chunk_key(RAW, 11) == "features/c/11" and feature_chunk_key(MFCC, 11) == "features/c/11/0"
