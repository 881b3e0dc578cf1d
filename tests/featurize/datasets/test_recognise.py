"""A layout is recognised by what lies in the folder; where it is not plain, the user is asked."""

import pytest

from cache.storage import open_storage
from featurize.datasets import LAYOUTS, DatasetError, recognise


@pytest.mark.parametrize(
    ("made", "name"),
    [
        ("fsdkaggle2018", "fsdkaggle2018"),
        ("esc50", "esc50"),
        ("urbansound8k", "urbansound8k"),
        ("folders", "folders"),
        ("split folders", "folders"),
        ("unlabelled", "unlabelled"),
    ],
)
def test_layouts_are_recognised(kaggle, lay_out, tmp_path, made, name):
    assert recognise(open_storage(kaggle)) == "kaggle"
    assert recognise(open_storage(lay_out(made, kaggle, tmp_path / "data"))) == name


def test_two_layouts_are_both_named(kaggle, lay_out, read, refusal):
    lay_out("esc50", kaggle, kaggle)
    line = (
        "kaggle: must have one layout, got a folder that fits kaggle and esc50; say which with --layout kaggle or "
        "--layout esc50"
    )
    assert refusal(kaggle).endswith(line)
    assert read(kaggle, layout="esc50").layout == "esc50"


def test_folders_that_may_or_may_not_be_labels_are_asked_for(kaggle, lay_out, tmp_path, read, refusal):
    folder = lay_out("folders", kaggle, tmp_path / "data")
    (folder / "Bell" / "june").mkdir()
    (folder / "Bell" / "0.wav").rename(folder / "Bell" / "june" / "0.wav")
    assert "fits folders and unlabelled; say which with --layout folders or --layout" in refusal(folder)
    assert read(folder, layout="folders").clips["label"].nunique() == 3


def test_a_folder_without_recordings_shows_every_layout_in_four_lines(tmp_path, read):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(
        DatasetError, match=r": must hold a dataset, got none; name its folder with --data, or"
    ) as error:
        read(tmp_path)
    assert len(error.value.more) == 4
    assert all(any(f" {name} " in line for line in error.value.more) for name in LAYOUTS)


def test_a_folder_of_other_sound_files_alone_names_them(tmp_path, refusal):
    for number in range(5):
        (tmp_path / f"{number}.m4a").touch()
    what = "must hold a dataset, got only files of no suffix that is decoded (0.m4a, 1.m4a, 2.m4a and 2 more); name"
    assert what in refusal(tmp_path)


def test_a_layout_without_its_recordings_is_refused(tmp_path, refusal):
    for name in ("folders", "unlabelled"):
        assert f"{tmp_path}: must hold recordings in the layout {name}, got none" in refusal(tmp_path, layout=name)


def test_the_folder_above_a_dataset_is_refused(kaggle, tmp_path, refusal):
    line = f"{tmp_path}: must be the dataset's folder, got the one that holds it; give --data {kaggle}"
    assert refusal(tmp_path) == line


def test_the_folder_above_folders_of_labels_is_refused(kaggle, lay_out, tmp_path, read, refusal):
    lay_out("folders", kaggle, tmp_path / "mine" / "bells")
    line = refusal(tmp_path / "mine")
    assert "must be the dataset's folder, got one that holds folders of recordings in bells; give --data" in line
    assert line.endswith("mine/bells, or --layout unlabelled if they are not named as labels")
    assert read(tmp_path / "mine", layout="unlabelled").layout == "unlabelled"


def test_a_file_in_the_place_of_the_folder_is_refused(kaggle, refusal):
    assert "train.csv: dataset must be a folder, got a file; name its folder" in refusal(kaggle / "train.csv")
    assert "dataset folder must exist, got none" in refusal(kaggle / "nowhere")
