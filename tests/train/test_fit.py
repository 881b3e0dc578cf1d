import csv

import keras
import numpy as np
import pytest

from cache import open_cache
from ensemble import create_predictions
from ensemble.files import read_json
from train.callbacks import cross_entropy
from train.checkpoint import Checkpoint
from train.dataset import open_dataset
from train.fit import fit_fold
from train.folds import assign_folds
from train.moments import measure_moments
from train.predict import predict
from train.settings import SettingsError, settings_for
from train.workshop import Workshop


@pytest.fixture
def fit(work, tmp_path, progress):
    """A function that trains one fold under some settings, and gives the folder, the dataset and the result."""

    def fit_one(model, fold=0, name="predictions", preset="default", config=None, workshop=None, **changes):
        values = {"folds": 2, "mfcc": 20, "crops": 2, "batch_size": 4, **changes}
        settings = settings_for(model, preset, work=work, **values)
        dataset = open_dataset(open_cache(settings.cache_path), settings)
        folder = create_predictions(
            tmp_path / name,
            labels=dataset.labels,
            clips_train=dataset.train.rename(columns={"clip": "fname"}),
            clips_test=dataset.test.rename(columns={"clip": "fname"}),
            folds=assign_folds(dataset, settings),
            reasons=dataset.reasons,
            config={"model": model, "n_parameters": 1, "n_folds": 2} | (config or {}),
        )
        return folder, dataset, fit_fold(fold, dataset, settings, folder, progress, workshop)

    return fit_one


def _history(folder, fold=0):
    return list(csv.DictReader(open(folder.path / f"history_{fold}.csv")))


def test_a_fold_leaves_its_files(fit):
    folder, dataset, result = fit("conv1d", quick=True, epochs=2)
    names = {path.name for path in folder.path.iterdir()}
    assert {"model_0.keras", "history_0.csv", "train_predictions_0.npy", "test_predictions_0.npy"} <= names
    assert {"predictions_0.csv", "oof_predictions.npy", "finished_0.json"} <= names
    assert folder.finished == [0]
    assert folder.train_predictions(0).shape == (20, 3)
    assert folder.test_predictions(0).shape == (4, 3)
    assert result == read_json(folder.path / "finished_0.json")
    assert {"fold", "n_clips", "accuracy", "map3", "epochs", "kept_epoch", "seconds"} <= result.keys()
    assert (result["n_clips"], result["epochs"]) == (9, 2)


def test_predictions_come_from_the_best_weights(fit):
    folder, dataset, result = fit("conv2d", preset="notebook", epochs=6, patience=9, learning_rate=0.05)
    losses = [float(row["val_loss"]) for row in _history(folder)]
    assert result["kept_epoch"] == 1 + losses.index(min(losses))
    held_out = folder.folds == 0
    found = cross_entropy(folder.train_predictions(0)[held_out], dataset.targets[held_out])
    assert found == pytest.approx(min(losses), rel=1e-5)


def test_the_saved_model_gives_the_predictions(fit):
    folder, dataset, _ = fit("conv2d", epochs=2)
    model = keras.saving.load_model(folder.path / "model_0.keras", safe_mode=True)
    again = predict(model, dataset.windows, np.arange(24), crops=2, batch_size=4, mean="geometric")
    assert np.array_equal(again[:20], folder.train_predictions(0))
    assert np.array_equal(again[20:], folder.test_predictions(0))


def test_training_stops_after_patience_without_a_better_loss(fit):
    folder, _, result = fit("conv2d", preset="notebook", epochs=40, patience=1, learning_rate=0.05)
    assert result["epochs"] == len(_history(folder)) == result["kept_epoch"] + 1 < 40


@pytest.mark.parametrize(
    ("preset", "changes"), [("default", {"mixup": 0.0, "seconds": 2.0}), ("notebook", {"patience": 30})]
)
def test_a_net_learns(fit, progress, preset, changes):
    fit("conv2d", preset=preset, epochs=30, learning_rate=0.003, **changes)
    losses = [scores["loss"] for scores in progress.epochs]
    assert np.mean(losses[-5:]) < 0.7 * losses[0]


