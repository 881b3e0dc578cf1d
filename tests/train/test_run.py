import shutil
from contextlib import contextmanager
from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from cache import open_cache
from ensemble import PredictionsError, PredictionsFolder, open_predictions
from train.input.dataset import open_dataset
from train.run import run, train_fold_of
from train.settings import settings_for
from train.split import assign_folds, chosen_folds


@pytest.fixture
def train(work, tmp_path, progress):
    """A function that runs the quick conv1d on the small cache, predictions in a fresh work folder."""

    def train_it(model="conv1d", source=work, **changes):
        changes = {"quick": True, "crops": 2, **({} if model == "conv1d" else {"mfcc": 20}), **changes}
        settings = settings_for(model, work=tmp_path, cache=source / "cache", **changes)
        dataset = open_dataset(open_cache(settings.cache_path), settings)
        folds = assign_folds(dataset, settings)
        return run(dataset, folds, chosen_folds(settings, folds), progress)

    return train_it


def test_every_fold_is_trained_and_every_clip_predicted(train, tmp_path, progress):
    folder = train()
    assert folder.path == tmp_path / "quick" / "predictions_1d_conv"
    assert folder.finished == [result["fold"] for result in progress.results] == [0, 1]
    oof = np.load(folder.path / "oof_predictions.npy")
    assert np.isfinite(oof[:18]).all()
    assert np.isnan(oof[18:]).all()
    assert np.isfinite(folder.train_predictions(0)).all()


@pytest.mark.slow
def test_mfcc_work_too_and_so_does_a_dataset_without_test_clips(train, other_work):
    folder = train("conv2d", source=other_work)
    assert folder.finished == [0, 1]
    assert folder.config["settings"]["mfcc_sr"] == 4000
    assert folder.test_predictions(1).shape == (0, 2)


@pytest.mark.slow
def test_folds_one_by_one_in_any_order_give_the_same_predictions(train):
    at_once = train(name="once")
    train(fold=(1,))
    folder = train(fold=(0,))
    assert np.array_equal(folder.oof(), at_once.oof(), equal_nan=True)
    for fold in (0, 1):
        assert np.array_equal(folder.test_predictions(fold), at_once.test_predictions(fold))


def test_what_a_folder_is_about_is_written_beside_it(train, untrained):
    folder = train(folds=3, seed=7)
    assert folder.labels == ["Hum", "None", "Rain drops"]
    folds = pd.read_csv(folder.path / "folds.csv", dtype=str, keep_default_na=False)
    assert folds["fname"].tolist() == [f"clip {number:02}.wav" for number in range(20)]
    assert folds["reason"].tolist()[17:] == ["", "empty", "failed"]
    config = folder.config
    assert (config["model"], config["n_parameters"], config["n_folds"], config["seed"]) == ("conv1d", 6, 3, 7)
    assert config["settings"]["sr"] == 4000
    assert config["stores"][0]["name"] == "raw-4000.zarr"
    assert {"keras", keras.backend.backend(), "python"} <= config["versions"].keys()
    assert "git_revision" in config


def test_a_finished_fold_is_not_trained_again(train, untrained, progress):
    folder = train()
    train()
    assert untrained == [0, 1]
    assert f"{folder.path}: already finished and kept: folds 0, 1" in progress.lines


def test_a_run_that_was_stopped_resumes_with_the_first_unfinished_fold(train, untrained):
    untrained.errors[1] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        train(folds=3)
    untrained.errors.clear()
    untrained.clear()
    assert train(folds=3).finished == [0, 1, 2]
    assert untrained == [1, 2]


def test_only_chosen_folds_are_trained(train, untrained):
    assert train(folds=3, fold=(2,)).finished == [2]
    assert train(folds=3, fold=(2, 0)).finished == [0, 2]
    assert untrained == [2, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 2}, r"seed must be 1001, got 2.*--force"),
        ({"crops": 3}, r"crops must be 2, got 3"),
        ({"limit": 12}, r"limit must be None, got 12"),
        ({"seconds": 1.0}, r"seconds must be 3.0, got 1.0"),
        ({"verified_only": True}, r"verified_only must be False, got True"),
    ],
)
def test_changed_settings_are_refused_by_name(train, untrained, change, message):
    train(fold=(0,))
    with pytest.raises(PredictionsError, match=message):
        train(fold=(0,), **change)


def test_where_a_run_lies_does_not_matter(train, untrained, work, tmp_path):
    train(fold=(0,))
    shutil.copytree(work, tmp_path / "moved")
    assert train(source=tmp_path / "moved").finished == [0, 1]


def test_another_dataset_is_refused(train, untrained, other_work):
    train(fold=(0,))
    with pytest.raises(PredictionsError, match=r"labels.json"):
        train(source=other_work)


