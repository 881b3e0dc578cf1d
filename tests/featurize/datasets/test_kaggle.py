"""The Kaggle layout: two CSV files, and a folder of recordings for each."""

import pytest

from cache.storage import open_storage
from featurize.datasets import LAYOUTS, DatasetError, read_dataset


@pytest.fixture
def folder(tmp_path, write_dataset, noise):
    return write_dataset(tmp_path, {"a.wav": noise(0.1), "b.wav": noise(0.1)}, {"t.wav": noise(0.1)})


def test_it_is_the_layout_unless_another_is_named(folder):
    (train, test) = LAYOUTS["kaggle"](open_storage(folder))
    assert (train.split, test.split) == ("train", "test") and test.clips.columns.tolist() == ["clip", "file"]
    clips = read_dataset(open_storage(folder)).clips
    assert clips["file"].tolist() == ["audio_train/a.wav", "audio_train/b.wav", "audio_test/t.wav"]


def test_a_submission_without_a_column_fname_is_refused(folder):
    (folder / "sample_submission.csv").write_text("label\nx\n")
    with pytest.raises(DatasetError, match=r"sample_submission\.csv: must have a column fname, got label; add it"):
        read_dataset(open_storage(folder))


def test_of_a_submission_only_the_names_are_taken(folder):
    (folder / "sample_submission.csv").write_text("fname,label,other\nt.wav,x y z,1\n")
    clips = read_dataset(open_storage(folder)).clips
    assert clips["label"].tolist()[-1] == "" and "other" not in clips
