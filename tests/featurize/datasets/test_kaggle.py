"""The Kaggle layout: its CSV files are read as text, in order, and refused by name where they are wrong."""

import pandas as pd
import pytest

from featurize.datasets import DatasetError


@pytest.fixture
def folder(tmp_path, write_dataset, noise):
    clips = {f"{i}.wav": noise(0.1, seed=i) for i in range(4)}
    return write_dataset(
        tmp_path, clips, {"t.wav": noise(0.1)}, manually_verified=[1, 0, 1, 1], source=list("abcd")
    )


def test_clips_keep_the_order_of_the_csv_files(folder, read):
    clips = read(folder).clips
    assert clips["clip"].tolist() == ["0.wav", "1.wav", "2.wav", "3.wav", "t.wav"]
    assert clips["split"].tolist() == ["train"] * 4 + ["test"]
    assert clips["file"].iloc[0] == "audio_train/0.wav" and clips["file"].iloc[4] == "audio_test/t.wav"


def test_label_none_is_a_label(folder, read):
    assert read(folder).clips["label"].tolist() == ["Bell", "None", "Rain drops", "Bell", ""]


def test_verified_and_other_columns_are_kept(folder, read):
    clips = read(folder).clips
    assert clips["manually_verified"].tolist()[:4] == [1, 0, 1, 1] and clips["manually_verified"].isna()[4]
    assert clips["source"].tolist() == ["a", "b", "c", "d", ""]


def test_limit_takes_the_first_of_each_split(folder, read):
    assert read(folder, limit=2).clips["clip"].tolist() == ["0.wav", "1.wav", "t.wav"]


def test_test_clips_are_optional(folder, read):
    (folder / "sample_submission.csv").unlink()
    assert (read(folder).clips["split"] == "train").all()


def test_names_with_spaces_and_non_ascii_letters(tmp_path, write_dataset, noise, read):
    names = ["a b.wav", "Żółć 雨.wav", "sub folder/c.wav"]
    write_dataset(tmp_path, {name: noise(0.1) for name in names})
    assert read(tmp_path).clips["clip"].tolist() == names


def test_a_byte_order_mark_is_no_part_of_the_header(folder, read):
    text = (folder / "train.csv").read_text()
    (folder / "train.csv").write_text(text, encoding="utf-8-sig")
    assert read(folder).clips["clip"].iloc[0] == "0.wav"


@pytest.fixture
def refusal(read):
    """A function that gives the line that a folder is refused with, once its train.csv has these rows or this text."""

    def refusal(folder, rows=None, text=None):
        if rows is not None:
            pd.DataFrame(rows).to_csv(folder / "train.csv", index=False)
        if text is not None:
            (folder / "train.csv").write_bytes(text)
        with pytest.raises(DatasetError) as error:
            read(folder)
        assert "\n" not in str(error.value)
        return str(error.value)

    return refusal


def test_no_folder_is_refused(tmp_path, refusal):
    assert "none: dataset folder must exist, got none; name yours with --data" in refusal(tmp_path / "none")


def test_no_train_csv_is_refused(folder, refusal):
    (folder / "train.csv").unlink()
    assert "train.csv: must be a CSV file, got none" in refusal(folder)


def test_no_audio_folder_is_refused(folder, refusal):
    (folder / "audio_test").rename(folder / "elsewhere")
    assert "audio_test: must be the folder of the clips of sample_submission.csv, got none" in refusal(folder)


@pytest.mark.parametrize("column", ["fname", "label"])
def test_a_missing_column_is_refused(folder, column, refusal):
    rows = {"fname": ["0.wav"], "label": ["x"], "other": [1]}
    del rows[column]
    assert f"must have a column {column}, got" in refusal(folder, rows)


def test_an_empty_csv_is_refused(folder, refusal):
    assert (
        "must be a CSV file in UTF-8, no row longer than its header, got 'No columns to parse from file'"
        in refusal(folder, text=b"")
    )
    assert "must list at least one clip, got none" in refusal(folder, text=b"fname,label\n")


@pytest.mark.parametrize(("separator", "name"), [(";", "semicolons"), ("\t", "tabs")])
def test_columns_that_commas_do_not_separate_are_refused(folder, refusal, separator, name):
    line = f"columns must be separated by commas, got {name}; save it with commas"
    assert line in refusal(folder, text=f"fname{separator}label\r\n0.wav{separator}dog\r\n".encode())


def test_a_csv_in_another_encoding_is_refused(folder, refusal):
    assert "must be a CSV file in UTF-8, got the byte 0xe4 in line 2; save it as UTF-8" in refusal(
        folder, text="fname,label\n0.wav,Gerät\n".encode("latin-1")
    )


def test_a_missing_label_is_refused(folder, refusal):
    assert "label of 1.wav (row 2) must not be empty" in refusal(folder, text=b"fname,label\n0.wav,a\n1.wav,\n")


def test_a_wrong_manually_verified_is_refused(folder, refusal):
    rows = {"fname": ["0.wav"], "label": ["x"], "manually_verified": ["yes"]}
    assert "manually_verified of 0.wav must be 0, 1 or blank, got 'yes'" in refusal(folder, rows)


