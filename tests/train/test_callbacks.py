import csv
import importlib.util
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from train import callbacks
from train.settings import SettingsError

PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4], [0.5, 0.4, 0.1]])
TARGETS = np.array([0, 2, 1])


def test_validation_puts_its_scores_into_the_logs():
    logs = {"loss": 1.0}
    callbacks.Validation(lambda model: PROBABILITIES, TARGETS).on_epoch_end(0, logs)
    assert logs["loss"] == 1.0
    assert logs["val_loss"] == pytest.approx(-np.log([0.7, 0.4, 0.4]).mean())
    assert logs["val_accuracy"] == pytest.approx(2 / 3)
    assert logs["val_map3"] == pytest.approx((1 + 1 + 1 / 2) / 3)


def test_cross_entropy_is_kerass():
    random = np.random.default_rng(0).dirichlet(np.ones(5), 20)
    targets = np.arange(20) % 5
    expected = keras.losses.CategoricalCrossentropy()(np.eye(5)[targets], random)
    assert callbacks.cross_entropy(random, targets) == pytest.approx(float(expected), rel=1e-5)


def test_a_probability_of_zero_has_a_finite_loss():
    assert callbacks.cross_entropy(np.array([[0.0, 1.0]]), np.array([0])) == pytest.approx(-np.log(1e-7))


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_the_fold(loss):
    stop = callbacks.StopAtNan(3, 0.5)
    message = rf"fold 3: loss must stay finite, got {loss}; try a lower --learning-rate than 0.5"
    with pytest.raises(SettingsError, match=message):
        stop.on_train_batch_end(0, {"loss": loss})


def test_a_validation_loss_that_is_not_finite_stops_the_fold():
    with pytest.raises(SettingsError, match=r"fold 0: validation loss must stay finite, got nan"):
        callbacks.StopAtNan(0, 0.5).on_epoch_end(0, {"loss": 1.0, "val_loss": float("nan")})


def test_finite_losses_pass():
    stop = callbacks.StopAtNan(0, 0.5)
    stop.on_train_batch_end(0, {"loss": 1e30})
    stop.on_epoch_end(0, {"val_loss": 0.0})


def test_history_has_a_line_an_epoch(tmp_path):
    (tmp_path / "history_0.csv").write_text("what a run that was stopped has left")
    history = callbacks.History(tmp_path / "history_0.csv")
    history.on_train_begin()
    for epoch in range(2):
        history.on_epoch_begin(epoch)
        logs = {"val_map3": 0.5, "loss": 2.5 - epoch, "accuracy": 0.25, "val_loss": 1.5, "val_accuracy": 0.75}
        history.on_epoch_end(epoch, logs)
    rows = list(csv.DictReader(open(tmp_path / "history_0.csv")))
    assert list(rows[0]) == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "val_map3", "seconds"]
    assert [(row["epoch"], row["loss"], row["val_map3"]) for row in rows] == [
        ("1", "2.5", "0.5"),
        ("2", "1.5", "0.5"),
    ]


def test_the_display_hears_of_clips_and_scores():
    heard = []
    progress = SimpleNamespace(
        begin_epoch=lambda epoch: heard.append(epoch),
        batch=lambda n_clips, loss: heard.append((n_clips, loss)),
        end_epoch=heard.append,
    )
    report = callbacks.Report(progress, n_clips=100, batch_size=64)
    report.on_epoch_begin(0)
    report.on_train_batch_end(0, {"loss": 3.0})
    report.on_train_batch_end(1, {"loss": 2.0})
    report.on_epoch_end(0, {"val_loss": 1.0})
    assert heard == [0, (64, 3.0), (100, 2.0), {"val_loss": 1.0}]


def test_tensorboard_writes_logs_where_it_is_installed(tmp_path):
    pytest.importorskip("tensorboard")
    (callback,) = callbacks.tensorboard(tmp_path)
    assert str(callback.log_dir) == str(tmp_path)


def test_without_tensorboard_there_is_no_such_callback(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert callbacks.tensorboard(tmp_path) == []
