"""Any CSV: columns are guessed or named, splits are words, and every other column is kept."""

import pytest

FLAGS = {"layout": "csv", "csv": "list.csv", "audio_dir": "sounds"}


@pytest.fixture
def folder(kaggle, lay_out, tmp_path):
    return lay_out("csv", kaggle, tmp_path / "data")


def test_columns_are_guessed(folder, read):
    clips = read(folder, **FLAGS).clips
    assert clips["clip"].tolist() == [*(f"{i}.wav" for i in range(6)), "t0.wav", "t1.wav"]
    assert clips["split"].tolist() == ["train"] * 6 + ["test"] * 2
    assert clips["label"].tolist()[5:] == ["Rain drops", "Bell", "None"]
    assert clips["file"][0] == "sounds/0.wav" and clips["csv_split"].tolist()[5:7] == ["training", "testing"]


def test_columns_are_named(folder, read):
    (folder / "list.csv").write_text("path,label,where,kind,set\n2.wav,no,0.wav,dog,Dev\n3.wav,no,1.wav,cat,TEST\n")
    columns = {"audio_column": "where", "label_column": "kind", "split_column": "set"}
    clips = read(folder, **FLAGS, **columns).clips
    assert clips["clip"].tolist() == ["0.wav", "1.wav"] and clips["label"].tolist() == ["dog", "cat"]
    assert clips["split"].tolist() == ["train", "test"] and clips["set"].tolist() == ["Dev", "TEST"]
    assert clips["path"].tolist() == ["2.wav", "3.wav"] and clips["csv_label"].tolist() == ["no", "no"]


def test_without_splits_every_clip_is_a_training_clip(folder, read):
    (folder / "list.csv").write_text("Filename,Category\nsounds/0.wav,dog\n./sounds/1.wav,cat\n")
    clips = read(folder, layout="csv", csv="list.csv").clips
    assert set(clips["split"]) == {"train"} and clips["label"].tolist() == ["dog", "cat"]


def test_test_clips_may_come_first_and_have_no_labels(folder, read):
    (folder / "list.csv").write_text("file,label,split\nt0.wav,,test\n0.wav,dog,train\n1.wav,cat,val\n")
    clips = read(folder, **FLAGS).clips
    assert clips["clip"].tolist() == ["0.wav", "1.wav", "t0.wav"] and clips["label"].tolist() == ["dog", "cat", ""]


def test_the_csv_may_lie_elsewhere(folder, tmp_path, read):
    (tmp_path / "elsewhere.csv").write_text("file,label\n0.wav,dog\n")
    clips = read(folder, **{**FLAGS, "csv": str(tmp_path / "elsewhere.csv")}).clips
    assert clips["file"].tolist() == ["sounds/0.wav"]


def test_no_csv_is_refused(folder, refusal):
    line = refusal(folder, layout="csv", csv="none.csv")
    assert line == f"--csv: must be a CSV file, or one in {folder}, got 'none.csv', which is not there; correct it"


def test_a_column_that_cannot_be_guessed_is_refused(folder, refusal):
    (folder / "list.csv").write_text("clip,kind\n0.wav,dog\n")
    line = refusal(folder, **FLAGS)
    usual = "fname or filename or file or path or audio"
    assert f"list.csv: must have a column {usual}, got clip, kind; name one with --audio-column" in line
    line = refusal(folder, **FLAGS, audio_column="clip")
    assert "must have a column label or category or class or target, got clip, kind; name one with" in line


@pytest.mark.parametrize("flag", ["audio", "label", "split"])
def test_a_named_column_that_is_not_there_is_refused(folder, refusal, flag):
    line = refusal(folder, **FLAGS, **{f"{flag}_column": "prat"})
    assert f"list.csv: --{flag}-column must be a column of it (path, class, split), got 'prat'" in line


@pytest.mark.parametrize("column", ["path", "manually_verified"])
def test_a_column_of_something_else_gives_no_labels(folder, refusal, column):
    (folder / "list.csv").write_text("path,manually_verified\n0.wav,1\n")
    line = refusal(folder, **FLAGS, label_column=column)
    assert f"list.csv: --label-column must be a column of labels, got {column!r}; name another" in line


@pytest.mark.parametrize("word", ["eval", "", "trian"])
def test_an_unknown_split_is_refused(folder, refusal, word):
    (folder / "list.csv").write_text(f"file,label,split\n0.wav,dog,train\n1.wav,cat,{word}\n")
    line = refusal(folder, **FLAGS)
    assert "split of 1.wav (row 2) must be train, training, val, valid, validation, dev, development, test" in line
    assert f"got {word!r}; correct it, or name another --split-column" in line


def test_a_training_clip_without_a_label_is_refused(folder, refusal):
    (folder / "list.csv").write_text("file,label\n0.wav,dog\n1.wav, \n")
    assert "label of 1.wav (row 2) must not be empty, got ' '; give it one" in refusal(folder, **FLAGS)


@pytest.mark.parametrize("name", ["../list.csv", "/etc/passwd", ""])
def test_a_name_that_leaves_the_folder_is_refused(folder, refusal, name):
    (folder / "list.csv").write_text(f"file,label\n{name},dog\n")
    assert f"file must be a path inside the folder of its clips, got {name!r}" in refusal(folder, **FLAGS)


@pytest.mark.parametrize("place", ["..", "/etc", "sounds/../.."])
def test_a_folder_of_recordings_outside_is_refused(folder, refusal, place):
    line = refusal(folder, **{**FLAGS, "audio_dir": place})
    assert f"--audio-dir: must be a folder inside {folder}, got {place!r}; name one below it" in line


def test_a_folder_without_any_of_the_recordings_is_refused(folder, refusal):
    line = refusal(folder, layout="csv", csv="list.csv")
    assert f"recordings must lie in {folder}, got none at {folder}/0.wav; give --audio-dir, or another" in line


def test_a_csv_in_another_encoding_is_refused(folder, refusal):
    (folder / "list.csv").write_bytes("file,label\n0.wav,Gerät\n".encode("latin-1"))
    assert "list.csv: must be a CSV file in UTF-8, got the byte 0xe4 in line 2; save it as UTF-8" in refusal(
        folder, **FLAGS
    )
