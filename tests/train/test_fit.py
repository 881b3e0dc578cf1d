import csv

import keras
import numpy as np
import pytest

from cache import open_cache
from ensemble import create_predictions
from ensemble.files import read_json
from train.callbacks import cross_entropy
from train.dataset import open_dataset
from train.fit import fit_fold
from train.folds import assign_folds
from train.moments import measure_moments
from train.predict import predict
from train.settings import Settings, SettingsError


@pytest.fixture
def fit(work, tmp_path, progress):
    """A function that trains one fold under some settings, and gives the folder, the dataset and the result."""

    def fit_one(model, fold=0, name="predictions", **changes):
        settings = Settings(model, work=work, **{"folds": 2, "mfcc": 20, "crops": 2, "batch_size": 4, **changes})
        dataset = open_dataset(open_cache(settings.cache_path), settings)
        folder = create_predictions(
            tmp_path / name,
            labels=dataset.labels,
            clips_train=dataset.train.rename(columns={"clip": "fname"}),
            clips_test=dataset.test.rename(columns={"clip": "fname"}),
            folds=assign_folds(dataset, settings),
            reasons=dataset.reasons,
            config={"model": model, "n_parameters": 1, "n_folds": 2},
        )
        return folder, dataset, fit_fold(fold, dataset, settings, folder, progress)

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
    assert {"fold", "n_clips", "accuracy", "map3", "epochs", "best_epoch", "seconds"} <= result.keys()
    assert (result["n_clips"], result["epochs"]) == (9, 2)


def test_predictions_come_from_the_best_weights(fit):
    folder, dataset, result = fit("conv2d", epochs=6, patience=9, learning_rate=0.05)
    losses = [float(row["val_loss"]) for row in _history(folder)]
    assert result["best_epoch"] == 1 + losses.index(min(losses))
    held_out = folder.folds == 0
    found = cross_entropy(folder.train_predictions(0)[held_out], dataset.targets[held_out])
    assert found == pytest.approx(min(losses), rel=1e-5)


def test_the_saved_model_gives_the_predictions(fit):
    folder, dataset, _ = fit("conv2d", epochs=2)
    model = keras.saving.load_model(folder.path / "model_0.keras", safe_mode=True)
    again = predict(model, dataset.windows, np.arange(24), crops=2, batch_size=4)
    assert np.array_equal(again[:20], folder.train_predictions(0))
    assert np.array_equal(again[20:], folder.test_predictions(0))


def test_training_stops_after_patience_without_a_better_loss(fit):
    folder, _, result = fit("conv2d", epochs=40, patience=1, learning_rate=0.05)
    assert result["epochs"] == len(_history(folder)) == result["best_epoch"] + 1 < 40


def test_a_net_learns(fit, progress):
    fit("conv2d", epochs=12, patience=12, learning_rate=0.003)
    assert progress.epochs[-1]["loss"] < 0.7 * progress.epochs[0]["loss"]


@pytest.mark.parametrize(("model", "changes"), [("conv1d", {"seconds": 0.5}), ("conv2d", {})])
def test_a_fold_gives_the_same_predictions_again_and_whatever_came_before_it(fit, model, changes):
    fit(model, fold=0, name="both", quick=True)
    after_another, _, _ = fit(model, fold=1, name="both", epochs=2, **changes)
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
    (layer,) = [layer for layer in model.layers if isinstance(layer, keras.layers.Normalization)]
    training = measure_moments(dataset.windows, np.flatnonzero(folder.folds == 1))
    assert np.allclose(np.squeeze(layer.mean), training.mean)
    assert np.allclose(np.squeeze(layer.variance), training.variance)


def test_a_loss_that_is_no_number_leaves_the_fold_unfinished(fit):
    with pytest.raises(SettingsError, match=r"fold 0: loss must stay finite, got (nan|inf); .* than 1e\+30"):
        fit("conv1d", seconds=0.5, learning_rate=1e30, epochs=3)


def test_a_window_longer_than_every_clip_works(fit):
    folder, _, _ = fit("conv1d", seconds=3, quick=True)
    assert folder.finished == [0]
