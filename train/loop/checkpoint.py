"""A fold's state after an epoch, on disk, so that a run that was stopped or killed resumes from there.

One .npz file, replaced whole: every variable of the net and of its optimiser (Adam's, the EMA, and the number of
steps, so the schedule's position too), and as JSON what the callbacks know. Random numbers need no place in it:
they are pure functions of (seed, epoch, clip) and (seed, fold, epoch).

Keras's BackupAndRestore will not do: it keeps neither the best loss nor the history, and reads weights of other
settings without a word.
"""

import json
import math
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import keras
import numpy as np

from common.files import replacing

HISTORY_COLUMNS = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "val_map3", "seconds"]


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message says why."""


@dataclass
class State:
    """How far a fold's training is, beside the values of the variables.

    Attributes:
        epochs: finished. seconds: they took, breaks left out.
        best_loss, best_epoch: of the best validation so far, its epoch counted from 1.
        unimproved: validations in a row without a lower loss.
        rows: one of the history for each epoch, numbers by column.
    """

    epochs: int = 0
    seconds: float = 0.0
    best_loss: float = float("inf")
    best_epoch: int = 0
    unimproved: int = 0
    rows: list[dict[str, float]] = field(default_factory=list)

    def improved(self, epoch: int, loss: float) -> bool:
        """Note a validation; whether it is the best so far."""
        if loss < self.best_loss:
            self.best_loss, self.best_epoch, self.unimproved = loss, epoch, 0
            return True
        self.unimproved += 1
        return False

    def out_of_patience(self, patience: int | None) -> bool:
        """Whether so many validations in a row brought no lower loss; a patience of 0 stops at the first."""
        return patience is not None and self.unimproved >= max(patience, 1)


class Checkpoint:
    """The file of one fold."""

    def __init__(self, path: Path, identity: dict[str, Any]):
        """identity: what the fold is trained with, JSON values; a file of another identity is not used."""
        self.path, self._identity = path, json.dumps(identity, sort_keys=True)

    def save(self, net: keras.Model, optimizer: keras.Optimizer, state: State) -> None:
        """Replace the file. The optimiser is that of the model that the net is, or is part of."""
        arrays = {f"v{i}": value for i, value in enumerate(values_of([*net.variables, *optimizer.variables]))}
        with replacing(self.path, durable=True) as temporary:
            np.savez(temporary, identity=self._identity, state=json.dumps(asdict(state)), **arrays)

    def restore(self, net: keras.Model, optimizer: keras.Optimizer, best: Path | None = None) -> State:
        """Give a net and its optimiser the file's values; where there is no file, leave them at their beginning.

        Args:
            best: the model of the best validation so far, which must be there if there was a validation.
        Raises:
            CheckpointError: the file is damaged, or was made with something else; no value is changed.
        """
        if not os.path.lexists(self.path):
            return State()
        variables = [*net.variables, *optimizer.variables]
        try:
            if not self.path.is_file():
                raise ValueError("it is not a regular file")
            with np.load(self.path, allow_pickle=False) as file:
                identity, state = str(file["identity"]), _state(json.loads(str(file["state"])))
                values = [file[name] for name in file.files if name.startswith("v")]
            if best is not None and state.best_epoch:
                _check_archive(best)
        except Exception as error:  # NumPy and zipfile raise whatever damaged bytes lead them to
            reason = " ".join(str(error).split()) or type(error).__name__
            raise CheckpointError(f"damaged ({reason[:200]})") from error
        if identity != self._identity:
            raise CheckpointError(f"made with another {_first_difference(identity, self._identity)}")
        expected = [(tuple(v.shape), keras.backend.standardize_dtype(v.dtype)) for v in variables]
        if [(value.shape, value.dtype.name) for value in values] != expected:
            raise CheckpointError("damaged (its arrays are not those of this net)")
        assign(variables, values)
        return state

    def move_aside(self) -> Path:
        """Rename the file to damaged_NAME, in place of one that may be there; the new path."""
        aside = self.path.with_name(f"damaged_{self.path.name}")
        os.replace(self.path, aside)
        return aside

    def remove(self) -> None:
        """Remove the file: the fold is finished."""
        self.path.unlink(missing_ok=True)


def values_of(variables: Iterable[keras.Variable]) -> list[np.ndarray]:
    """Copies of the variables' values, which no step changes and no backend frees."""
    return [keras.ops.convert_to_numpy(variable).copy() for variable in variables]


def assign(variables: Iterable[keras.Variable], values: Iterable[np.ndarray]) -> None:
    """Give each variable its value."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _check_archive(path: Path) -> None:
    with ZipFile(path) as archive:
        if (damaged := archive.testzip()) is not None:
            raise ValueError(f"{damaged} in {path.name} is damaged")


def _state(values: Any) -> State:
    """A state from JSON, checked; raises ValueError or TypeError."""
    state = State(**values)
    counts = state.epochs, state.best_epoch, state.unimproved
    if not all(type(count) is int and 0 <= count <= len(state.rows) for count in counts):
        raise ValueError("its counts of epochs are wrong")
    if not (_is_number(state.seconds) and _is_number(state.best_loss) and state.seconds >= 0):
        raise ValueError("its seconds or its best loss are no numbers")
    if state.epochs != len(state.rows) or not all(_is_row(row) for row in state.rows):
        raise ValueError("its history is no list of epochs")
    return state


def _is_row(row: Any) -> bool:
    return isinstance(row, dict) and all(name in HISTORY_COLUMNS and _is_number(row[name]) for name in row)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and not math.isnan(value)


def _first_difference(found: str, wanted: str) -> str:
    """The name of the first part of an identity that differs."""
    try:
        there, here = json.loads(found), json.loads(wanted)
        return next(name for name in here if there.get(name) != here[name])
    except (ValueError, AttributeError, StopIteration):
        return "identity"
