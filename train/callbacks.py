"""What happens at the end of batches and epochs: validation, a stop at NaN, history, progress, TensorBoard."""

import csv
import importlib.util
import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from ensemble.metrics import accuracy, map3
from train.progress import RunProgress
from train.settings import SettingsError

HISTORY_COLUMNS = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "val_map3", "seconds"]


class Validation(keras.callbacks.Callback):
    """Puts val_loss, val_accuracy and val_map3 into the logs; stands before the callbacks that read them."""

    def __init__(self, predict: Callable[[keras.Model], np.ndarray], targets: np.ndarray):
        """predict: gives probabilities, float64 [n, n_labels], of the validation clips. targets: int64 [n]."""
        super().__init__()
        self._predict, self._targets = predict, targets

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        """Predict the validation clips and score them."""
        probabilities = self._predict(self.model)
        logs["val_loss"] = cross_entropy(probabilities, self._targets)
        logs["val_accuracy"] = accuracy(probabilities, self._targets)
        logs["val_map3"] = map3(probabilities, self._targets)


class StopAtNan(keras.callbacks.Callback):
    """Ends the fold with an error as soon as a loss is no longer finite."""

    async_safe = True  # Keras may call it from a thread, so that no step waits for the one before it

    def __init__(self, fold: int, learning_rate: float):
        """fold, learning_rate: for the error's message."""
        super().__init__()
        self._fold, self._learning_rate = fold, learning_rate

    def on_train_batch_end(self, batch: int, logs: dict) -> None:
        """Look at the mean loss of the epoch so far; raises SettingsError."""
        self._look("loss", logs["loss"])

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        """Look at the validation loss; raises SettingsError."""
        self._look("validation loss", logs["val_loss"])

    def _look(self, name: str, loss: float) -> None:
        if not math.isfinite(loss):
            raise SettingsError(
                f"fold {self._fold}: {name} must stay finite, got {loss}; "
                f"try a lower --learning-rate than {self._learning_rate}"
            )


class History(keras.callbacks.Callback):
    """Writes a line an epoch to a CSV file: `HISTORY_COLUMNS`; seconds are the epoch's own, validation included."""

    def __init__(self, path: Path):
        super().__init__()
        self._path = path

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Begin the file anew."""
        self._write("w", HISTORY_COLUMNS)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Start the clock."""
        self._started = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        """Add the epoch's line."""
        values = {**logs, "epoch": epoch + 1, "seconds": round(time.monotonic() - self._started, 3)}
        self._write("a", [values[column] for column in HISTORY_COLUMNS])

    def _write(self, mode: str, row: list) -> None:
        with open(self._path, mode, newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerow(row)


class Report(keras.callbacks.Callback):
    """Tells the progress display of batches and epochs."""

    async_safe = True

    def __init__(self, progress: RunProgress, n_clips: int, batch_size: int):
        super().__init__()
        self._progress, self._n_clips, self._batch_size = progress, n_clips, batch_size

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Begin the epoch's bar."""
        self._progress.begin_epoch(epoch)

    def on_train_batch_end(self, batch: int, logs: dict) -> None:
        """Move the bar."""
        self._progress.batch(min((batch + 1) * self._batch_size, self._n_clips), logs["loss"])

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        """Show the scores."""
        self._progress.end_epoch(logs)


def cross_entropy(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Mean categorical cross-entropy; probabilities below 1e-7 count as that, as in Keras's own."""
    right = probabilities[np.arange(len(targets)), targets]
    return float(-np.log(np.maximum(right, 1e-7)).mean())


def has_tensorboard() -> bool:
    """Whether TensorBoard logs can be written: Keras's callback needs both packages, whatever the backend."""
    return all(importlib.util.find_spec(name) for name in ("tensorboard", "tensorflow"))


def tensorboard(folder: Path) -> list[keras.callbacks.Callback]:
    """The callback that writes TensorBoard logs into a folder, or none where TensorBoard is not installed."""
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was broken off
    return [keras.callbacks.TensorBoard(folder)] if has_tensorboard() else []
