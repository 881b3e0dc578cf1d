"""ESC-50: categories are the labels, and the authors' folds are kept."""

import pytest

CSV = "meta/esc50.csv"


@pytest.fixture
def folder(kaggle, lay_out, tmp_path):
    return lay_out("esc50", kaggle, tmp_path / "data")


def test_categories_are_the_labels_and_folds_are_kept(folder, read):
    dataset = read(folder)
    clips = dataset.clips
    assert dataset.layout == "esc50" and (clips["split"] == "train").all()
    assert clips["label"].tolist() == ["Bell", "None", "Rain drops"] * 2
    assert clips["fold"].tolist() == ["1", "1", "1", "2", "2", "2"] and clips["target"].tolist() == list("012012")
    assert clips["clip"][0] == "0.wav" and clips["file"][0] == "audio/0.wav"
    assert dataset.remarks == ("its own folds are the column fold; train on them with --fold-column fold",)


@pytest.mark.parametrize("column", ["filename", "category", "fold"])
def test_a_missing_column_is_refused(folder, refusal, column):
    columns = ["filename", "category", "fold"]
    columns.remove(column)
    (folder / CSV).write_text(f"{','.join(columns)}\n0.wav,1\n")
    assert f"{CSV}: must have a column {column}, got {', '.join(columns)}; add it" in refusal(folder)


@pytest.mark.parametrize("name", ["../meta/esc50.csv", "/etc/passwd", ""])
def test_a_name_that_leaves_the_folder_is_refused(folder, refusal, name):
    (folder / CSV).write_text(f"filename,category,fold\n{name},Bell,1\n")
    assert f"row 1: filename must be a path inside the folder of its clips, got {name!r}" in refusal(folder)


def test_a_csv_in_another_encoding_is_refused(folder, refusal):
    (folder / CSV).write_bytes("filename,category,fold\n0.wav,Gerät,1\n".encode("latin-1"))
    assert f"{CSV}: must be a CSV file in UTF-8, got the byte 0xe4 in line 2; save it as UTF-8" in refusal(folder)


def test_labels_that_differ_in_blanks_alone_are_refused(folder, refusal):
    (folder / CSV).write_text("filename,category,fold\n0.wav,dog,1\n1.wav,dog ,1\n")
    assert "labels must differ in more than blanks, got 'dog' and 'dog '; write both the same" in refusal(folder)


def test_a_missing_folder_of_recordings_is_refused(folder, refusal):
    (folder / "audio").rename(folder / "sounds")
    assert f"data/audio: must be the folder of the clips of {CSV}, got none; put it there" in refusal(folder)
