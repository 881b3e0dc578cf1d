import csv
import os

import numpy as np
import pytest

from ensemble import PredictionsError
from ensemble.files import write_csv
from ensemble.submission import refuse_output, submission

FNAMES, LABELS = ["a.wav", "b.wav"], ["Bark", "Bell", "Rain"]


def test_rows_hold_the_three_best_labels_in_the_clips_order():
    table = submission(["b.wav", "a.wav"], np.array([[0.1, 0.4, 0.2, 0.3], [0.4, 0.3, 0.2, 0.1]]), list("wxyz"))
    assert list(table.columns) == ["fname", "label"]
    assert table.to_numpy().tolist() == [["b.wav", "x z y"], ["a.wav", "w x y"]]


def test_two_labels_give_two():
    table = submission(["a.wav"], np.array([[0.1, 0.9]]), ["x", "y"])
    assert table["label"].tolist() == ["y x"]


def test_names_with_commas_and_quotes_survive_the_file(tmp_path):
    fnames = ["a,b.wav", 'say "so".wav', "é ü.wav", "None"]
    write_csv(tmp_path / "s.csv", submission(fnames, np.full((4, 3), 1 / 3), ["Bark, loud", "None", "c"]))
    with open(tmp_path / "s.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows == [["fname", "label"], *([fname, "Bark, loud None c"] for fname in fnames)]


def test_no_clips_give_the_header_alone(tmp_path):
    write_csv(tmp_path / "s.csv", submission([], np.empty((0, 4)), list("wxyz")))
    assert (tmp_path / "s.csv").read_text() == "fname,label\n"


def _refusal(path):
    with pytest.raises(PredictionsError) as refusal:
        refuse_output(path, FNAMES, LABELS)
    return str(refusal.value)


def test_a_new_file_an_empty_one_and_an_earlier_submission_may_be_written(tmp_path):
    refuse_output(tmp_path / "new" / "s.csv", FNAMES, LABELS)
    (tmp_path / "s.csv").touch()
    refuse_output(tmp_path / "s.csv", FNAMES, LABELS)
    write_csv(tmp_path / "s.csv", submission(FNAMES, np.eye(2, 3), LABELS))
    refuse_output(tmp_path / "s.csv", FNAMES, LABELS)


@pytest.mark.parametrize(
    "content",
    [
        b"fname,label,manually_verified\na.wav,Bark,1\nb.wav,Bell,0\n",
        b"fname,label\n0.wav,Bark\n1.wav,Bell\n",  # training clips
        b"fname,label\na.wav,Bark Bell Rain\n",  # fewer clips
        b"fname,label\na.wav,Bark\nb.wav,Bell\n",  # right labels of the very clips
        b'fname,label\na.wav,"Bark\n',
        b'["Bark", "Bell"]\n',
        b"\x93NUMPY\x01\x00v\x00{}",
    ],
)
def test_a_file_that_is_no_submission_for_these_clips_is_not_replaced(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    said = _refusal(tmp_path / "x")
    assert said == (
        f"{tmp_path}/x: the file there is not an earlier submission for these clips; "
        "give --output another name, or remove the file"
    )


@pytest.mark.parametrize("name", ["train.csv", "sample_submission.csv", "TRAIN.CSV"])
def test_names_of_the_datasets_tables_are_refused(tmp_path, name):
    said = "a submission must not replace the dataset's own table; give --output another name"
    assert _refusal(tmp_path / name) == f"{tmp_path / name}: {said}"
    (tmp_path / "link.csv").symlink_to(tmp_path / name)
    assert said in _refusal(tmp_path / "link.csv")


def test_a_path_inside_a_predictions_folder_is_refused(tmp_path, make_predictions):
    make_predictions(tmp_path / "p", finish=[])
    for name in ("predictions_0.csv", "new.csv", "deep/new.csv"):
        assert _refusal(tmp_path / "p" / name) == (
            f"{tmp_path}/p/{name}: {tmp_path}/p is a predictions folder, which is only read; "
            "give --output another name"
        )


def test_a_folder_and_a_fifo_are_refused(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo"):
        assert _refusal(path).startswith(f"{path}: this is a folder or a device, not a file; ")
