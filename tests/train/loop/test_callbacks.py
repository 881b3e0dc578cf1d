import csv
import importlib.util
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from train.loop import callbacks
from train.loop.checkpoint import State
from train.settings import SettingsError

PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4], [0.5, 0.4, 0.1]])
LABEL_IDS = np.array([0, 2, 1])
UNSURE = np.full((3, 3), 1 / 3)


@pytest.fixture
def model():
    x = keras.Input((2,))
    model = keras.Model(x, keras.layers.Dense(3, activation="softmax")(x))
    model.compile(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5), "categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)
    return model


def _validation(model, state, predict=lambda model: PROBABILITIES, n_epochs=9, **options):
    validation = callbacks.Validation(model, predict, LABEL_IDS, state, n_epochs, **options)
    validation.set_model(model)
    return validation


def test_validation_puts_its_scores_into_the_logs(model):
    logs = {"loss": 1.0}
    _validation(model, State()).on_epoch_end(0, logs)
    assert logs["loss"] == 1.0
    assert logs["val_loss"] == pytest.approx(-np.log([0.7, 0.4, 0.4]).mean())
    assert logs["val_accuracy"] == pytest.approx(2 / 3)
    assert logs["val_map3"] == pytest.approx((1 + 1 + 1 / 2) / 3)


def test_validation_comes_every_so_many_epochs_and_last(model):
    validation, validated = _validation(model, State(), every=4, n_epochs=10), []
    for epoch in range(10):
        validation.on_epoch_end(epoch, logs := {})
        validated += [epoch + 1] * ("val_loss" in logs)
    assert validated == [4, 8, 10]


def test_validation_looks_at_the_ema_and_leaves_the_models_own_weights(model):
    (kernel, _), seen = model.trainable_weights, []
    ema = [variable for variable in model.optimizer.variables if variable.shape == kernel.shape][-1]
    ema.assign(np.full((2, 3), 7.0))
    own = keras.ops.convert_to_numpy(kernel).copy()

    def predict(net):
        seen.append(keras.ops.convert_to_numpy(net.trainable_weights[0]).copy())
        return PROBABILITIES

    _validation(model, State(), predict).on_epoch_end(0, {})
    assert (seen[0] == 7).all()
    assert np.array_equal(keras.ops.convert_to_numpy(kernel), own)


def test_the_best_model_is_kept_where_that_is_asked_for(model, tmp_path):
    state, path = State(), tmp_path / "model_0.keras"
    for epoch, probabilities in enumerate([UNSURE, PROBABILITIES, UNSURE]):
        model.trainable_weights[0].assign(np.full((2, 3), epoch))
        for variable in model.optimizer.variables:
            if tuple(variable.shape) == (2, 3):
                variable.assign(np.full((2, 3), epoch))
        _validation(model, state, lambda model, p=probabilities: p, best=path).on_epoch_end(epoch, {})
    assert (state.best_epoch, state.unimproved) == (2, 1)
    assert (keras.ops.convert_to_numpy(keras.saving.load_model(path).trainable_weights[0]) == 1).all()
    assert [entry.name for entry in tmp_path.iterdir()] == ["model_0.keras"]


@pytest.mark.parametrize(("patience", "stopped_after"), [(None, None), (0, 3), (1, 3), (2, 4)])
def test_patience_counts_validations_without_a_lower_loss(model, patience, stopped_after):
    certainty, stopped = iter([0.4, 0.6, 0.5, 0.6, 0.7]), None
    validation = _validation(model, State(), lambda model: np.full((3, 3), next(certainty)), patience=patience)
    model.stop_training = False
    for epoch in range(1, 6):
        validation.on_epoch_end(epoch, {})
        stopped = stopped or (epoch if model.stop_training else None)
    assert stopped == stopped_after


def test_dropouts_are_seeded_by_seed_fold_and_epoch():
    x = keras.Input((2,))
    y = keras.layers.Dropout(0.5)(keras.layers.Dropout(0.5)(x))
    model = keras.Model(x, y)
    first, second = (layer.seed_generator.state for layer in model.layers[1:])

    def states(seed, fold, epoch):
        dropouts = callbacks.SeedDropout(model, seed, fold)
        dropouts.set_model(model)
        dropouts.on_epoch_begin(epoch)
        return tuple(keras.ops.convert_to_numpy(first)), tuple(keras.ops.convert_to_numpy(second))

    assert states(1, 2, 3) == states(1, 2, 3)
    different = {pair for arguments in [(1, 2, 3), (2, 2, 3), (1, 3, 3), (1, 2, 4)] for pair in states(*arguments)}
    assert len(different) == 8