@pytest.mark.parametrize(("model", "changes"), [("conv1d", {"seconds": 0.5}), ("conv2d", {})])
def test_a_fold_gives_the_same_predictions_again_and_whatever_came_before_it(fit, model, changes):
    workshop = Workshop()
    fit(model, fold=0, name="both", quick=True, workshop=workshop)
    fit(model, fold=0, name="both", epochs=2, workshop=workshop, **changes)
    after_another, _, _ = fit(model, fold=1, name="both", epochs=2, workshop=workshop, **changes)
    alone, _, _ = fit(model, fold=1, name="alone", epochs=2, **changes)
    assert np.array_equal(after_another.train_predictions(1), alone.train_predictions(1))
    assert np.array_equal(after_another.test_predictions(1), alone.test_predictions(1))


def test_seeds_differ(fit):
    one, _, _ = fit("conv1d", quick=True, name="one")
    two, _, _ = fit("conv1d", quick=True, name="two", seed=2)
    assert not np.array_equal(one.train_predictions(0), two.train_predictions(0))


def test_mfcc_are_standardised_by_the_training_part_alone(fit):
    folder, dataset, _ = fit("conv2d", quick=True)
    model = keras.saving.load_model(folder.path / "model_0.keras")
    layer = model.get_layer("standardise")
    training = measure_moments(dataset.windows, np.flatnonzero(folder.folds == 1))
    assert np.allclose(layer.moving_mean, training.mean)
    assert np.allclose(layer.moving_variance, training.variance)


@pytest.mark.parametrize(("model", "changes"), [("conv1d", {"seconds": 0.5}), ("conv2d", {})])
def test_a_resident_store_trains_the_same_net(fit, model, changes):
    losses = {}
    for resident in ("no", "yes"):
        folder, dataset, _ = fit(model, name=resident, resident=resident, epochs=2, learning_rate=1e-4, **changes)
        losses[resident] = [float(row["loss"]) for row in _history(folder)]
        loaded = keras.saving.load_model(folder.path / "model_0.keras")
        assert loaded.input_shape == (None, *dataset.windows.shape)
    assert losses["yes"] == pytest.approx(losses["no"], rel=1e-3)


def test_bfloat16_computes_in_bfloat16_and_answers_in_float32(fit):
    folder, _, _ = fit("conv2d", precision="bfloat16", epochs=1)
    model = keras.saving.load_model(folder.path / "model_0.keras")
    convolution = next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    assert (convolution.compute_dtype, convolution.variable_dtype) == ("bfloat16", "float32")
    assert model.layers[-1].compute_dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"


def test_verified_clips_are_scored_apart_where_there_are_others(fit):
    folder, dataset, result = fit("conv1d", quick=True, fold=1)
    other = fit("conv1d", quick=True, fold=0)[2]
    unverified = np.flatnonzero(~dataset.verified)
    assert unverified.tolist() == [4]
    with_it, without = (result, other) if folder.folds[4] == 1 else (other, result)
    assert with_it["n_verified"] == with_it["n_clips"] - 1
    held_out = (folder.folds == with_it["fold"]) & dataset.verified
    best = folder.train_predictions(with_it["fold"])[held_out].argmax(axis=1)
    assert with_it["verified_accuracy"] == pytest.approx((best == dataset.targets[held_out]).mean())
    assert 0 <= with_it["verified_map3"] <= 1
    assert "n_verified" not in without


def test_validation_scores_verified_clips_alone_unless_told_otherwise(fit):
    fold, losses = int(fit("conv2d", quick=True)[0].folds[4]), {}
    for which in ("verified", "all"):
        folder, dataset, _ = fit("conv2d", name=which, fold=fold, epochs=1, validate_on=which)
        held_out = (folder.folds == fold) & (dataset.verified | (which == "all"))
        expected = cross_entropy(folder.train_predictions(fold)[held_out], dataset.targets[held_out])
        losses[which] = float(_history(folder, fold)[0]["val_loss"])
        assert losses[which] == pytest.approx(expected, rel=1e-5)
    assert losses["verified"] != losses["all"]


