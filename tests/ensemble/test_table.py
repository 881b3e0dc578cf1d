import re

import numpy as np

from ensemble.combine import combined_oof
from ensemble.metrics import accuracy, map3
from ensemble.table import ensemble_row, folder_row, result_table


def _table(folders):
    return result_table(folders, {"all 2": combined_oof(folders, [1, 1])})


def test_folder_row_scores_the_clips_that_are_in_folds(tmp_path, make_predictions):
    folder = make_predictions(tmp_path / "p")
    scores = [f"{score(folder.oof()[:11], folder.labels_index[:11]):.4f}" for score in (accuracy, map3)]
    assert folder_row(folder) == ("conv1d", "360,513", "3", "11", *scores)


def test_unfinished_folder_says_so(tmp_path, make_predictions):
    row = folder_row(make_predictions(tmp_path / "p", finish=[2]))
    assert row[2:4] == ("1 of 3", "3")


def test_ensemble_row_adds_up_and_scores_the_clips_that_all_folders_score(tmp_path, make_predictions):
    one = make_predictions(tmp_path / "one", seed=1)
    two = make_predictions(tmp_path / "two", seed=2, config={"n_parameters": 168361}, finish=[0, 1])
    row = ensemble_row([one, two], combined_oof([one, two], [1, 1]))
    scored = np.isin(one.folds, [0, 1])
    combined = (one.oof() ** 3 * two.oof() ** 2)[scored] ** 0.2
    scores = [f"{score(combined, one.labels_index[scored]):.4f}" for score in (accuracy, map3)]
    assert row == ("ensemble", "528,874", "5", "8", *scores)


def test_ensemble_without_common_clips_has_a_dash(tmp_path, make_predictions):
    folders = [make_predictions(tmp_path / str(fold), finish=[fold]) for fold in (0, 1)]
    assert ensemble_row(folders, combined_oof(folders, [1, 1])) == ("ensemble", "721,026", "2", "0", "-", "-")


def test_table_is_aligned_and_names_neighbours_without_their_folder(tmp_path, make_predictions):
    folders = [
        make_predictions(tmp_path / "predictions_1d_conv", seed=1),
        make_predictions(tmp_path / "predictions_mobilenet", seed=2, config={"model": "mobilenet"}),
    ]
    lines = [re.sub(r"0\.\d{4}", "0.----", line) for line in _table(folders)]
    assert lines == [
        "model      parameters  folds  clips  accuracy   MAP@3  predictions",
        "conv1d        360,513      3     11    0.----  0.----  predictions_1d_conv",
        "mobilenet     360,513      3     11    0.----  0.----  predictions_mobilenet",
        "ensemble      721,026      6     11    0.----  0.----  all 2",
    ]


def test_folders_of_different_places_are_named_in_full(tmp_path, make_predictions):
    folders = [make_predictions(tmp_path / place / "p") for place in "ab"]
    assert [line.split()[-1] for line in _table(folders)[1:3]] == [f"{tmp_path}/{x}/p" for x in "ab"]


def test_a_folders_name_cannot_steer_the_terminal(tmp_path, make_predictions):
    folder = make_predictions(tmp_path / "p\x1b[2J", config={"model": "conv\n1d"})
    line = result_table([folder], {})[1]
    assert line.startswith("conv\\u000a1d ") and line.endswith("p\\u001b[2J")


def test_folders_that_score_different_clips_are_said_to(tmp_path, make_predictions):
    """One was trained on verified clips only: two more clips are in no fold."""
    folds = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, -1, -1, -1])
    folders = [make_predictions(tmp_path / "a"), make_predictions(tmp_path / "b", folds=folds)]
    assert _table(folders)[-1] == (
        f"note: the folders score different training clips (11 in {tmp_path}/a, 9 in {tmp_path}/b); "
        "the ensemble's row is over the 9 clips that all of them score"
    )
    assert [row.split()[3] for row in _table(folders)[1:4]] == ["11", "9", "9"]


def test_other_clips_in_the_same_number_are_said_too(tmp_path, make_predictions):
    folders = [make_predictions(tmp_path / str(fold), finish=[fold]) for fold in (0, 1)]
    assert "(4 in " in _table(folders)[-1] and "over the 0 clips" in _table(folders)[-1]
    other_folds = make_predictions(tmp_path / "c", folds=np.array([2, 1, 0] * 3 + [0, 1, -1]))
    assert len(_table([make_predictions(tmp_path / "d"), other_folds])) == 4
