import numpy as np
import pytest

from ensemble.metrics import accuracy, map3
from ensemble.table import Row, ensemble_row, folder_row, format_table


def test_folder_row_scores_the_clips_that_are_in_folds(tmp_path, make_predictions):
    folder = make_predictions(tmp_path / "p")
    scores = [score(folder.oof()[:11], folder.labels_index[:11]) for score in (accuracy, map3)]
    assert folder_row(folder) == Row("conv1d", 360513, "3", 11, *scores, str(tmp_path / "p"))


def test_unfinished_folder_says_so(tmp_path, make_predictions):
    row = folder_row(make_predictions(tmp_path / "p", finish=[2]))
    assert (row.folds, row.n_clips) == ("1 of 3", 3)


def test_ensemble_row_adds_up_and_scores_the_clips_that_all_folders_score(tmp_path, make_predictions):
    one = make_predictions(tmp_path / "one", seed=1)
    two = make_predictions(tmp_path / "two", seed=2, config={"n_parameters": 168361}, finish=[0, 1])
    row = ensemble_row([one, two], [1, 1])
    scored = np.isin(one.folds, [0, 1])
    combined = (one.oof() ** 3 * two.oof() ** 2)[scored] ** 0.2
    scores = [score(combined, one.labels_index[scored]) for score in (accuracy, map3)]
    assert row == Row("ensemble", 528874, "5", 8, *map(pytest.approx, scores), "all 2")


def test_ensemble_without_common_clips_has_a_dash(tmp_path, make_predictions):
    folders = [make_predictions(tmp_path / str(fold), finish=[fold]) for fold in (0, 1)]
    assert ensemble_row(folders, [1, 1]).cells() == ("ensemble", "721,026", "2", "0", "-", "-", "all 2")


def test_table_is_aligned_with_four_decimals_and_thousands():
    rows = [
        Row("conv1d", 360513, "10", 9473, 0.70123, 2 / 3, "work/predictions_1d_conv"),
        Row("ensemble", 528874, "20", 0, float("nan"), float("nan"), "all 2"),
    ]
    assert format_table(rows).splitlines() == [
        "model     trainable parameters  folds  clips  OOF accuracy  OOF MAP@3  predictions",
        "conv1d                 360,513     10  9,473        0.7012     0.6667  work/predictions_1d_conv",
        "ensemble               528,874     20      0             -          -  all 2",
    ]
