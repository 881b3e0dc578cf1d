import csv

import numpy as np

from ensemble.files import write_csv
from ensemble.submission import submission


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
