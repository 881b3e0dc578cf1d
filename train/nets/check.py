"""What a user's own net must be, beyond a model that trains: probabilities, from layers that Keras opens by itself.

`tag`, and whoever opens model_{fold}.keras, have Keras and not the user's code; they open it in Keras's safe mode.
"""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np

from train.nets import NetError
from train.nets.own import in_one_line

_END = "end with train.nets.build.probabilities(x, n_labels)"
_N_WINDOWS = 4
_OFF = 1e-3  # that a row of float32 probabilities may be off 1


def check_output(output: Any, name: str, n_labels: int) -> None:
    """Refuse what a user's function returned, unless it is one Keras tensor of shape [None, n_labels]."""
    path, _, function = name.rpartition(":")
    if not isinstance(output, keras.KerasTensor):
        found = f"a {type(output).__name__}; {_END}"
        if isinstance(output, keras.Model):
            found = "a Keras model; return the tensor that you would give it as its outputs"
        elif output is None:
            found = "None; does it end with return?"
    elif tuple(output.shape) != (None, n_labels):
        found = f"one of shape {list(output.shape)}; {_END}"
    else:
        return
    raise NetError(f"{path}: {function} must return one Keras tensor of shape [None, {n_labels}], got {found}")


def check(model: keras.Model, name: str) -> None:
    """Refuse a user's own net that gives no probabilities, or that plain Keras would not open again.

    Args:
        model: as `build` made it. name: FILE.py:FUNCTION.
    Raises:
        NetError: says what, and names the layer.
    """
    path, function = name.rsplit(":", 1)
    try:
        for layer, what in _foreign(keras.saving.serialize_keras_object(model), "the net"):
            raise NetError(
                f"{path}: {layer} of {function} must be of Keras alone, got {what}, without which no other program "
                "opens the net; use Keras's own layers, activations and keras.ops"
            )
        with TemporaryDirectory(prefix="earmark-") as folder:
            model.save(saved := Path(folder, "net.keras"))
            keras.saving.load_model(saved, compile=False, safe_mode=True)
    except NetError:
        raise
    except Exception as error:  # Keras raises many kinds
        reason = " ".join(str(error).split())[:200]
        raise NetError(
            f"{path}: {function} must be a net that Keras saves and opens again, got {type(error).__name__}: "
            f"{reason}; use Keras's own layers"
        ) from error
    windows = np.random.default_rng(0).normal(size=(_N_WINDOWS, *model.input_shape[1:])).astype(np.float32)
    with in_one_line(path):
        found = np.asarray(keras.ops.convert_to_numpy(model(windows)), np.float64)
    if model.output.dtype != "float32":
        raise NetError(f"{path}: the output of {function} must be float32, got {model.output.dtype}; {_END}")
    if not np.isfinite(found).all() or found.min() < 0 or np.abs(found.sum(axis=1) - 1).max() > _OFF:
        row = ", ".join(f"{value:.3g}" for value in found[0][:3])
        raise NetError(
            f"{path}: {function} must return probabilities, rows that add up to 1, got {row}, ... adding up to "
            f'{found[0].sum():.3g}; {_END} or Dense(n_labels, activation="softmax")'
        )


def _foreign(part: Any, layer: str) -> Iterator[tuple[str, str]]:
    """What in a model's description is not Keras's own, each with the layer that it is in, in words."""
    if isinstance(part, dict):
        name, module = str(part.get("class_name", "")), part.get("module")
        if isinstance(part.get("name"), str):
            layer = f"layer {part['name']!r}"
        if name in ("Lambda", "__lambda__"):
            yield layer, "a Lambda"
        elif name == "function":
            yield layer, f"the function {part.get('config')}"
        elif name and not name.startswith("__") and str(module).partition(".")[0] != "keras":
            yield layer, f"the class {name}"
    for value in part.values() if isinstance(part, dict) else part if isinstance(part, list | tuple) else ():
        yield from _foreign(value, layer)
