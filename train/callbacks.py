"""What happens at the ends of batches and epochs: validation, a stop where it fails, history, display."""

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
from train.averaging import averaged
from train.checkpoint import Checkpoint, replacing
from train.draws import dropout_seed
from train.progress import RunProgress
from train.settings import SettingsError
from train.standing import Standing

HISTORY_COLUMNS = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "val_map3", "seconds"]
_EXPLODED = 1e3  # a net that knows nothing has the loss log(n_labels), below 10


class Dropouts(keras.callbacks.Callback):
    """Seeds every dropout anew at each epoch's start, so that an epoch is the same after a break."""

    def __init__(self, net: keras.Model, seed: int, fold: int):
        super().__init__()
        self._net, self._seed, self._fold = net, seed, fold

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Seed those of the epoch."""
        self._epoch = epoch
        for number, layer in enumerate(self._net.layers):
            if isinstance(layer, keras.layers.Dropout) and layer.rate:
                seed = dropout_seed(self._seed, self._fold, epoch, number)
                layer.seed_generator.state.assign(np.array([seed, 0], np.uint32))

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """On PyTorch, Keras's dropout draws from its global generator, and so does the feed when it starts."""
        if batch == 0 and keras.backend.backend() == "torch":
            keras.utils.set_random_seed(dropout_seed(self._seed, self._fold, self._epoch, len(self._net.layers)))


class Validation(keras.callbacks.Callback):
    """Every so many epochs, puts val_loss, val_accuracy and val_map3 into the logs, by the averaged weights.

    Stands before the callbacks that read them.
    """

    def __init__(
        self,
        net: keras.Model,
        predict: Callable[[keras.Model], np.ndarray],
        targets: np.ndarray,
        standing: Standing,
        every: int,
        n_epochs: int,
        best: Path | None = None,
    ):
        """One fold's.

        Args:
            net: which is, or is part of, the model that is trained. predict: gives its probabilities, float64
                [n, n_labels], of the validation clips. targets: int64 [n].
            every: epochs from one validation to the next; the last epoch, n_epochs, has one.
            best: file for the model of the least val_loss; None keeps none.
        """
        super().__init__()
        self._net, self._predict, self._targets, self._standing = net, predict, targets, standing
        self._every, self._n_epochs, self._best = every, n_epochs, best

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        """Predict the validation clips and score them, if it is time."""
        if (epoch + 1) % self._every and epoch + 1 != self._n_epochs:
            return
        with averaged(self.model):
            probabilities = self._predict(self._net)
            logs["val_loss"] = cross_entropy(probabilities, self._targets)
            logs["val_accuracy"] = accuracy(probabilities, self._targets)
            logs["val_map3"] = map3(probabilities, self._targets)
            if self._standing.validated(epoch + 1, logs["val_loss"]) and self._best is not None:
                save_model(self._net, self._best)


class StopAtNan(keras.callbacks.Callback):
    """Ends the fold with an error as soon as a loss is no longer finite, or beyond all bounds."""

    async_safe = True  # Keras may call it from a thread, so that no step waits for the one before it

    def __init__(self, fold: int, learning_rate: float):
        """fold, learning_rate: for the error's message."""
        super().__init__()
        self._fold, self._learning_rate = fold, learning_rate

    def on_train_batch_end(self, batch: int, logs: dict) -> None:
        """Look at the mean loss of the epoch so far; raises SettingsError."""
        self._look("loss", logs["loss"])

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        """Look at the validation loss, if there is one; raises SettingsError."""
        self._look("validation loss", logs.get("val_loss", 0.0))

    def _look(self, name: str, loss: float) -> None:
        if math.isfinite(loss) and loss <= _EXPLODED:
            return
        rule = f"stay below {_EXPLODED:g}" if math.isfinite(loss) else "stay finite"
        raise SettingsError(
            f"fold {self._fold}: {name} must {rule}, got {loss:g}; "
            f"try a lower --learning-rate than {self._learning_rate}, with --force"
        )


class Patience(keras.callbacks.Callback):
    """Ends the fold after so many validations in a row without a better loss."""

    def __init__(self, standing: Standing, patience: int | None):
        super().__init__()
        self._standing, self._patience = standing, patience

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        """Stop if it is time."""
        if self._standing.out_of_patience(self._patience):
            self.model.stop_training = True


class Progress(keras.callbacks.Callback):
    """Keeps the fold's standing, history file and checkpoint, in this order; stands behind all that change them.

    The history has a line an epoch: `HISTORY_COLUMNS`, empty where there was no validation; seconds are the
    epoch's own, validation included.
    """

    def __init__(self, net: keras.Model, standing: Standing, history: Path, checkpoint: Checkpoint):
        """net: which is, or is part of, the model that is trained."""
        super().__init__()
        self._net, self._standing, self._history, self._checkpoint = net, standing, history, checkpoint

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Start the clock."""
        self._started = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        """Add the epoch's line, and make its end a place to go on from."""
        seconds = time.monotonic() - self._started
        row = {**logs, "epoch": epoch + 1, "seconds": round(seconds, 3)}
        self._standing.rows.append({name: row[name] for name in HISTORY_COLUMNS if name in row})
        self._standing.epochs = epoch + 1
        self._standing.seconds += seconds
        write_history(self._history, self._standing.rows)
        self._checkpoint.save(self._net, self.model.optimizer, self._standing)


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


def save_model(model: keras.Model, path: Path) -> None:
    """Save a model; a reader sees the one before or this one, whole."""
    with replacing(path) as partial:
        model.save(partial)


def write_history(path: Path, rows: list[dict]) -> None:
    """Write the history of the epochs so far."""
    with replacing(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, HISTORY_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def cross_entropy(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Mean categorical cross-entropy; probabilities below 1e-7 count as that, as in Keras's own."""
    right = probabilities[np.arange(len(targets)), targets]
    return float(-np.log(np.maximum(right, 1e-7)).mean())


def has_tensorboard() -> bool:
    """Whether TensorBoard logs can be written: Keras's callback needs both packages, whatever the backend."""
    return all(importlib.util.find_spec(name) for name in ("tensorboard", "tensorflow"))


def tensorboard(folder: Path, goes_on: bool = False) -> list[keras.callbacks.Callback]:
    """The callback that writes TensorBoard logs into a folder, or none where TensorBoard is not installed."""
    if not goes_on:
        shutil.rmtree(folder, ignore_errors=True)  # of a run that was broken off
    return [keras.callbacks.TensorBoard(folder, write_graph=False)] if has_tensorboard() else []
