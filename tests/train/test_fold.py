import csv
import dataclasses
import json

import keras
import numpy as np
import pytest

from cache import open_cache
from ensemble import create_predictions
from train.fold import compile_model, learning_rate, train_fold
from train.input.dataset import open_dataset
from train.input.statistics import measure_statistics
from train.loop.callbacks import cross_entropy
from train.loop.checkpoint import Checkpoint
from train.predict import predict
from train.recipe import DEFAULT, NOTEBOOK
from train.settings import SettingsError, settings_for
from train.split import assign_folds


@pytest.fixture
def fit(work, tmp_path, progress):
    """A function that trains one fold under some settings, and gives the folder, the dataset and the result."""

    def fit_one(model, fold=0, name="predictions", preset="default", **changes):
        values = {"folds": 2, "crops": 2, "batch_size": 4, **({} if model == "conv1d" else {"mfcc": 20}), **changes}
        dataset = open_dataset(open_cache(work / "cache"), settings_for(model, preset, work=work, **values))
        folder = create_predictions(
            tmp_path / name,
            labels=dataset.labels,
            clips_train=dataset.train.rename(columns={"clip": "fname"}),
            clips_test=dataset.test.rename(columns={"clip": "fname"}),
            folds=assign_folds(dataset, dataset.settings),
            reasons=dataset.reasons,
            config={"model": model, "n_parameters": 1, "n_folds": 2, "settings": {}, "seed": 1, "stores": []},
        )
        return folder, dataset, train_fold(fold, dataset, folder, progress)

    return fit_one


def _history(folder, fold=0):
    return list(csv.DictReader(open(folder.path / f"history_{fold}.csv")))


def test_a_fold_leaves_its_files(fit):
    folder, dataset, result = fit("conv1d", quick=True, epochs=2)
    names = {path.name for path in folder.path.iterdir()}
    assert {"model_0.keras", "history_0.csv", "train_predictions_0.npy", "test_predictions_0.npy"} <= names
    assert {"predictions_0.csv", "oof_predictions.npy", "finished_0.json"} <= names
    assert not [name for name in names if "checkpoint" in name or name.startswith(".earmark")]
    assert folder.finished == [0]
    assert folder.train_predictions(0).shape == (20, 3)
    assert folder.test_predictions(0).shape == (4, 3)
    assert result == json.loads((folder.path / "finished_0.json").read_text())
    assert {"fold", "n_clips", "accuracy", "map3", "epochs", "kept_epoch", "seconds"} <= result.keys()
    assert (result["n_clips"], result["epochs"]) == (9, 2)


def test_predictions_come_from_the_best_weights(fit):
    changes = {"epochs": 6, "patience": 9, "learning_rate": 0.5}
    folder, dataset, result = fit("conv2d", preset="notebook", quick=True, **changes)
    losses = [float(row["val_loss"]) for row in _history(folder)]
    assert result["kept_epoch"] == 1 + losses.index(min(losses))
    held_out = folder.folds == 0
    found = cross_entropy(folder.train_predictions(0)[held_out], dataset.label_ids[held_out])
    assert found == pytest.approx(min(losses), rel=1e-5)


def test_the_saved_model_gives_the_predictions(fit):
    folder, dataset, _ = fit("conv2d", quick=True, epochs=2)
    model = keras.saving.load_model(folder.path / "model_0.keras", safe_mode=True)
    again = predict(model, dataset.windows, np.arange(24), crops=2, batch_size=4, mean="geometric")
    assert np.array_equal(again[:20], folder.train_predictions(0))
    assert np.array_equal(again[20:], folder.test_predictions(0))


def test_training_stops_after_patience_without_a_lower_loss(fit):
    changes = {"epochs": 40, "patience": 1, "learning_rate": 1.0}
    folder, _, result = fit("conv2d", preset="notebook", quick=True, **changes)
    assert result["epochs"] == len(_history(folder)) == result["kept_epoch"] + 1 < 40


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "changes"), [("default", {"mixup": 0.0, "seconds": 2.0}), ("notebook", {"patience": 30})]
)
def test_a_net_learns(fit, progress, preset, changes):
    fit("conv2d", preset=preset, epochs=30, learning_rate=0.003, **changes)
    losses = [scores["loss"] for scores in progress.epochs]
    assert np.mean(losses[-5:]) < 0.7 * losses[0]


def _same_again(fit, model, **changes):
    fit(model, fold=0, name="both", **changes)
    after_another, _, _ = fit(model, fold=1, name="both", **changes)
    alone, _, _ = fit(model, fold=1, name="alone", **changes)
    assert np.array_equal(after_another.train_predictions(1), alone.train_predictions(1))
    assert np.array_equal(after_another.test_predictions(1), alone.test_predictions(1))
    other_seed, _, _ = fit(model, fold=1, name="seed", seed=2, **changes)
    assert not np.array_equal(other_seed.train_predictions(1), alone.train_predictions(1))


