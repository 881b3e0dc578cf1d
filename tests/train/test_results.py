import json

import numpy as np
import pandas as pd
import pytest

from ensemble import create_predictions
from train.results import result_table, runs_table
from train.settings import settings_for


@pytest.fixture
def make_run(tmp_path):
    """A function that makes a finished run of two folds below a work folder."""

    def make(name, model="conv1d", preset="default", finished=(0, 1), test=None, **values):
        settings = settings_for(model, preset, work=tmp_path, **values)
        folder = create_predictions(
            tmp_path / name / settings.net.folder,
            labels=["a", "b"],
            clips_train=pd.DataFrame({"fname": list("0123"), "label": list("abab")}),
            clips_test=pd.DataFrame({"fname": list("tuvw")}).assign(**test or {}),
            folds=np.array([0, 0, 1, 1]),
            reasons=[""] * 4,
            config={
                "model": model,
                "n_parameters": 1234,
                "n_folds": 2,
                "settings": settings.binding(),
                "stores": [{"name": "raw-4000.zarr"}],
            },
        )
        for fold in finished:
            train = np.array([[0.9, 0.1], [0.2, 0.8], [0.9, 0.1], [0.6, 0.4]])
            tested = np.array([[0.8, 0.2], [0.4, 0.6], [0.7, 0.3], [0.5, 0.5]]) ** (fold + 1)
            folder.write_fold(fold, train, tested, {"epochs": 1, "kept_epoch": 1, "seconds": 75.2})
        return folder

    return make


def test_the_folds_of_a_run_and_all_of_them_have_a_line(make_run):
    folder = make_run("")
    assert result_table(folder) == [
        "fold  clips  epochs  kept  OOF accuracy  OOF MAP@3",
        "0         2       1     1        1.0000     1.0000",
        "1         2       1     1        0.5000     0.7500",
        "all       4                      0.7500     0.8750",
        f"predictions: {folder.path}",
    ]


def test_a_run_says_how_many_folds_it_has_so_far(make_run):
    assert result_table(make_run("", finished=(1,)))[1:3] == [
        "1           2       1     1        0.5000     0.7500",
        "1 of 2      2                      0.5000     0.7500",
    ]


LABELLED = {"label": list("aabc"), "usage": ["Public", "Private", "Private", ""]}


def test_a_run_has_scores_on_the_test_clips_whose_labels_are_known(make_run):
    folder = make_run("", test=LABELLED)
    assert result_table(folder)[4:] == [
        "",
        "test     clips  accuracy   MAP@3",
        "all          3    0.3333  0.6667",
        "public       1    1.0000  1.0000",
        "private      2    0.0000  0.5000",
        "test clips that are not scored: 1 of labels that no net knows",
        f"predictions: {folder.path}",
    ]


def test_a_run_without_a_finished_fold_has_no_test_scores(make_run):
    lines = result_table(make_run("", finished=(), test=LABELLED))
    assert [line.split()[0] for line in lines] == ["fold", "test", "predictions:"]


def test_test_scores_stand_below_a_run_in_the_list(make_run, tmp_path):
    make_run("", test=LABELLED)
    assert runs_table(tmp_path)[0][3:] == [
        "    test_accuracy=0.3333 test_map3=0.6667 public_accuracy=1.0000",
        "    public_map3=1.0000 private_accuracy=0.0000 private_map3=0.5000",
    ]


def test_runs_stand_side_by_side_with_scores_time_and_what_differs(make_run, tmp_path):
    make_run("")
    make_run("trial", "conv2d", "notebook", finished=(1,))
    assert runs_table(tmp_path) == (
        [
            "run    net     recipe    parameters   folds  accuracy   MAP@3        time",
            "-      conv1d  default        1,234       2    0.7500  0.8750  2 min 30 s",
            "    store=raw-4000.zarr",
            "trial  conv2d  notebook       1,234  1 of 2    0.5000  0.7500  1 min 15 s",
            "    store=raw-4000.zarr",
        ],
        [],
    )


@pytest.mark.parametrize(
    ("model", "preset", "values", "told"),
    [
        ("conv1d", "default", {"seed": 1, "mixup": 0.0}, "mixup=0 seed=1"),
        (
            "conv1d",
            "default",
            {"polarity": False, "group_by": "source", "limit": 9},
            "group_by=source limit=9 polarity=no",
        ),
        ("conv1d", "default", {"quick": True, "folds": 3}, "folds=3 quick=yes"),
        ("conv1d", "default", {"fold_column": "part"}, "fold_column=part folds=none"),
        ("mobilenet", "default", {"features": "mfcc", "learning_rate": 0.001}, "learning_rate=0.001"),
        ("conv2d", "notebook", {"epochs": 7, "windows": "each-epoch"}, "epochs=7 windows=each-epoch"),
    ],
)
def test_settings_that_are_not_the_recipes_or_the_defaults_are_told_of_a_single_run(
    make_run, tmp_path, model, preset, values, told
):
    make_run("a", model, preset, **values)
    assert runs_table(tmp_path)[0][2] == f"    store=raw-4000.zarr {told}"


def test_what_differs_fits_80_columns(make_run, tmp_path):
    make_run(
        "a", seed=2, limit=12345, crops=7, epochs=300, batch_size=99, validate_every=77, patience=5, group_by="x"
    )
    lines = runs_table(tmp_path)[0]
    assert max(map(len, lines)) <= 80 and len(lines) > 3


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_damaged_run_leaves_the_others_in_the_table(make_run, tmp_path, part):
    make_run("")
    (make_run("trial", test=LABELLED).path / f"{part}_predictions_1.npy").unlink()
    lines, refused = runs_table(tmp_path)
    assert [line.split()[0] for line in lines] == ["run", "-", "store=raw-4000.zarr"]
    (line,) = refused
    assert f"trial/predictions_1d_conv/{part}_predictions_1.npy" in line


def test_a_run_without_a_finished_fold_is_named_apart(make_run, tmp_path):
    make_run("")
    begun = make_run("begun", finished=())
    lines, refused = runs_table(tmp_path)
    assert len(lines) == 3
    assert refused == [f"{begun.path}: no fold is finished yet; run train to its end"]


def test_folders_that_were_moved_aside_are_listed_too(make_run, tmp_path):
    folder = make_run("")
    folder.path.rename(folder.path.with_name("predictions_1d_conv.old-1"))
    assert runs_table(tmp_path)[0][1].startswith("predictions_1d_conv.old-1  conv1d")


def test_runs_of_before_recipes_have_a_dash(make_run, tmp_path):
    folder = make_run("")
    (folder.path / "config.json").write_text(json.dumps(folder.config | {"settings": {"seed": 1}}))
    assert runs_table(tmp_path)[0][1].split()[2] == "-"
