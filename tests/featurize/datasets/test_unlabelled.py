"""Recordings without labels: test clips, flat or in folders."""

import pytest


@pytest.fixture
def folder(kaggle, lay_out, tmp_path):
    return lay_out("unlabelled", kaggle, tmp_path / "data")


def test_recordings_are_test_clips_without_labels(folder, read):
    dataset = read(folder)
    clips = dataset.clips
    assert dataset.layout == "unlabelled"
    assert clips["clip"].tolist() == clips["file"].tolist() == [f"{i}.wav" for i in range(6)]
    assert set(clips["split"]) == {"test"} and set(clips["label"]) == {""}
    assert dataset.remarks == ("no labels: the clips are to be tagged and looked at, not trained on",)


def test_a_csv_beside_the_recordings_is_pointed_out(folder, read):
    (folder / "my labels.csv").write_text("file,label\n0.wav,Bell\n")
    assert read(folder).remarks[1:] == ("not read: my labels.csv; give --csv FILE if one lists labels",)


def test_folders_may_be_asked_for_without_labels(kaggle, lay_out, tmp_path, read):
    folder = lay_out("folders", kaggle, tmp_path / "folders")
    clips = read(folder, layout="unlabelled").clips
    assert clips["clip"][0] == "Bell/0.wav" and set(clips["label"]) == {""}