def test_unverified_clips_weigh_what_is_asked(fit):
    fold = 1 - int(fit("conv2d", quick=True)[0].folds[4])

    def predictions(**changes):
        folder, _, _ = fit("conv2d", name=f"weight {changes}", fold=fold, epochs=1, **changes)
        return folder.train_predictions(fold)

    assert np.array_equal(predictions(), predictions(unverified_weight=0.5))
    assert not np.array_equal(predictions(), predictions(unverified_weight=1.0))


class _Killed(Exception):
    pass


def _kill(monkeypatch, at_epoch, before):
    """Breaks off at the end of an epoch, before or after its checkpoint is written."""
    save = Checkpoint.save

    def broken(self, net, optimizer, standing):
        if standing.epochs == at_epoch and before:
            raise _Killed
        save(self, net, optimizer, standing)
        if standing.epochs == at_epoch:
            raise _Killed

    monkeypatch.setattr(Checkpoint, "save", broken)


@pytest.mark.parametrize(
    ("model", "preset", "changes"),
    [
        ("conv1d", "default", {"seconds": 0.5, "epochs": 4, "validate_every": 2}),
        ("conv2d", "default", {"epochs": 4, "validate_every": 1, "keep": "best"}),
    ],
)
def test_a_fold_that_was_broken_off_ends_as_one_that_was_not(fit, monkeypatch, progress, model, preset, changes):
    unbroken, _, expected = fit(model, preset=preset, name="unbroken", **changes)
    for epoch, before in ((2, True), (3, False), (4, False)):
        with monkeypatch.context() as patch, pytest.raises(_Killed):
            _kill(patch, epoch, before)
            fit(model, preset=preset, name="broken", **changes)
    broken, _, result = fit(model, preset=preset, name="broken", **changes)
    assert any("goes on after epoch" in line for line in progress.lines)
    assert np.array_equal(broken.train_predictions(0), unbroken.train_predictions(0))
    assert np.array_equal(broken.test_predictions(0), unbroken.test_predictions(0))
    assert (result["epochs"], result["kept_epoch"]) == (expected["epochs"], expected["kept_epoch"])
    rows = [[{**row, "seconds": ""} for row in _history(folder)] for folder in (unbroken, broken)]
    assert rows[0] == rows[1]
    assert not list(broken.path.glob("*checkpoint*"))


def test_a_fold_goes_on_with_a_resident_store_and_without(fit, monkeypatch, progress):
    changes = {"quick": True, "epochs": 3}
    whole, _, _ = fit("conv1d", name="whole", **changes)
    for epoch, resident in ((1, "yes"), (2, "no")):
        with monkeypatch.context() as patch, pytest.raises(_Killed):
            _kill(patch, epoch, before=False)
            fit("conv1d", name="broken", resident=resident, **changes)
    broken, _, _ = fit("conv1d", name="broken", resident="yes", **changes)
    assert [line for line in progress.lines if "goes on" in line] == [
        "fold 0: goes on after epoch 1 of 3",
        "fold 0: goes on after epoch 2 of 3",
    ]
    losses = [[float(row["loss"]) for row in _history(folder)] for folder in (whole, broken)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_a_loss_that_is_no_number_leaves_the_fold_unfinished(fit):
    with pytest.raises(SettingsError, match=r"fold 0: loss must stay finite, got (nan|inf); .* than 1e\+30"):
        fit("conv1d", seconds=0.5, learning_rate=1e30, epochs=3)


def test_a_window_longer_than_every_clip_works(fit):
    folder, _, _ = fit("conv1d", seconds=3, quick=True)
    assert folder.finished == [0]