def test_a_fold_gives_the_same_predictions_again_and_whatever_came_before_it(fit):
    _same_again(fit, "conv2d", quick=True, epochs=2)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize(("model", "changes"), [("conv1d", {"seconds": 0.5}), ("conv2d", {})])
def test_the_notebooks_nets_give_the_same_predictions_again(fit, model, changes):
    _same_again(fit, model, epochs=2, **changes)


@pytest.mark.parametrize("standardise", ["coefficient", "position"])
def test_frames_are_standardised_by_the_training_part_alone(fit, standardise):
    folder, dataset, _ = fit("conv2d", quick=True, windows="once", standardise=standardise, seconds=0.5)
    layer = keras.saving.load_model(folder.path / "model_0.keras").get_layer("standardise")
    mean = keras.ops.convert_to_numpy(layer.mean).reshape(-1, 20)
    assert len(mean) == (1 if standardise == "coefficient" else dataset.windows.length)
    if standardise == "coefficient":
        training = measure_statistics(dataset.windows, np.flatnonzero(folder.folds == 1))
        assert np.allclose(mean[0], training.mean)


@pytest.mark.slow
def test_bfloat16_computes_in_bfloat16_and_answers_in_float32(fit):
    folder, _, _ = fit("conv2d", precision="bfloat16", epochs=1)
    model = keras.saving.load_model(folder.path / "model_0.keras")
    convolution = next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    assert (convolution.compute_dtype, convolution.variable_dtype) == ("bfloat16", "float32")
    assert model.layers[-1].compute_dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"


def test_verified_clips_are_scored_apart_where_there_are_others(fit):
    folder, dataset, one = fit("conv1d", quick=True, fold=1)
    other = fit("conv1d", quick=True, fold=0)[2]
    assert np.flatnonzero(~dataset.verified).tolist() == [4]
    with_it, without = (one, other) if folder.folds[4] == 1 else (other, one)
    assert with_it["n_verified"] == with_it["n_clips"] - 1
    held_out = (folder.folds == with_it["fold"]) & dataset.verified
    best = folder.train_predictions(with_it["fold"])[held_out].argmax(axis=1)
    assert with_it["verified_accuracy"] == pytest.approx((best == dataset.label_ids[held_out]).mean())
    assert 0 <= with_it["verified_map3"] <= 1
    assert "n_verified" not in without


def test_validation_scores_verified_clips_alone_unless_told_otherwise(fit):
    fold, losses = 1, {}  # clip 4, the unverified one, is held out there
    for which in ("verified", "all"):
        folder, dataset, _ = fit("conv2d", quick=True, name=which, fold=fold, validate_on=which)
        held_out = (folder.folds == fold) & (dataset.verified | (which == "all"))
        expected = cross_entropy(folder.train_predictions(fold)[held_out], dataset.label_ids[held_out])
        losses[which] = float(_history(folder, fold)[0]["val_loss"])
        assert losses[which] == pytest.approx(expected, rel=1e-5)
    assert losses["verified"] != losses["all"]


def test_unverified_clips_weigh_what_is_asked(fit):
    fold = 0  # clip 4, the unverified one, is trained on there

    def predictions(**changes):
        folder, _, _ = fit("conv2d", quick=True, name=f"weight {changes}", fold=fold, **changes)
        return folder.train_predictions(fold)

    default = predictions()
    assert np.array_equal(default, predictions(unverified_weight=0.5))
    assert not np.array_equal(default, predictions(unverified_weight=1.0))


class _Killed(Exception):
    pass


def _kill(monkeypatch, at_epoch, before):
    """Breaks off at the end of an epoch, before or after its checkpoint is written."""
    save = Checkpoint.save

    def broken(self, net, state):
        if state.epochs == at_epoch and before:
            raise _Killed
        save(self, net, state)
        if state.epochs == at_epoch:
            raise _Killed

    monkeypatch.setattr(Checkpoint, "save", broken)


def _break_off(fit, monkeypatch, model, at_epoch, before=False, **changes):
    with monkeypatch.context() as patch, pytest.raises(_Killed):
        _kill(patch, at_epoch, before)
        fit(model, name="broken", **changes)


def _ends_as_unbroken(fit, monkeypatch, progress, model, **changes):
    unbroken, _, expected = fit(model, name="unbroken", **changes)
    for epoch, before in ((2, True), (3, False), (4, False)):
        _break_off(fit, monkeypatch, model, epoch, before, **changes)
    broken, _, result = fit(model, name="broken", **changes)
    assert any("resumes after epoch" in line for line in progress.lines)
    assert np.array_equal(broken.train_predictions(0), unbroken.train_predictions(0))
    assert np.array_equal(broken.test_predictions(0), unbroken.test_predictions(0))
    assert (result["epochs"], result["kept_epoch"]) == (expected["epochs"], expected["kept_epoch"])
    rows = [[{**row, "seconds": ""} for row in _history(folder)] for folder in (unbroken, broken)]
    assert rows[0] == rows[1]
    assert not list(broken.path.glob("*checkpoint*"))


