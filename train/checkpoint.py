"""Where a fold stands after an epoch, on disk, so that a run that was killed goes on from there.

One .npz file, written under another name and renamed: every variable of the model and of its optimiser (moments,
running means, number of steps, so the schedule's position too), and as JSON what the callbacks know. Random numbers
need no place in it: they are pure functions of (seed, epoch, clip) and (seed, fold, epoch).
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import keras
import numpy as np

from train.standing import Standing
from train.variables import assign, values_of


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside path to write to; the file takes path's place when the block is done."""
    partial = path.with_name(f".partial-{path.name}")  # the suffix stays: Keras and NumPy go by it
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


class Checkpoint:
    """The file of one fold."""

    def __init__(self, path: Path, identity: dict[str, Any]):
        """identity: what the fold is trained with, JSON values; a file of another is not gone on from."""
        self._path, self._identity = path, json.dumps(identity, sort_keys=True)

    def save(self, model: keras.Model, standing: Standing) -> None:
        """Write where the fold stands."""
        arrays = {f"v{i}": value for i, value in enumerate(values_of(_variables(model)))}
        with replacing(self._path) as partial:
            np.savez(partial, identity=self._identity, standing=json.dumps(asdict(standing)), **arrays)

    def restore(self, model: keras.Model) -> Standing:
        """Bring a compiled model to where the file says; a new `Standing` where there is none that fits."""
        try:
            with np.load(self._path, allow_pickle=False) as file:
                arrays = dict(file)
        except (FileNotFoundError, BadZipFile, ValueError, EOFError):
            return Standing()
        variables = _variables(model)
        values = [arrays.get(f"v{i}") for i in range(len(variables))]
        shapes = [None if value is None else value.shape for value in values]
        if str(arrays.get("identity")) != self._identity or shapes != [tuple(v.shape) for v in variables]:
            return Standing()
        assign(variables, values)
        return Standing(**json.loads(str(arrays["standing"])))

    def remove(self) -> None:
        """The fold is finished."""
        self._path.unlink(missing_ok=True)


def _variables(model: keras.Model) -> list[keras.Variable]:
    return [*model.variables, *model.optimizer.variables]
