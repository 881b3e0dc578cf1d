import numpy as np
import pandas as pd
import pytest

from cache.errors import CacheError
from cache.plan import (
    FILE_NAME,
    chunks_per_slot,
    empty_plan,
    n_chunks,
    pack,
    read_plan,
    slot_starts,
    write_plan,
)
from cache.specification import MfccSpecification, RawSpecification

SPECIFICATIONS = (RawSpecification(100), MfccSpecification(4, 2000))


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


def test_parquet_round_trip(tmp_path, make_plan):
    plan = make_plan([3, 0, 600])
    plan.loc[0, ["file", "digest"]] = ["audio_train/Glöckchen 1.wav", ""]
    write_plan(tmp_path, plan)
    found = read_plan(tmp_path)
    pd.testing.assert_frame_equal(found, plan, check_dtype=False)
    assert (found.dtypes[["size", "mtime_ns", "native_rate", "native_samples", "group"]] == np.int64).all()


def test_an_empty_plan_round_trips(tmp_path):
    write_plan(tmp_path, empty_plan())
    assert len(read_plan(tmp_path)) == 0 and list(read_plan(tmp_path)) == list(empty_plan())


def test_a_cache_without_plan_and_stores_has_an_empty_one(tmp_path):
    assert len(read_plan(tmp_path)) == 0


def test_a_plan_that_is_lost_is_refused_beside_its_receipts(make_cache):
    cache = make_cache()
    (cache.path / FILE_NAME).unlink()
    with pytest.raises(
        CacheError,
        match=r"plan\.parquet: must have group 5, as mfcc-4-2000\.receipts has, got those below 0; "
        "restore the newest one, or move the cache away and run featurize again",
    ):
        read_plan(cache.path)


def test_a_plan_older_than_a_store_is_refused(make_cache):
    """A slot that is new to it would be given a group that has receipts, of other recordings."""
    cache = make_cache()
    write_plan(cache.path, cache.plan.head(4))
    with pytest.raises(CacheError, match=r"must have group 5, as .* has, got those below 2; restore"):
        read_plan(cache.path)


def test_a_plan_may_be_ahead_of_its_stores(make_cache):
    cache = make_cache(without=[2, 5])
    assert len(read_plan(cache.path)) == 6
