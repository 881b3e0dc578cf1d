"""What is to be done is worked out from plan and receipts before anything is written; jobs are made one at a time."""

import shutil

import numpy as np
import pytest

from cache.layout import empty_plan, slot_starts
from cache.receipts import withdraw
from cache.specification import MfccSpecification, RawSpecification
from cache.storage import CacheError, open_storage
from featurize.todo import stores_to_update

RAW, MFCC = RawSpecification(100), MfccSpecification(4, sample_rate=2000)
SECONDS = (100, 100, 56, 1, 300, 2)  # groups 0, 0, 0, 1, 2 (two chunks) and 4


@pytest.fixture(scope="module")
def data(tmp_path_factory, write_dataset, noise):
    clips = {f"{i}.wav": noise(s, 500, seed=i) for i, s in enumerate(SECONDS)}
    return write_dataset(tmp_path_factory.mktemp("todo") / "data", clips)


@pytest.fixture
def own_data(tmp_path, write_dataset, noise):
    """A dataset of a test's own, to change."""
    return write_dataset(tmp_path / "data", {f"{i}.wav": noise(1, 500, seed=i) for i in range(3)})


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def slots(jobs):
    return [[slot.number for slot in job.slots] for job in jobs]


def test_a_job_has_its_groups_slots_where_the_plan_puts_them(data, cache, planned):
    todo = planned(data, cache, [RAW, MFCC])
    assert todo.jobs.slots.tolist() == [0, 1, 2, 3, 4, 5] and slots(todo.jobs) == [[0, 1, 2], [3], [4], [5]]
    assert [(job.group, job.n_chunks, len(job.targets)) for job in todo.jobs] == [
        (0, 1, 2),
        (1, 1, 2),
        (2, 2, 2),
        (4, 1, 2),
    ]
    starts = np.array([slot_starts(todo.scan.plan, kind) for kind in (RAW, MFCC)])
    for job in todo.jobs:
        for slot in job.slots:
            firsts = [job.group * kind.chunk_length for kind in (RAW, MFCC)]
            offsets = [target.offsets[slot.number] for target in job.targets]
            assert offsets == (starts[:, slot.number] - firsts).tolist()
            assert slot.file == f"audio_train/{slot.number}.wav"
            assert slot.header.native_samples == 500 * SECONDS[slot.number]
    assert not cache.exists()


def test_a_job_is_made_of_plain_values(data, cache, planned):
    """NumPy's own numbers would not go into a receipt."""
    job = planned(data, cache, [RAW]).jobs[0]
    slot = job.slots[0]
    offsets = job.targets[0].offsets
    numbers = (job.group, job.n_chunks, slot.number, slot.size, slot.mtime_ns, *offsets, *offsets.values())
    assert {type(number) for number in (*numbers, slot.header.native_rate)} == {int} and type(slot.digest) is str


def test_only_the_stores_that_lack_a_group_are_targets_and_their_chunks_are_counted(
    data, cache, planned, featurize
):
    featurize(data, cache, [RAW])
    withdraw(open_storage(cache / RAW.name), 2)
    todo = planned(data, cache, [RAW, MFCC])
    assert [todo.jobs.n_chunks(store) for store in todo.stores] == [2, 5]
    assert todo.jobs.n_bytes == 5 * MFCC.chunk_length * 4 * 4  # those of raw are there and are replaced
    assert [len(job.targets) for job in todo.jobs] == [1, 1, 2, 1]
    for job in todo.jobs:
        assert all(list(target.offsets) == [slot.number for slot in job.slots] for target in job.targets)


def test_bytes_are_those_of_the_chunks(data, cache, planned, featurize):
    n_bytes = planned(data, cache, [RAW, MFCC]).jobs.n_bytes
    featurize(data, cache, [RAW, MFCC])
    assert n_bytes == sum(path.stat().st_size for path in cache.glob("*/features/c/**/*") if path.is_file())


def test_nothing_to_do_is_no_jobs(data, cache, planned, featurize):
    featurize(data, cache, [RAW])
    jobs = planned(data, cache, [RAW]).jobs
    assert not jobs and list(jobs) == [] and len(jobs.slots) == 0 and jobs.n_bytes == 0


def test_no_stores_are_no_jobs(data, cache, planned):
    assert len(planned(data, cache, []).jobs) == 0


def test_slots_know_their_digests_once_they_were_read(data, cache, planned, featurize):
    featurize(data, cache, [RAW])
    assert all(len(slot.digest) == 32 for job in planned(data, cache, [MFCC]).jobs for slot in job.slots)