@pytest.mark.parametrize("name", ["/etc/passwd", "../0.wav", "a/../../0.wav", "", "."])
def test_a_name_that_leaves_the_folder_is_refused(folder, name, refusal):
    message = refusal(folder, {"fname": [name], "label": ["x"]})
    assert f"row 1: fname must be a path inside the folder of its clips, got {name!r}" in message


def test_the_same_name_twice_is_refused(folder, refusal):
    assert "each clip must be listed once, got 0.wav twice" in refusal(
        folder, {"fname": ["0.wav", "0.wav"], "label": ["x", "y"]}
    )


@pytest.mark.parametrize("rows", ["0.wav,dog,1\n", "0.wav,dog\n1.wav,cat,1\n", "0.wav,dog,\n"])
def test_rows_longer_than_the_header_are_refused(folder, rows, refusal):
    message = refusal(folder, text=b"fname,label\n" + rows.encode())
    assert "must be a CSV file in UTF-8, no row longer than its header, got" in message


def test_columns_named_like_ours_are_kept_under_another_name(folder, read):
    (folder / "train.csv").write_text("fname,label,split,slot\n0.wav,dog,a,b\n")
    clips = read(folder).clips
    assert clips["csv_split"][0] == "a" and clips["csv_slot"][0] == "b" and clips["split"][0] == "train"


def test_names_of_columns_with_csv_before_them_do_not_meet(folder, read):
    (folder / "train.csv").write_text("fname,label,clip,csv_clip,csv_csv_clip\n0.wav,dog,a,b,c\n")
    clips = read(folder).clips
    assert clips["clip"][0] == "0.wav" and clips.loc[
        0, ["csv_csv_csv_clip", "csv_clip", "csv_csv_clip"]
    ].tolist() == [
        "a",
        "b",
        "c",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('0.wav,"Bell\n1.wav,Rain\n2.wav,Rain\n', r"row 1 opens a quote that is never closed; close or remove it"),
        (
            '0.wav,Bell\n"1.wav,Rain\n2.wav,Rain"\n3.wav,Bell\n',
            r"row 2 \('1.wav,Rain.*a line break in its column fname",
        ),
        (
            '0.wav,Bell\n1.wav,"Rain\n2.wav,Rain"\n',
            r"row 2 \('1.wav'\) has a line break in its column label, as if",
        ),
    ],
)
def test_a_stray_quote_swallows_no_rows(folder, text, line, read):
    (folder / "train.csv").write_text("fname,label\n" + text)
    with pytest.raises(DatasetError, match=line) as error:
        read(folder)
    assert "\n" not in str(error.value)


def test_a_quote_inside_a_value_is_a_character(folder, read):
    (folder / "train.csv").write_text('fname,label\n0.wav,12" record\n1.wav,"a ""b"""\n')
    assert read(folder).clips["label"].tolist()[:2] == ['12" record', 'a "b"']


@pytest.mark.parametrize("other", ["Rain ", " Rain", "Rain\t", "Rain\u00a0"])
def test_labels_that_differ_in_blanks_alone_are_refused(folder, other, refusal):
    message = refusal(folder, {"fname": ["0.wav", "1.wav"], "label": ["Rain", other]})
    assert f"labels must differ in more than blanks, got 'Rain' and {other!r}; write both the same" in message


def test_labels_that_differ_in_blanks_inside_are_refused(folder, refusal):
    message = refusal(folder, {"fname": ["0.wav", "1.wav"], "label": ["Rain drops", "Rain  drops"]})
    assert "got 'Rain drops' and 'Rain  drops'" in message


def test_a_label_keeps_the_blanks_around_it(folder, read):
    (folder / "train.csv").write_text("fname,label\n0.wav, dog \n1.wav,cat\n")
    assert read(folder).clips["label"].tolist()[:2] == [" dog ", "cat"]


def test_a_hundred_thousand_columns_are_refused_in_one_line(folder, refusal):
    header = b"fname,label," + b",".join(b"%d" % n for n in range(100_000))
    assert "train.csv: must have at most 1,000 columns, got 100,002; leave some out" in refusal(folder, text=header)


@pytest.mark.parametrize("text", [b"\0" * 100, b"\xff\xfe\x00", b'"', b"fname,label\n\0,\0\n", b",\n,\n", b"\n\n"])
def test_what_is_no_csv_is_refused_in_one_line(folder, text, refusal):
    assert refusal(folder, text=text).startswith(f"{folder}/train.csv: ")


def test_a_folder_in_the_place_of_a_csv_is_refused(folder, refusal):
    (folder / "train.csv").unlink()
    (folder / "train.csv").mkdir()
    assert "train.csv: must be a CSV file, got none" in refusal(folder)


def test_it_is_recognised(folder, read):
    assert read(folder).layout == "kaggle"
    assert read(folder).clips.equals(read(folder, layout="kaggle").clips)


def test_a_submission_without_a_column_fname_is_refused(folder, read):
    (folder / "sample_submission.csv").write_text("label\nx\n")
    with pytest.raises(DatasetError, match=r"sample_submission\.csv: must have a column fname, got label; add it"):
        read(folder)


def test_of_a_submission_only_the_names_are_taken(folder, read):
    (folder / "sample_submission.csv").write_text("fname,label,other\nt.wav,x y z,1\n")
    clips = read(folder).clips
    assert clips["label"].tolist()[-1] == "" and "other" not in clips
