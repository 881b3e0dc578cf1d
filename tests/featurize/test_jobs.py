"""Jobs are worked out by array and made one at a time; what an earlier run did stays."""

import numpy as np
import pytest

from cache import MfccSpecification, RawSpecification
from cache.folder import Cache
from cache.plan import slot_starts
from cache.receipts import receipts_folder, withdraw
from featurize.dataset import read_dataset
from featurize.decode import digest
from featurize.work import work_out

RAW, MFCC = RawSpecification(100), MfccSpecification(4, sample_rate=2000)
SECONDS = (100, 100, 56, 1, 300, 2)  # groups 0, 0, 0, 1, 2 (two chunks) and 4


@pytest.fixture
def data(tmp_path, write_dataset, noise):
    clips = {f"{i}.wav": noise(s, 500, seed=i) for i, s in enumerate(SECONDS)}
    return write_dataset(tmp_path / "data", clips)


@pytest.fixture
def jobs(data, tmp_path):
    """A function that works out the jobs of a run on the dataset."""
    return lambda *kinds, **options: work_out(read_dataset(data), Cache(tmp_path / "cache"), kinds, **options).jobs


def test_a_job_has_its_groups_slots_where_the_plan_puts_them(data, tmp_path, jobs):
    work = work_out(read_dataset(data), Cache(tmp_path / "cache"), [RAW, MFCC])
    assert len(work.jobs) == 4 and work.jobs.slots.tolist() == [0, 1, 2, 3, 4, 5]
    assert [[slot.number for slot in job.slots] for job in work.jobs] == [[0, 1, 2], [3], [4], [5]]
    starts = np.array([slot_starts(work.scan.plan, kind) for kind in (RAW, MFCC)])
    for job in work.jobs:
        for slot in job.slots:
            firsts = [job.group * kind.chunk_length for kind in (RAW, MFCC)]
            assert slot.offsets == tuple((starts[:, slot.number] - firsts).tolist())
            assert slot.path == data / "audio_train" / f"{slot.number}.wav"
            assert slot.header.native_samples == 500 * SECONDS[slot.number]


def test_a_job_is_made_of_plain_values(jobs):
    """NumPy's own numbers would not go into a receipt."""
    job = jobs(RAW)[0]
    slot = job.slots[0]
    numbers = (
        job.group,
        job.n_chunks,
        slot.number,
        slot.size,
        slot.mtime_ns,
        *slot.offsets,
        slot.header.native_rate,
    )
    assert {type(number) for number in numbers} == {int} and type(slot.digest) is str


def test_chunks_are_counted_by_store(data, tmp_path, featurize):
    featurize(data, tmp_path / "cache", [RAW])
    withdraw(tmp_path / "cache" / RAW.name, 2)
    work = work_out(read_dataset(data), Cache(tmp_path / "cache"), [RAW, MFCC])
    assert [work.jobs.n_chunks(store) for store in work.stores] == [2, 5]
    assert work.jobs.n_bytes() == 5 * MFCC.chunk_length * 4 * 4  # those of raw are there and are replaced
    assert [len(job.targets) for job in work.jobs] == [1, 1, 2, 1]
    assert [len(slot.offsets) for job in work.jobs for slot in job.slots] == [1, 1, 1, 1, 2, 1]


def test_nothing_to_do_is_no_jobs(data, tmp_path, jobs, featurize):
    featurize(data, tmp_path / "cache", [RAW])
    assert not jobs(RAW) and list(jobs(RAW)) == [] and len(jobs(RAW).slots) == 0 and jobs(RAW).n_bytes() == 0


def test_a_dataset_of_nothing_new_in_an_empty_cache_has_no_jobs_without_stores(jobs):
    assert len(jobs()) == 0


def test_a_recording_that_was_not_there_is_a_job_once_it_is(data, tmp_path, jobs, featurize):
    away = (data / "audio_train" / "1.wav").rename(tmp_path / "1.wav")
    featurize(data, tmp_path / "cache", [RAW])
    assert not jobs(RAW)
    away.rename(data / "audio_train" / "1.wav")
    assert [[slot.number for slot in job.slots] for job in jobs(RAW)] == [[6]]


def test_results_that_can_be_had_again_are_left_out_of_what_stays(data, tmp_path, jobs, featurize, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("featurize.job.digest", _failing_on("1.wav"))
        featurize(data, tmp_path / "cache", [RAW])
    (job,) = jobs(RAW)
    assert [slot.number for slot in job.slots] == [0, 1, 2]
    assert [result.slot for result in job.targets[0].part.slots] == [0, 2]


def test_force_leaves_nothing_of_the_asked_store(data, tmp_path, jobs, featurize):
    featurize(data, tmp_path / "cache", [RAW, MFCC])
    forced = jobs(RAW, force=True)
    assert len(forced) == 4 and [job.targets[0].part for job in forced] == [None] * 4
    assert {target.store.name for job in forced for target in job.targets} == {RAW.name}


def test_force_keeps_what_cannot_be_had_again(data, tmp_path, jobs, featurize):
    featurize(data, tmp_path / "cache", [RAW])
    (data / "audio_train" / "1.wav").unlink()
    forced = jobs(RAW, force=True)
    assert [result.slot for result in forced[0].targets[0].part.slots] == [1]


def test_slots_that_no_clip_has_any_more_are_no_work(data, tmp_path, featurize):
    featurize(data, tmp_path / "cache", [RAW])
    for receipt in receipts_folder(tmp_path / "cache" / RAW.name).iterdir():
        receipt.unlink()
    work = work_out(read_dataset(data, 4), Cache(tmp_path / "cache"), [RAW], prune=True)
    assert work.jobs.slots.tolist() == [0, 1, 2, 3] and [job.group for job in work.jobs] == [0, 1]


def test_stop_on_error_is_every_jobs(jobs):
    assert all(job.stop_on_error for job in jobs(RAW, stop_on_error=True))
    assert not any(job.stop_on_error for job in jobs(RAW))


def _failing_on(name):
    def failing(path):
        if path.name == name:
            raise OSError(5, "Input/output error")
        return digest(path)

    return failing
