"""What is said of the runs: counted anew from their folders."""

from shutil import copytree, rmtree

import numpy as np
import pytest

from ensemble.metrics import accuracy, map3
from ensemble.predictions import open_predictions
from report.runs import contributions, disagreements, ensemble_of, find_runs, histories, read_runs, runs_table


@pytest.fixture(scope="module")
def runs(work):
    return read_runs(find_runs(work)[0], work)[0]


def test_runs_below_work_are_found_but_not_those_moved_aside(work, tmp_path):
    assert [folder.path.name for folder in find_runs(work)[0]] == ["predictions_1d_conv", "predictions_2d_conv"]
    (tmp_path / "predictions_1d_conv.old-1").mkdir()
    (tmp_path / "predictions_1d_conv.old-1" / "config.json").write_text("{}")
    assert find_runs(tmp_path) == ([], [])


def test_folder_that_cannot_be_read_is_told(tmp_path):
    (tmp_path / "predictions_1d_conv").mkdir()
    (tmp_path / "predictions_1d_conv" / "config.json").write_text("{")
    found, refused = find_runs(tmp_path)
    assert found == [] and "config.json" in refused[0]


def test_table_has_scores_intervals_and_what_differs(runs, work):
    table = runs_table(runs)
    folder = open_predictions(work / "predictions_1d_conv")
    assert table.loc[0, "accuracy"] == pytest.approx(accuracy(folder.oof(), folder.labels_index))
    assert table.loc[0, "map3"] == pytest.approx(map3(folder.oof(), folder.labels_index))
    assert (table["map3_low"] <= table["map3"]).all() and (table["map3"] <= table["map3_high"]).all()
    assert table["differs"].tolist() == ["mixup=0.3", "mixup=0.15"]
    assert table.loc[0, ["net", "parameters", "folds", "time"]].tolist() == ["conv1d", 1000, "2", "18 s"]


def test_ensemble_is_the_geometric_mean(runs):
    both = ensemble_of(runs, "both")
    wanted = np.sqrt(runs[0].probabilities * runs[1].probabilities)
    assert np.allclose(both.probabilities, wanted / wanted.sum(1, keepdims=True))


def test_what_a_run_adds_is_what_is_lost_without_it(runs):
    table = contributions(runs).set_index("run")
    both, second = ensemble_of(runs, ""), runs[1]
    gain = both.precisions.mean() - second.precisions.mean()
    assert table.loc["predictions_1d_conv", "gain"] == pytest.approx(gain)
    assert (table["low"] <= table["gain"]).all() and (table["gain"] <= table["high"]).all()


def test_disagreements_share_all_clips_out(runs):
    row = disagreements(runs).iloc[0]
    assert row[["both", "only_first", "only_second", "neither"]].sum() == pytest.approx(1)
    assert row["differ"] == pytest.approx(2 / 32)
    assert row["labels_first"] == "none" and row["labels_second"].endswith("(2)")


def test_histories_leave_broken_files_out(work, runs, tmp_path):
    assert len(histories(runs[0])) == 2
    assert list(histories(runs[0])[0]["epoch"]) == [1, 2, 3]


def test_quick_tries_are_left_out_unless_they_are_named(work):
    quick = work / "quick"
    copytree(work / "predictions_1d_conv", quick / "predictions_1d_conv")
    try:
        found, notes = find_runs(work)
        assert [folder.path.parent for folder in found] == [work, work]
        assert "is left out: it is a quick try. --name quick reports" in notes[0]
        assert [folder.path.parent for folder in find_runs(work, "quick")[0]] == [quick]
    finally:
        rmtree(quick)