def test_a_fold_that_was_broken_off_ends_as_one_that_was_not(fit, monkeypatch, progress):
    changes = {"epochs": 4, "validate_every": 1, "keep": "best", "learning_rate": 0.5}
    _ends_as_unbroken(fit, monkeypatch, progress, "conv2d", quick=True, **changes)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "changes"),
    [
        ("conv1d", {"seconds": 0.5, "epochs": 4, "validate_every": 2}),  # with dropout
        ("conv2d", {"epochs": 4, "validate_every": 1, "keep": "best"}),
    ],
)
def test_the_notebooks_nets_resume_to_the_same_predictions(fit, monkeypatch, progress, model, changes):
    _ends_as_unbroken(fit, monkeypatch, progress, model, **changes)


def test_a_damaged_checkpoint_is_said_and_the_fold_begins_anew(fit, monkeypatch, progress):
    changes = {"quick": True, "epochs": 2}
    whole, _, _ = fit("conv2d", name="whole", **changes)
    _break_off(fit, monkeypatch, "conv2d", 1, **changes)
    path = whole.path.with_name("broken") / "checkpoint_0.npz"
    path.write_bytes(path.read_bytes()[:-100])
    folder, _, _ = fit("conv2d", name="broken", **changes)
    (line,) = progress.lines
    assert line.startswith(f"{path}: damaged (")
    assert line.endswith("); moved to damaged_checkpoint_0.npz, the fold begins anew")
    assert (folder.path / "damaged_checkpoint_0.npz").exists()
    assert np.array_equal(folder.train_predictions(0), whole.train_predictions(0))


def test_a_loss_that_is_no_number_leaves_the_fold_unfinished(fit, tmp_path):
    with pytest.raises(
        SettingsError, match=r"fold 0: loss must be (finite|at most 1000), got .*; try a lower --lea"
    ):
        fit("conv1d", quick=True, learning_rate=1e30, epochs=3)
    assert not (tmp_path / "predictions" / "finished_0.json").exists()


def test_a_window_longer_than_every_clip_works(fit):
    assert fit("conv1d", seconds=3, quick=True)[0].finished == [0]


def _model():
    x = keras.Input((4,))
    return keras.Model(x, keras.layers.Dense(3, activation="softmax")(x))


def _rates(n_steps, **changes):
    schedule = learning_rate(dataclasses.replace(DEFAULT, **changes), n_steps)
    return np.array([float(schedule(step)) for step in range(n_steps)])


def test_the_notebooks_loss_and_optimiser_are_plain_adam_compiled_on_jax_alone():
    model = _model()
    compile_model(model, dataclasses.replace(NOTEBOOK, learning_rate=2e-4), n_steps=10)
    assert isinstance(model.optimizer, keras.optimizers.Adam)
    assert float(model.optimizer.learning_rate) == pytest.approx(2e-4)
    assert (model.loss.label_smoothing, model.optimizer.use_ema) == (0, False)
    assert model.jit_compile == (keras.backend.backend() == "jax")


def test_the_default_smooths_labels_and_keeps_an_ema_of_the_weights():
    model = _model()
    compile_model(model, dataclasses.replace(DEFAULT, label_smoothing=0.2, averaging=0.9), n_steps=10)
    assert model.loss.label_smoothing == 0.2
    assert (model.optimizer.use_ema, model.optimizer.ema_momentum) == (True, 0.9)


def test_the_cosine_rises_to_the_learning_rate_and_falls_to_almost_nothing():
    rates = _rates(200, learning_rate=0.01, warmup=0.1)
    assert (np.diff(rates[:21]) > 0).all()
    assert (np.diff(rates[20:]) < 0).all()
    assert rates.max() == pytest.approx(0.01)
    assert 0 < rates[0] < 0.001 and 0 < rates[-1] < 1e-5
    assert rates[110] == pytest.approx(0.005, rel=1e-3)  # half-way down


@pytest.mark.parametrize("n_steps", [1, 2, 3])
@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.9])
def test_a_few_steps_have_a_finite_step_size(n_steps, warmup):
    rates = _rates(n_steps, warmup=warmup)
    assert np.isfinite(rates).all() and (rates >= 0).all() and rates.max() > 0


def test_a_constant_schedule_is_one_number():
    assert learning_rate(NOTEBOOK, 100) == 1e-3