def test_cross_entropy_is_kerass():
    random = np.random.default_rng(0).dirichlet(np.ones(5), 20)
    label_ids = np.arange(20) % 5
    expected = keras.losses.CategoricalCrossentropy()(np.eye(5)[label_ids], random)
    assert callbacks.cross_entropy(random, label_ids) == pytest.approx(float(expected), rel=1e-5)
    assert callbacks.cross_entropy(np.array([[0.0, 1.0]]), np.array([0])) == pytest.approx(-np.log(1e-7))


@pytest.mark.parametrize(
    ("loss", "rule"),
    [(float("nan"), "finite, got nan"), (float("inf"), "finite, got inf"), (5e4, "at most 1000, got 50000")],
)
def test_a_loss_that_is_no_number_or_far_too_high_names_the_flag(loss, rule):
    message = rf"fold 3: loss must be {rule}; try a lower --learning-rate than 0.5, with --force"
    with pytest.raises(SettingsError, match=message):
        callbacks.ErrorOnNaN(3, 0.5).on_train_batch_end(0, {"loss": loss})


def test_a_validation_loss_that_is_not_finite_stops_the_fold():
    with pytest.raises(SettingsError, match=r"fold 0: validation loss must be finite, got nan"):
        callbacks.ErrorOnNaN(0, 0.5).on_epoch_end(0, {"loss": 1.0, "val_loss": float("nan")})


def test_finite_losses_pass():
    stop = callbacks.ErrorOnNaN(0, 0.5)
    stop.on_train_batch_end(0, {"loss": 999.0})
    stop.on_epoch_end(0, {"val_loss": 0.0})
    stop.on_epoch_end(1, {"loss": 1.0})


def test_an_epochs_end_writes_the_history_and_then_the_checkpoint(tmp_path):
    (tmp_path / "history_0.csv").write_text("left by a run that was stopped")
    saved, state = [], State()
    checkpoint = SimpleNamespace(
        save=lambda net, optimizer, state: saved.append((net, optimizer, state.epochs, len(state.rows)))
    )
    save = callbacks.SaveEpoch("net", state, tmp_path / "history_0.csv", checkpoint)
    save.set_model(SimpleNamespace(optimizer="optimizer"))
    logs = {"val_map3": 0.5, "accuracy": 0.25, "val_loss": 1.5, "val_accuracy": 0.75, "loss": 2.5, "other": 1}
    for epoch, present in enumerate([logs, {"loss": 1.5, "accuracy": 0.5}]):
        save.on_epoch_begin(epoch)
        save.on_epoch_end(epoch, present)
    rows = list(csv.DictReader(open(tmp_path / "history_0.csv")))
    assert list(rows[0]) == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "val_map3", "seconds"]
    assert [(row["epoch"], row["loss"], row["val_map3"]) for row in rows] == [("1", "2.5", "0.5"), ("2", "1.5", "")]
    assert saved == [("net", "optimizer", 1, 1), ("net", "optimizer", 2, 2)]
    assert state.seconds > 0


def test_the_display_hears_of_clips_and_scores():
    heard = []
    progress = SimpleNamespace(
        begin_epoch=lambda epoch: heard.append(epoch),
        batch=lambda n_clips, loss: heard.append((n_clips, loss)),
        end_epoch=heard.append,
    )
    report = callbacks.report(progress, n_clips=100, batch_size=64)
    report.on_epoch_begin(0, None)
    report.on_train_batch_end(0, {"loss": 3.0})
    report.on_train_batch_end(1, {"loss": 2.0})
    report.on_epoch_end(0, {"val_loss": 1.0})
    assert heard == [0, (64, 3.0), (100, 2.0), {"val_loss": 1.0}]


def test_tensorboard_removes_the_logs_of_a_run_that_is_not_resumed(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (tmp_path / "fold_0").mkdir()
    assert callbacks.tensorboard(tmp_path / "fold_0", resumed=True) == []
    assert (tmp_path / "fold_0").exists()
    assert callbacks.tensorboard(tmp_path / "fold_0", resumed=False) == []
    assert not (tmp_path / "fold_0").exists()


def test_models_are_synced_before_they_have_their_name(model, tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(
        "os.fsync", lambda descriptor: synced.append(sorted(path.name for path in tmp_path.iterdir()))
    )
    callbacks.save_model(model, tmp_path / "model_0.keras")
    assert len(synced[0]) == 1 and synced[0][0].endswith("-model_0.keras")  # the file, under its temporary name
    assert synced[-1] == ["model_0.keras"]  # the folder