def test_seconds_are_those_of_the_headers(data, cache, planned):
    np.testing.assert_allclose(planned(data, cache, [RAW]).seconds(), SECONDS)


def test_a_recording_that_was_not_there_is_a_job_once_it_is(own_data, cache, tmp_path, planned, featurize):
    away = (own_data / "audio_train" / "1.wav").rename(tmp_path / "1.wav")
    featurize(own_data, cache, [RAW])
    assert not planned(own_data, cache, [RAW]).jobs
    away.rename(own_data / "audio_train" / "1.wav")
    assert slots(planned(own_data, cache, [RAW]).jobs) == [[3]]


def test_force_is_for_the_asked_stores(data, cache, planned, featurize):
    featurize(data, cache, [RAW, MFCC])
    forced = planned(data, cache, [RAW], force=True).jobs
    assert len(forced) == 4 and {target.store.name for job in forced for target in job.targets} == {RAW.name}


def test_slots_that_no_clip_has_any_more_are_no_work(data, cache, planned, featurize):
    featurize(data, cache, [RAW])
    for group in (0, 1, 2, 4):
        withdraw(open_storage(cache / RAW.name), group)
    todo = planned(data, cache, [RAW], limit=4, prune=True)
    assert todo.jobs.slots.tolist() == [0, 1, 2, 3] and [job.group for job in todo.jobs] == [0, 1]


def test_stop_on_error_is_every_jobs(data, cache, planned):
    assert all(job.stop_on_error for job in planned(data, cache, [RAW], on_error="stop").jobs)
    assert not any(job.stop_on_error for job in planned(data, cache, [RAW]).jobs)


@pytest.fixture(scope="module")
def stores(data, tmp_path_factory, featurize):
    """The storage of a cache with two stores."""
    return featurize(data, tmp_path_factory.mktemp("stores") / "cache", [RAW, MFCC]).cache


def names(stores):
    return [(store.storage.name, store.asked) for store in stores]


def test_a_new_store_is_named_by_its_specification(tmp_path):
    assert names(stores_to_update(open_storage(tmp_path), empty_plan(), [RAW])) == [("raw-100.zarr", True)]


def test_a_caches_other_stores_are_kept_up_to_date(stores):
    found = stores_to_update(stores, empty_plan(), [RawSpecification(200)])
    assert names(found) == [("raw-200.zarr", True), ("mfcc-4-2000.zarr", False), ("raw-100.zarr", False)]


def test_more_coefficients_serve_fewer(stores):
    fewer = MfccSpecification(2, sample_rate=2000)
    assert names(stores_to_update(stores, empty_plan(), [fewer])) == [
        ("mfcc-4-2000.zarr", True),
        ("raw-100.zarr", False),
    ]


def test_fewer_coefficients_do_not_serve_more(stores):
    assert ("mfcc-9-2000.zarr", True) in names(
        stores_to_update(stores, empty_plan(), [MfccSpecification(9, sample_rate=2000)])
    )


def test_an_asked_store_of_another_specification_is_refused_by_name(own_data, cache, featurize):
    featurize(own_data, cache, [RAW])
    (cache / "raw-100.zarr").rename(cache / "raw-300.zarr")
    with pytest.raises(
        CacheError, match=r"raw-300\.zarr: specification must be the one that its name says, got that"
    ):
        stores_to_update(open_storage(cache), empty_plan(), [RawSpecification(300)])


def test_receipts_of_slots_that_the_plan_does_not_have_count_as_none(
    own_data, data, cache, tmp_path, planned, featurize
):
    featurize(own_data, cache, [RAW])
    featurize(data, tmp_path / "other", [RAW])
    shutil.rmtree(cache / "raw-100.receipts")
    shutil.copytree(tmp_path / "other" / "raw-100.receipts", cache / "raw-100.receipts")
    (cache / "raw-100.receipts" / "000000.json").unlink()
    assert slots(planned(own_data, cache, [RAW]).jobs) == [[0, 1, 2]]


def test_a_store_not_asked_for_and_not_ours_is_left_alone(own_data, cache, featurize):
    featurize(own_data, cache, [RAW])
    for key in ("zarr.json", "features/zarr.json"):
        (cache / "raw-100.zarr" / key).write_text('{"attributes": {}}')
    assert names(stores_to_update(open_storage(cache), empty_plan(), [MFCC])) == [("mfcc-4-2000.zarr", True)]
