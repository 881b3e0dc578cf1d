"""Lines name what happened to which clips, and stop naming where there are too many."""

import pytest

from cache import RawSpecification
from cache.folder import Cache
from featurize.dataset import read_dataset
from featurize.report import plan_lines, summarize, summary_lines
from featurize.work import work_out

RAW = RawSpecification(100)


@pytest.fixture
def data(tmp_path, write_dataset, noise):
    clips = {f"{i:02}.wav": noise(1, 2000, seed=i) for i in range(12)}
    return write_dataset(tmp_path / "data", clips, {"t.wav": noise(1, 2000, seed=99)})


def test_many_names_are_counted(data, tmp_path, featurize):
    for i in range(11):
        (data / "audio_train" / f"{i:02}.wav").write_bytes(b"")
    work = featurize(data, tmp_path / "cache", [RAW])
    lines = list(summary_lines(work, summarize(work), 1.0))
    assert "empty: 00.wav, 01.wav, 02.wav, 03.wav, 04.wav, 05.wav, 06.wav, 07.wav and 3 more" in lines


def test_every_failure_has_its_own_line(data, tmp_path, featurize):
    for i in range(10):
        (data / "audio_train" / f"{i:02}.wav").write_text("no sound")
    work = featurize(data, tmp_path / "cache", [RAW])
    lines = list(summary_lines(work, summarize(work), 1.0))
    assert sum(line.startswith("failed: ") for line in lines) == 10


def test_clips_no_longer_listed_are_said(data, tmp_path, featurize):
    featurize(data, tmp_path / "cache", [RAW])
    lines = list(plan_lines(work_out(read_dataset(data, 10), Cache(tmp_path / "cache"), [RAW])))
    assert any(
        "does not list, kept, trained on and predicted (--prune removes them): 10.wav, 11.wav" in line
        for line in lines
    )
    lines = list(plan_lines(work_out(read_dataset(data, 10), Cache(tmp_path / "cache"), [RAW], prune=True)))
    assert any("does not list, removed from the clip table: 10.wav, 11.wav" in line for line in lines)


def test_other_library_versions_are_said(data, tmp_path, featurize, monkeypatch):
    featurize(data, tmp_path / "cache", [RAW])
    monkeypatch.setattr("featurize.report.computed_by", lambda: {"soxr": "99.0"})
    lines = list(plan_lines(work_out(read_dataset(data), Cache(tmp_path / "cache"), [RAW], force=True)))
    assert any("begun with other library versions (soxr " in line and "--force computes" in line for line in lines)


def test_equal_recordings_are_found_in_a_cache_that_has_grown(data, tmp_path, featurize):
    """Of the clips of the first run one in train and test, of those of the second one with a clip of the first."""
    train, test = data / "audio_train", data / "audio_test"
    (test / "t.wav").write_bytes((train / "03.wav").read_bytes())
    (train / "11.wav").write_bytes((train / "02.wav").read_bytes())
    featurize(data, tmp_path / "cache", [RAW], limit=4)
    work = featurize(data, tmp_path / "cache", [RAW])
    lines = list(summary_lines(work, summarize(work), 1.0))
    assert "equal recordings in train and test (a leak): 03.wav = t.wav" in lines
    assert "equal recordings listed more than once: 02.wav = 11.wav" in lines


def test_a_failure_in_any_store_is_the_clips(data, tmp_path, featurize):
    featurize(data, tmp_path / "cache", [RAW])
    (data / "audio_train" / "05.wav").rename(tmp_path / "away.wav")
    work = featurize(data, tmp_path / "cache", [RAW, RawSpecification(200)])
    assert summarize(work).failed == {"05.wav": "No such file or directory"}
