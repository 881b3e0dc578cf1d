import numpy as np
import pandas as pd

from ensemble import create_predictions
from train.table import result_table


def _folder(path):
    return create_predictions(
        path,
        labels=["a", "b"],
        clips_train=pd.DataFrame({"fname": ["0", "1", "2", "3", "4"], "label": ["a", "b", "a", "b", "a"]}),
        clips_test=pd.DataFrame({"fname": ["5"]}),
        folds=np.array([0, 0, 1, 1, -1]),
        reasons=["", "", "", "", "empty"],
        config={"model": "conv1d", "n_parameters": 3, "n_folds": 2},
    )


def _write(folder, fold, right):
    train = np.tile([0.9, 0.1], (5, 1))
    train[1::2] = [0.2, 0.8] if right else [0.7, 0.3]
    folder.write_fold(fold, train, np.array([[0.5, 0.5]]), result={"epochs": 12, "kept_epoch": 7, "seconds": 3.0})


def test_the_table_has_each_fold_and_all_of_them(tmp_path):
    folder = _folder(tmp_path / "p")
    _write(folder, 0, right=True)
    _write(folder, 1, right=False)
    assert result_table(folder).splitlines() == [
        "fold       clips  epochs  kept  OOF accuracy  OOF MAP@3",
        "0              2      12     7        1.0000     1.0000",
        "1              2      12     7        0.5000     0.7500",
        "all            4                      0.7500     0.8750",
        f"predictions: {tmp_path / 'p'}",
    ]


def test_the_table_says_how_many_folds_there_are_so_far(tmp_path):
    folder = _folder(tmp_path / "p")
    _write(folder, 1, right=False)
    assert result_table(folder).splitlines()[1:3] == [
        "1              2      12     7        0.5000     0.7500",
        "1 of 2         2                      0.5000     0.7500",
    ]
