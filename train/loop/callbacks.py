"""What happens at the ends of batches and epochs. TensorBoard is Keras's own; each other callback says why not.

None carries Keras's flag `async_safe`. On TensorFlow Keras ignores it. On JAX and PyTorch it would call the
callbacks from a pool of threads, several at once and in any order, and only if all of them carry it, which
TensorBoard does not.
"""

import importlib.util
import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from common.files import replacing
from ensemble.metrics import accuracy, map3
from train.loop.checkpoint import HISTORY_COLUMNS, Checkpoint, State, assign, values_of
from train.progress import RunProgress
from train.seeds import dropout_seed
from train.settings import SettingsError

_EXPLODED = 1e3  # a net that knows nothing has the loss log(n_labels), below 10


class SeedDropout(keras.callbacks.Callback):
    """Seeds every dropout at each epoch's start, so that an epoch is the same after a resume; Keras has none."""

    def __init__(self, seed: int, fold: int):
        super().__init__()
        self._seed, self._fold = seed, fold

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._epoch = epoch
        for number, layer in enumerate(self.model.layers):
            states = [variable for variable in layer.variables if variable.name == "seed_generator_state"]
            for place, state in enumerate(states):  # several where layers lie inside this one
                seed = dropout_seed(self._seed, self._fold, epoch, number | place << 16)
                state.assign(np.array([seed, 0], np.uint32))

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """On PyTorch, Keras's dropout draws from its global generator, and so does the feed when it starts."""
        if batch == 0 and keras.backend.backend() == "torch":
            keras.utils.set_random_seed(dropout_seed(self._seed, self._fold, self._epoch, len(self.model.layers)))


class ErrorOnNaN(keras.callbacks.Callback):
    """Ends the fold with a SettingsError as soon as a loss is no longer finite, or far too high.

    TerminateOnNaN ends it as if it were trained, or with an error that names no flag.
    """

    def __init__(self, fold: int, learning_rate: float):
        """fold, learning_rate: for the error's message."""
        super().__init__()
        self._fold, self._learning_rate = fold, learning_rate

    def on_train_batch_end(self, batch: int, logs: dict) -> None:
        self._look("loss", logs["loss"])

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        self._look("validation loss", logs.get("val_loss", 0.0))

    def _look(self, name: str, loss: float) -> None:
        if math.isfinite(loss) and loss <= _EXPLODED:
            return
        rule = f"at most {_EXPLODED:g}" if math.isfinite(loss) else "finite"
        raise SettingsError(
            f"fold {self._fold}: {name} must be {rule}, got {loss:g}; try a lower --learning-rate than "
            f"{self._learning_rate:g}, with --force"
        )


class Validation(keras.callbacks.Callback):
    """Scores the validation clips by the EMA of the weights, keeps the best model, and stops without a better one.

    Keras's validation scores windows; here a clip has the mean of its crops. ModelCheckpoint and EarlyStopping lose
    the best loss at a resume and save or warn in an epoch without validation; SwapEMAWeights rounds the weights
    (on TensorFlow it swaps by sums) and leaves the wrong ones after an early stop.
    """

    def __init__(
        self,
        predict: Callable[[keras.Model], np.ndarray],
        label_ids: np.ndarray,
        state: State,
        n_epochs: int,
        every: int = 1,
        patience: int | None = None,
        best: Path | None = None,
    ):
        """One fold's; stands before the callbacks that read val_loss, val_accuracy and val_map3.

        Args:
            predict: gives a model's probabilities of the validation clips, float64 [n, n_labels].
            label_ids: int64 [n].
            every: epochs from one validation to the next; the last, n_epochs, has one.
            best: file for the model of the lowest val_loss; None keeps none.
        """
        super().__init__()
        self._predict, self._label_ids, self._state = predict, label_ids, state
        self._n_epochs, self._every, self._patience, self._best = n_epochs, every, patience, best

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        """Predict the validation clips and score them, if it is time."""
        if (epoch + 1) % self._every and epoch + 1 != self._n_epochs:
            return
        with _ema_weights(self.model):
            probabilities = self._predict(self.model)
            logs["val_loss"] = cross_entropy(probabilities, self._label_ids)
            finite = np.nan_to_num(probabilities)  # ErrorOnNaN tells of a loss that is not
            logs["val_accuracy"] = accuracy(finite, self._label_ids)
            logs["val_map3"] = map3(finite, self._label_ids)
            if self._state.improved(epoch + 1, logs["val_loss"]) and self._best is not None:
                save_model(self.model, self._best)
        if self._state.out_of_patience(self._patience):
            self.model.stop_training = True


