"""UrbanSound8K: recordings lie in a folder for each fold, and the folds are kept."""

import pytest

CSV = "metadata/UrbanSound8K.csv"


@pytest.fixture
def folder(kaggle, lay_out, tmp_path):
    return lay_out("urbansound8k", kaggle, tmp_path / "data")


def test_recordings_lie_in_the_folders_of_their_folds(folder, read):
    dataset = read(folder)
    clips = dataset.clips
    assert dataset.layout == "urbansound8k" and (clips["split"] == "train").all()
    assert clips["file"].tolist()[2:4] == ["audio/fold1/2.wav", "audio/fold2/3.wav"]
    assert all((folder / file).is_file() for file in clips["file"])
    assert clips["label"].tolist() == ["Bell", "None", "Rain drops"] * 2
    assert clips["fold"].tolist() == ["1", "1", "1", "2", "2", "2"] and "class" not in clips
    assert dataset.remarks == ("its own folds are the column fold; train on them with --fold-column fold",)


@pytest.mark.parametrize("fold", ["", "../../x", "one", "1/..", " 1"])
def test_a_fold_that_is_no_number_is_refused(folder, refusal, fold):
    (folder / CSV).write_text(f"slice_file_name,fold,class\n0.wav,{fold},Bell\n")
    assert refusal(folder).endswith(f"fold of 0.wav must be a number, got {fold!r}; correct it")


@pytest.mark.parametrize("column", ["slice_file_name", "class", "fold"])
def test_a_missing_column_is_refused(folder, refusal, column):
    columns = ["slice_file_name", "class", "fold"]
    columns.remove(column)
    (folder / CSV).write_text(f"{','.join(columns)}\n0.wav,1\n")
    assert f"{CSV}: must have a column {column}, got {', '.join(columns)}; add it" in refusal(folder)


def test_a_name_that_leaves_the_folder_is_refused(folder, refusal):
    (folder / CSV).write_text("slice_file_name,fold,class\n../fold2/3.wav,1,Bell\n")
    assert "row 1: slice_file_name must be a path inside the folder of its clips, got '../fold2" in refusal(folder)
