import numpy as np
import pandas as pd
import pytest

from ensemble import create_predictions
from ensemble.files import write_json
from train.runs import find_runs, runs_table
from train.settings import settings_for


@pytest.fixture
def make_run(tmp_path):
    """A function that makes a finished run of two folds below a work folder."""

    def make(name, model="conv1d", preset="default", finished=(0, 1), **values):
        settings = settings_for(model, preset, work=tmp_path, **values)
        folder = create_predictions(
            tmp_path / name / settings.net.folder,
            labels=["a", "b"],
            clips_train=pd.DataFrame({"fname": list("0123"), "label": list("abab")}),
            clips_test=pd.DataFrame({"fname": ["t"]}),
            folds=np.array([0, 0, 1, 1]),
            reasons=[""] * 4,
            config={"model": model, "n_parameters": 1234, "n_folds": 2, "settings": settings.binding()},
        )
        for fold in finished:
            train = np.array([[0.9, 0.1], [0.2, 0.8], [0.9, 0.1], [0.6, 0.4]])
            folder.write_fold(fold, train, np.array([[0.5, 0.5]]), {"epochs": 1, "kept_epoch": 1, "seconds": 75.2})
        return folder

    return make


def _table(work):
    folders, refused = find_runs(work)
    table, unreadable = runs_table(work, folders)
    return table.splitlines(), refused + unreadable


def test_runs_stand_side_by_side_with_scores_and_time(make_run, tmp_path):
    make_run("")
    make_run("trial", "conv2d", "notebook", finished=(1,))
    lines, refused = _table(tmp_path)
    assert [line.split() for line in lines] == [
        [
            "run",
            "net",
            "recipe",
            "parameters",
            "folds",
            "OOF",
            "accuracy",
            "OOF",
            "MAP@3",
            "time",
            "what",
            "differs",
        ],
        ["predictions_1d_conv", "conv1d", "default", "1,234", "2", "0.7500", "0.8750", "2", "min", "30", "s"],
        [
            "trial/predictions_2d_conv",
            "conv2d",
            "notebook",
            "1,234",
            "1",
            "of",
            "2",
            "0.5000",
            "0.7500",
            "1",
            "min",
            "15",
            "s",
        ],
    ]
    assert refused == []


def test_a_damaged_run_leaves_the_others_in_the_table(make_run, tmp_path):
    make_run("")
    (make_run("trial").path / "train_predictions_1.npy").unlink()
    lines, refused = _table(tmp_path)
    assert [line.split()[0] for line in lines] == ["run", "predictions_1d_conv"]
    (line,) = refused
    assert "trial/predictions_1d_conv/train_predictions_1.npy" in line


def test_what_differs_is_said_against_the_recipe_and_against_other_runs(make_run, tmp_path):
    make_run("a", seed=1, mixup=0.0)
    make_run("b", seed=2, polarity=False, group_by="source")
    make_run("c", "conv2d", seed=3, features="logmel", patience=None)
    lines, _ = _table(tmp_path)
    assert lines[1].endswith("group_by=none mixup=0 seed=1")
    assert lines[2].endswith("group_by=source polarity=False seed=2")
    assert lines[3].endswith("2 min 30 s")


def test_a_part_of_the_notebooks_recipe_that_was_changed_is_named(make_run, tmp_path):
    make_run("a", "conv2d", "notebook", epochs=7, windows="each-epoch")
    assert _table(tmp_path)[0][1].endswith("epochs=7 windows=each-epoch")


def test_a_run_without_a_finished_fold_is_named_apart(make_run, tmp_path):
    make_run("")
    begun = make_run("begun", finished=())
    lines, refused = _table(tmp_path)
    assert len(lines) == 2
    assert refused == [f"{begun.path}: folder must have a finished fold, got none; run train to its end"]


def test_folders_that_were_moved_aside_are_listed_too(make_run, tmp_path):
    folder = make_run("")
    folder.path.rename(folder.path.with_name("predictions_1d_conv.old-1"))
    assert _table(tmp_path)[0][1].startswith("predictions_1d_conv.old-1  conv1d")


def test_runs_of_before_recipes_have_a_dash(make_run, tmp_path):
    folder = make_run("")
    write_json(folder.path / "config.json", folder.config | {"settings": {"seed": 1}})
    assert _table(tmp_path)[0][1].split()[2] == "-"
