"""Where a fold stands after an epoch, on disk, so that a run that was killed goes on from there.

One .npz file, written under another name and renamed: every variable of the net and of its optimiser (moments,
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

    def save(self, net: keras.Model, optimizer: keras.Optimizer, standing: Standing) -> None:
        """Write where the fold stands; the optimiser is that of the model that the net is, or is part of."""
        arrays = {f"v{i}": value for i, value in enumerate(values_of([*net.variables, *optimizer.variables]))}
        with replacing(self._path) as partial:
            np.savez(partial, identity=self._identity, standing=json.dumps(asdict(standing)), **arrays)

    def restore(self, net: keras.Model, optimizer: keras.Optimizer) -> Standing:
        """Bring a net and its optimiser to where the file says; a new `Standing` where there is none that fits."""
        try:
            with np.load(self._path, allow_pickle=False) as file:
                arrays = dict(file)
        except (FileNotFoundError, BadZipFile, ValueError, EOFError):
            return Standing()
        variables = [*net.variables, *optimizer.variables]
        values = [arrays.get(f"v{i}") for i in range(len(variables))]
        shapes = [None if value is None else value.shape for value in values]
        if str(arrays.get("identity")) != self._identity or shapes != [tuple(v.shape) for v in variables]:
            return Standing()
        assign(variables, values)
        return Standing(**json.loads(str(arrays["standing"])))

    def remove(self) -> None:
        """The fold is finished."""
        self._path.unlink(missing_ok=True)