class SaveEpoch(keras.callbacks.Callback):
    """Writes the history and then the checkpoint; stands behind all callbacks that change the state.

    CSVLogger appends, so an epoch that is trained again after a kill would have two lines; for BackupAndRestore see
    `checkpoint`. The history has a line an epoch: `HISTORY_COLUMNS`, empty where there was no validation; seconds
    are the epoch's own, validation included.
    """

    def __init__(self, state: State, history: Path, checkpoint: Checkpoint):
        super().__init__()
        self._state, self._history, self._checkpoint = state, history, checkpoint

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._started = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        """Add the epoch's line, and make its end a point to resume from."""
        state, seconds = self._state, time.monotonic() - self._started
        row = {**logs, "epoch": epoch + 1, "seconds": round(seconds, 3)}
        state.rows.append({name: row[name] for name in HISTORY_COLUMNS if name in row})
        state.epochs = epoch + 1
        state.seconds += seconds
        with replacing(self._history, durable=True) as temporary:
            pd.DataFrame(state.rows, columns=HISTORY_COLUMNS).to_csv(temporary, index=False)
        self._checkpoint.save(self.model, state)


def report(progress: RunProgress, n_clips: int, batch_size: int) -> keras.callbacks.Callback:
    """Tells the progress display of batches and epochs. ProgbarLogger knows one fold, and no validation of ours."""
    return keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: progress.begin_epoch(epoch),
        on_train_batch_end=lambda batch, logs: progress.batch(min((batch + 1) * batch_size, n_clips), logs["loss"]),
        on_epoch_end=lambda epoch, logs: progress.end_epoch(logs),
    )


def tensorboard(folder: Path, resumed: bool) -> list[keras.callbacks.Callback]:
    """Keras's TensorBoard callback, or none where it is not installed; removes the logs of a run not resumed."""
    if not resumed:
        shutil.rmtree(folder, ignore_errors=True)
    return [keras.callbacks.TensorBoard(folder, write_graph=False)] if has_tensorboard() else []


def has_tensorboard() -> bool:
    """Whether TensorBoard logs can be written: Keras's callback needs both packages, whatever the backend."""
    return all(importlib.util.find_spec(name) for name in ("tensorboard", "tensorflow"))


def save_model(model: keras.Model, path: Path) -> None:
    """Save a model, whole and synced: the marker of a finished fold relies on it."""
    with replacing(path, durable=True) as temporary:
        model.save(temporary)


def cross_entropy(probabilities: np.ndarray, label_ids: np.ndarray) -> float:
    """Mean categorical cross-entropy; probabilities below 1e-7 count as that, as in Keras's own.

    >>> round(cross_entropy(np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([0, 0])), 4)
    0.3466
    """
    right = probabilities[np.arange(len(label_ids)), label_ids]
    return float(-np.log(np.maximum(right, 1e-7)).mean())


@contextmanager
def _ema_weights(model: keras.Model) -> Iterator[None]:
    """Give a model the EMA of its weights, if its optimiser keeps one, and then its own back, to the last bit."""
    weights = values_of(model.trainable_weights)
    model.optimizer.finalize_variable_values(model.trainable_weights)
    # copies: JAX frees what it predicts with, and the optimiser holds the same arrays
    assign(model.trainable_weights, values_of(model.trainable_weights))
    try:
        yield
    finally:
        assign(model.trainable_weights, weights)
