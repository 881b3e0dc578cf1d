"""Many files at a time, in their order; what cannot be seen or read is said by numbers."""

import os

import pandas as pd
import pytest

import featurize.recordings
from featurize.decode import digest
from featurize.recordings import ABSENT, UNREADABLE, Recordings


@pytest.fixture
def recordings(tmp_path, write_dataset, noise):
    clips = {f"{i}.wav": noise(0.1 * (1 + i), 1000 + i, seed=i) for i in range(5)}
    return Recordings(write_dataset(tmp_path, clips))


FILES = pd.Series([f"audio_train/{i}.wav" for i in (3, 1, 4)], index=[7, 8, 9])


def test_a_look_gives_sizes_and_times(recordings):
    os.utime(recordings.folder / FILES[8], ns=(5, 1_700_000_000_123_456_789))
    sizes, times = recordings.look(FILES)
    assert sizes.tolist() == [os.path.getsize(recordings.folder / file) for file in FILES]
    assert times[1] == 1_700_000_000_123_456_789


def test_a_file_that_is_gone_is_absent(recordings):
    (recordings.folder / FILES[8]).unlink()
    assert recordings.look(FILES)[:, 1].tolist() == [ABSENT, ABSENT] and (recordings.look(FILES)[:, 0] > 0).all()


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_headers_are_in_the_order_of_the_files(recordings, monkeypatch, batch):
    monkeypatch.setattr(featurize.recordings, "_BATCH", batch)
    rates, samples = recordings.headers(FILES)
    assert rates.tolist() == [1003, 1001, 1004] and samples.tolist() == [401, 200, 502]


def test_what_is_no_recording_has_no_rate_and_what_cannot_be_read_is_said(recordings):
    (recordings.folder / FILES[7]).write_text("no sound")
    (recordings.folder / FILES[9]).unlink()
    assert recordings.headers(FILES)[:, [0, 2]].tolist() == [[0, UNREADABLE], [0, 0]]


def test_no_files_are_empty_arrays(recordings):
    assert recordings.look(FILES[:0]).shape == recordings.headers(FILES[:0]).shape == (2, 0)


def test_a_digest_is_that_of_the_file(recordings):
    assert recordings.digest(FILES[7]) == digest(recordings.folder / FILES[7])
