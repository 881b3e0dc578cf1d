"""A fold's state after an epoch, on disk, so that a run that was stopped or killed resumes from there.

One .npz file, replaced whole: every variable of the net and of its optimiser (Adam's, the EMA, and the number of
steps, so the schedule's position too), and as JSON what the callbacks know. Random numbers need no place in it:
they are pure functions of (seed, epoch, clip) and (seed, fold, epoch).

Keras's BackupAndRestore will not do: it keeps neither the best loss nor the history, and reads weights of other
settings without a word.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from zipfile import ZipFile

import keras
import msgspec
import numpy as np

from common.files import replacing

_Column = Literal["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "val_map3", "seconds"]
HISTORY_COLUMNS = list(get_args(_Column))
_Count = Annotated[int, msgspec.Meta(ge=0)]


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message says why."""


class State(msgspec.Struct, forbid_unknown_fields=True):
    """How far a fold's training is, beside the values of the variables.

    Attributes:
        epochs: finished. seconds: they took, breaks left out.
        best_loss, best_epoch: of the best validation so far, its epoch counted from 1; None and 0 before the first.
        unimproved: validations in a row without a lower loss.
        rows: one of the history for each epoch, numbers by column.
    """

    epochs: _Count = 0
    seconds: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    best_loss: float | None = None
    best_epoch: _Count = 0
    unimproved: _Count = 0
    rows: list[dict[_Column, int | float]] = []

    def improved(self, epoch: int, loss: float) -> bool:
        """Note a validation; whether it is the best so far."""
        if self.best_loss is None or loss < self.best_loss:
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
        self.path, self._identity = path, identity

    def save(self, net: keras.Model, optimizer: keras.Optimizer, state: State) -> None:
        """Replace the file. The optimiser is that of the model that the net is, or is part of."""
        arrays = {f"v{i}": value for i, value in enumerate(values_of([*net.variables, *optimizer.variables]))}
        texts = {
            "identity": json.dumps(self._identity),
            "state": msgspec.json.encode(state, enc_hook=float).decode(),
        }
        with replacing(self.path, durable=True) as temporary:
            np.savez(temporary, **texts, **arrays)

    def restore(self, net: keras.Model, optimizer: keras.Optimizer, best: Path | None = None) -> State:
        """Give a net and its optimiser the file's values; where there is no file, leave them at their beginning.

        Args:
            best: the model of the best validation so far, which must be there if there was a validation.
        Raises:
            CheckpointError: the file is damaged, or was made with something else; no value is changed.
        """
        if not os.path.lexists(self.path):
            return State()
        try:
            if not self.path.is_file():
                raise ValueError("it is not a regular file")
            with np.load(self.path, allow_pickle=False) as file:
                identity = msgspec.json.decode(str(file["identity"]), type=dict[str, Any])
                state = msgspec.json.decode(str(file["state"]), type=State)
                values = [file[name] for name in file.files if name.startswith("v")]
            if state.epochs != len(state.rows) or max(state.best_epoch, state.unimproved) > state.epochs:
                raise ValueError("its counts of epochs are wrong")
            if best is not None and state.best_epoch:
                with ZipFile(best) as archive:
                    if (damaged := archive.testzip()) is not None:
                        raise ValueError(f"{damaged} in {best.name} is damaged")
        except Exception as error:  # NumPy and zipfile raise whatever damaged bytes lead them to
            reason = " ".join(str(error).split()) or type(error).__name__
            raise CheckpointError(f"damaged ({reason[:200]})") from error
        for name, wanted in json.loads(json.dumps(self._identity)).items():  # tuples become lists
            if identity.get(name) != wanted:
                raise CheckpointError(f"made with another {name}")
        variables = [*net.variables, *optimizer.variables]
        expected = [(tuple(v.shape), keras.backend.standardize_dtype(v.dtype)) for v in variables]
        if [(value.shape, value.dtype.name) for value in values] != expected:
            raise CheckpointError("damaged (its arrays are not those of this net)")
        assign(variables, values)
        return state

    def move_aside(self) -> Path:
        """Rename the file to damaged_NAME, in place of one that may be there; the new path."""
        return self.path.replace(self.path.with_name(f"damaged_{self.path.name}"))

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
