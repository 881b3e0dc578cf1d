"""What is to be done is worked out from plan and receipts, before anything is written."""

import numpy as np
import pytest

from cache import MfccSpecification, RawSpecification
from cache.folder import Cache
from cache.receipts import withdraw
from featurize.dataset import read_dataset
from featurize.work import work_out

RAW, MFCC = RawSpecification(100), MfccSpecification(4, sample_rate=2000)


@pytest.fixture
def data(tmp_path, write_dataset, noise):
    clips = {"a.wav": noise(1, 2000), "long.wav": noise(300, 500), "b.wav": noise(2, 2000)}
    return write_dataset(tmp_path / "data", clips)


def test_groups_are_jobs_with_every_store_that_lacks_them(data, tmp_path):
    work = work_out(read_dataset(data), Cache(tmp_path / "cache"), [RAW, MFCC])
    assert [(job.group, job.n_chunks, len(job.slots), len(job.targets)) for job in work.jobs] == [
        (0, 1, 1, 2),
        (1, 2, 1, 2),
        (3, 1, 1, 2),
    ]
    assert not (tmp_path / "cache").exists()


def test_bytes_are_those_of_the_chunks(data, tmp_path, featurize):
    work = work_out(read_dataset(data), Cache(tmp_path / "cache"), [RAW, MFCC])
    assert work.n_bytes == 4 * (RAW.chunk_length * 2 + MFCC.chunk_length * 4 * 4)
    featurize(data, tmp_path / "cache", [RAW, MFCC])
    chunks = (tmp_path / "cache").glob("*/features/c/**/*")
    assert work.n_bytes == sum(path.stat().st_size for path in chunks if path.is_file())


def test_only_the_store_that_lacks_a_group_is_a_target(data, tmp_path, featurize):
    featurize(data, tmp_path / "cache", [RAW, MFCC])
    withdraw(tmp_path / "cache" / RAW.name, 1)
    work = work_out(read_dataset(data), Cache(tmp_path / "cache"), [RAW, MFCC])
    assert [(job.group, [target.store.name for target in job.targets]) for job in work.jobs] == [(1, [RAW.name])]
    assert work.n_bytes == 0  # the chunks are there and are replaced


def test_slots_know_their_digests_once_they_were_read(data, tmp_path, featurize):
    featurize(data, tmp_path / "cache", [RAW])
    work = work_out(read_dataset(data), Cache(tmp_path / "cache"), [MFCC])
    assert all(len(slot.digest) == 32 for job in work.jobs for slot in job.slots)


def test_seconds_are_those_of_the_headers(data, tmp_path):
    work = work_out(read_dataset(data), Cache(tmp_path / "cache"), [RAW])
    np.testing.assert_allclose(work.seconds(), [1, 300, 2])
