"""FSDKaggle2018 of Zenodo: its test clips have labels, and say which leaderboard they counted for."""

import pytest

META = "FSDKaggle2018.meta"
SCORING = f"{META}/test_post_competition_scoring_clips.csv"


@pytest.fixture
def folder(kaggle, lay_out, tmp_path):
    return lay_out("fsdkaggle2018", kaggle, tmp_path / "data")


def test_test_clips_have_labels_and_a_usage(folder, read):
    dataset = read(folder)
    clips = dataset.clips
    assert dataset.layout == "fsdkaggle2018"
    assert clips["split"].tolist() == ["train"] * 6 + ["test"] * 2
    assert clips["label"].tolist() == [*["Bell", "None", "Rain drops"] * 2, "Bell", "None"]
    assert clips["usage"].tolist() == [""] * 6 + ["Public", "Private"]
    assert clips["manually_verified"].tolist()[:6] == [1] * 6 and clips["manually_verified"].isna()[6:].all()
    assert clips["freesound_id"].tolist() == [*map(str, range(6)), "7", "7"]


def test_recordings_lie_in_the_folders_of_the_archives(folder, read):
    files = read(folder).clips["file"]
    assert all((folder / file).is_file() for file in files)
    assert files[0] == "FSDKaggle2018.audio_train/0.wav" and files[7] == "FSDKaggle2018.audio_test/t1.wav"


def test_every_test_clip_is_read_where_the_scoring_clips_are_not_listed(folder, read):
    text = "fname,label,usage\nt0.wav,None,ignored\nt1.wav,,\n"
    (folder / META / "test_post_competition.csv").write_text(text)
    assert read(folder).clips["usage"].tolist()[6:] == ["Public", "Private"]
    (folder / SCORING).unlink()
    clips = read(folder).clips
    assert clips["usage"].tolist()[6:] == ["Ignored", ""] and clips["label"].tolist()[6:] == ["None", ""]


def test_test_clips_are_optional(folder, read):
    (folder / SCORING).unlink()
    assert (read(folder).clips["split"] == "train").all()


def test_empty_recordings_have_rows(folder, read):
    (folder / "FSDKaggle2018.audio_test" / "0b0427e2.wav").write_bytes(b"")
    (folder / SCORING).write_text("fname,label,usage\n0b0427e2.wav,None,Ignored\n")
    assert read(folder).clips["clip"].tolist()[6:] == ["0b0427e2.wav"]


def test_a_usage_of_another_word_is_refused(folder, refusal):
    (folder / SCORING).write_text("fname,label,usage\nt0.wav,Bell,Public\nt1.wav,Bell,Secret\n")
    line = refusal(folder)
    assert line.endswith("usage of t1.wav must be Public, Private or Ignored, got 'Secret'; correct it")


@pytest.mark.parametrize("column", ["label", "usage"])
def test_a_missing_column_is_refused(folder, refusal, column):
    columns = ["fname", "label", "usage"]
    columns.remove(column)
    (folder / SCORING).write_text(f"{','.join(columns)}\nt0.wav,x\n")
    assert f"scoring_clips.csv: must have a column {column}, got {', '.join(columns)}; add it" in refusal(folder)


def test_a_missing_archive_is_refused(folder, refusal):
    (folder / "FSDKaggle2018.audio_test").rename(folder / "elsewhere")
    assert f"data/FSDKaggle2018.audio_test: must be the folder of the clips of {SCORING}, got none" in refusal(
        folder
    )
    (folder / META).rename(folder / "meta")
    assert "train_post_competition.csv: must be a CSV file, got none; --data names the folder" in refusal(folder)


def test_a_label_that_differs_from_one_of_train_in_blanks_is_no_other_label(folder, refusal):
    (folder / SCORING).write_text("fname,label,usage\nt0.wav,Rain  drops,Public\n")
    assert "labels must differ in more than blanks, got 'Rain drops' and 'Rain  drops'" in refusal(folder)
