"""Lines name what happened to which clips, by split and name, and stop naming where there are too many."""

import pandas as pd
import pytest

from cache.specification import RawSpecification
from featurize.summary import clip_names, plan_lines, summarize, summary_lines

RAW = RawSpecification(100)


@pytest.fixture
def data(tmp_path, write_dataset, noise):
    clips = {f"{i:02}.wav": noise(1, 2000, seed=i) for i in range(12)}
    return write_dataset(tmp_path / "data", clips, {"t.wav": noise(1, 2000, seed=99)})


@pytest.fixture
def summary(data, tmp_path, featurize):
    """A function that featurizes the dataset and gives the lines of the summary."""

    def summary(*specifications, **options):
        todo = featurize(data, tmp_path / "cache", specifications or [RAW], **options)
        return list(summary_lines(todo, summarize(todo), 1.0))

    return summary


def test_many_names_are_counted(data, summary):
    for i in range(11):
        (data / "audio_train" / f"{i:02}.wav").write_bytes(b"")
    assert "11 empty: 00.wav, 01.wav, 02.wav, 03.wav, 04.wav, 05.wav, 06.wav, 07.wav and 3 more" in summary()


def test_every_failure_has_its_own_line(data, summary):
    for i in range(10):
        (data / "audio_train" / f"{i:02}.wav").write_text("no sound")
    assert sum(line.startswith("failed: ") for line in summary()) == 10


def test_clips_of_one_name_in_both_splits_are_two(data, summary):
    (data / "audio_test" / "t.wav").rename(data / "audio_test" / "01.wav")
    (data / "sample_submission.csv").write_text("fname\n01.wav\n")
    for path in ("audio_train/01.wav", "audio_test/01.wav", "audio_train/02.wav"):
        (data / path).write_text("no sound")
    lines = summary()
    assert "3 failed, each with its reason:" in lines
    failed = [line.split(": ")[1] for line in lines if line.startswith("failed: ")]
    assert failed == ["train/01.wav", "02.wav", "test/01.wav"]


def test_removals_of_clips_of_one_name_in_both_splits_are_two(data, tmp_path, featurize, planned):
    (data / "audio_test" / "t.wav").rename(data / "audio_test" / "11.wav")
    (data / "sample_submission.csv").write_text("fname\n11.wav\n")
    featurize(data, tmp_path / "cache", [RAW])
    (data / "sample_submission.csv").unlink()
    for options in ({"prune": True}, {}):
        lines = list(plan_lines(planned(data, tmp_path / "cache", [RAW], limit=11, **options)))
        assert any(
            "2 clips that the dataset does not list, " in line and line.endswith(": train/11.wav, test/11.wav")
            for line in lines
        ), lines


def test_clips_no_longer_listed_are_said_once(data, tmp_path, featurize, planned, summary):
    featurize(data, tmp_path / "cache", [RAW])
    lines = list(plan_lines(planned(data, tmp_path / "cache", [RAW], limit=10)))
    line = "2 clips that the dataset does not list, kept for training and prediction (--prune removes them): 10.wav, 11.wav"
    assert line in lines
    assert not any("does not list" in line for line in summary(limit=10))  # it is said once, in the plan
    lines = list(plan_lines(planned(data, tmp_path / "cache", [RAW], limit=10, prune=True)))
    assert "2 clips that the dataset does not list, removed from the clip table: 10.wav, 11.wav" in lines


def test_other_library_versions_are_said(data, tmp_path, featurize, planned, monkeypatch):
    featurize(data, tmp_path / "cache", [RAW])
    monkeypatch.setattr("featurize.summary.computed_by", lambda: {"soxr": "99.0"})
    lines = list(plan_lines(planned(data, tmp_path / "cache", [RAW], force=True)))
    assert any("begun with other library versions (soxr " in line and "--force computes" in line for line in lines)


def test_equal_recordings_are_found_in_a_cache_that_has_grown(data, summary):
    """Of the clips of the first run one in train and test, of those of the second one with a clip of the first."""
    train, test = data / "audio_train", data / "audio_test"
    (test / "t.wav").write_bytes((train / "03.wav").read_bytes())
    (train / "11.wav").write_bytes((train / "02.wav").read_bytes())
    summary(limit=4)
    lines = summary()
    assert "equal recordings in train and test (a leak): 03.wav = t.wav" in lines
    assert "equal recordings listed more than once: 02.wav = 11.wav" in lines


def test_a_failure_in_any_store_is_the_clips(data, tmp_path, summary):
    summary(RAW)
    (data / "audio_train" / "05.wav").rename(tmp_path / "away.wav")
    assert "failed: 05.wav: No such file or directory" in summary(RAW, RawSpecification(200))


def test_names_say_their_split_where_another_split_has_them():
    table = pd.DataFrame({"clip": ["a", "b", "a"], "split": ["train", "train", "test"]})
    assert clip_names(table, table) == ["train/a", "b", "test/a"] and clip_names(table, table.head(0)) == []