def test_force_moves_the_old_folder_aside(train, untrained, tmp_path, progress):
    first = train(fold=(0,))
    train(fold=(0,), seed=2, force=True)
    aside = tmp_path / "quick" / "predictions_1d_conv.old-1"
    assert (aside / "finished_0.json").is_file()
    assert f"{first.path}: moved to {aside}" in progress.lines


def test_force_without_a_folder_changes_nothing(train, untrained):
    assert train(force=True).finished == [0, 1]


def test_clips_left_out_are_named(train, untrained, progress):
    train(verified_only=True)
    assert "1 of 20 training clips are empty, in no fold: clip 18.wav" in progress.lines
    assert "1 of 20 training clips are failed, in no fold: clip 19.wav" in progress.lines
    assert "1 of 20 training clips are unverified, in no fold: clip 04.wav" in progress.lines
    assert "1 of 4 test clips are predicted from silence: test 3.wav" in progress.lines


def test_long_remarks_are_broken_to_fit_80_columns(train, untrained, progress, monkeypatch):
    monkeypatch.setattr("train.run.listed", lambda names, most: ", ".join(["a-long-name.wav"] * 5))
    train()
    first = progress.lines.index("1 of 4 test clips are predicted from silence: a-long-name.wav,")
    assert progress.lines[first + 1] == "    a-long-name.wav, a-long-name.wav, a-long-name.wav, a-long-name.wav"


def test_labels_of_test_clips_go_into_the_folder(train, untrained, dataset, progress):
    """Also where they were not known when its folds were trained."""
    first = train()
    opened = dataset(quick=True, crops=2)
    test = opened.test.assign(label=["Hum", "", "Rain drops", "None"], usage=["Public", "", "", "Private"])
    settings = replace(opened.settings, work=first.path.parents[1], cache=opened.settings.cache_path)
    opened = replace(opened, test=test, settings=settings)
    again = run(opened, assign_folds(opened, settings), [0, 1], progress)
    assert untrained == [0, 1]
    assert again.clips_test["label"].tolist() == ["Hum", "", "Rain drops", "None"]
    assert open_predictions(first.path).clips_test["usage"].tolist() == ["Public", "", "", "Private"]


def test_a_column_gives_the_folds(train, untrained, dataset):
    folder = train(fold_column="part")
    parts = dataset().train["part"]
    assert folder.n_folds == 2
    assert set(parts[folder.folds == 0]) == {"part9"}
    assert set(parts[folder.folds == 1]) == {"part10"}


def test_a_fold_that_another_process_trains_is_refused(train, untrained):
    folder = train(fold=(1,))
    message = r"fold 0 is being trained by another process; wait for it, or use --name"
    with FileLock(folder.path / ".fold_0.lock"), pytest.raises(PredictionsError, match=message):
        train()
    assert train().finished == [0, 1]


def test_a_fold_that_another_process_finished_meanwhile_is_kept(train, untrained, progress, monkeypatch):
    folder = train(fold=(1,))
    held = PredictionsFolder.holding

    @contextmanager
    def after_another_run(folder, fold, wait_s):
        if fold == 0:
            monkeypatch.setattr(PredictionsFolder, "holding", held)
            train(fold=(0,))
        with held(folder, fold, wait_s):
            yield

    monkeypatch.setattr(PredictionsFolder, "holding", after_another_run)
    assert train().finished == [0, 1]
    assert untrained == [1, 0]
    assert f"{folder.path}: fold 0 was finished by another process meanwhile, and is kept" in progress.lines


def test_settings_may_change_as_long_as_nothing_is_trained(train, untrained):
    folder = train(fold=(1,))
    (folder.path / "finished_1.json").unlink()
    assert train(learning_rate=0.5).config["settings"]["learning_rate"] == 0.5


def test_a_fold_that_was_stopped_is_not_lost_to_other_settings(train, untrained):
    folder = train(fold=(1,))
    (folder.path / "finished_1.json").rename(folder.path / "checkpoint_1.npz")
    with pytest.raises(PredictionsError, match=r"learning_rate must be 0.001, got 0.5; use the same ones"):
        train(learning_rate=0.5)
    assert train().finished == [0, 1]


def test_force_leaves_a_folder_that_is_trained_into(train, untrained):
    folder = train(fold=(1,))
    message = r"fold 0 is being trained by another process; wait for it, or use --name"
    with FileLock(folder.path / ".fold_0.lock"), pytest.raises(PredictionsError, match=message):
        train(force=True)
    assert folder.finished == [1]


def test_one_fold_can_be_trained_from_settings_alone(work, tmp_path, untrained, progress):
    settings = settings_for("conv1d", quick=True, work=tmp_path, cache=work / "cache")
    assert train_fold_of(settings, 1, progress)["fold"] == 1
    assert untrained == [1]
    assert [result["fold"] for result in progress.results] == [1]
