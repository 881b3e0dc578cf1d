"""A net as one model for other programs: a waveform in, the probability of each label out.

The model holds all that `tag` does after a recording was decoded and resampled: features, windows, the crops' mean,
the folds' geometric mean, calibration. It is Keras's own operations and layers throughout, so that it opens where
nothing of ours is installed.

    bird.keras    for `keras.models.load_model`, on any backend
    bird.onnx     for ONNX Runtime; bird.tflite for LiteRT: converted by Keras, then compared with the Keras model
    bird.*.json   beside each, such as bird.onnx.json: sample_rate, labels, and which net it is
"""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from math import log
from pathlib import Path

import keras
import numpy as np
from keras import KerasTensor, layers, ops

from common import EarmarkError
from common.files import replacing
from ensemble.files import PredictionsError, read_json, write_json
from tag.front_end import windows
from tag.nets import Net
from tag.tagger import Tagger
from train.environment import held_back_stderr

_OURS = "earmark"
_KERAS_NAMES = {".onnx": "onnx", ".tflite": "litert"}  # of the formats that Keras converts to
_PACKAGES = {".keras": (), ".onnx": ("onnx", "onnxruntime", "tf2onnx"), ".tflite": ("ai_edge_litert",)}
_NORMAL, _ZERO = 2.0**-126, log(2.0**-1022)  # a 0 counts as ensemble.combine says
_LEAST_OF_CROP, _LEAST = 1e-7, 1e-12  # as in train.predict and ensemble.calibration
_TOLERANCE = 1e-4  # of a converted model's probabilities
_LENGTHS = 0.4, 2.3  # windows; of the waveforms that a converted model is tried on


class ExportError(EarmarkError):
    """A model that cannot be made or written; the message is one line for the user."""


@dataclass(frozen=True)
class Description:
    """What a program needs to know to use an exported model; written beside it as JSON."""

    exported_by: str
    net: str
    folds: list[int]
    sample_rate: int  # Hz, of the waveforms that it takes
    window_s: float  # seconds; shorter waveforms are centred in silence
    temperature: float  # that its probabilities are calibrated by; 1 where they are not
    labels: list[str]  # in the order of its probabilities


def export(folder: Path, out: Path, folds: Sequence[int] = (), calibrated: bool = True) -> Description:
    """Write a predictions folder's net as one model, and its description beside it.

    Args:
        out: OUT.keras, OUT.onnx or OUT.tflite. folds: which take part; empty for all that are finished.
    Raises:
        ExportError: no such format or fold, a package that is missing, something else at out, or a model that the
            format cannot hold. PredictionsError: a folder that cannot be used.
    """
    _refuse_format(out)
    _refuse_output(out)
    tagger = Tagger.open(runs=[folder], calibrated=calibrated)
    net = tagger.nets[0]
    finished = net.folder.finished
    if missing := sorted(set(folds) - set(finished)):
        raise ExportError(
            f"{folder}: --fold must be of its finished folds {', '.join(map(str, finished))}, got {missing[0]}"
        )
    folds = sorted(set(folds)) or finished
    description = Description(
        exported_by=_OURS,
        net=net.folder.config["model"],
        folds=folds,
        sample_rate=net.specification.sample_rate,
        window_s=net.window_s,
        temperature=tagger.temperature,
        labels=net.folder.labels,
    )
    model = tagging_model(net, folds, tagger.temperature)
    with replacing(out) as new:
        if out.suffix == ".keras":
            model.save(new)
        else:
            _convert(model, new, description)
        if out.suffix == ".onnx":
            _describe_onnx(new, description)
        write_json(beside(out), asdict(description))
    return description


def tagging_model(net: Net, folds: Sequence[int], temperature: float = 1.0) -> keras.Model:
    """The model of some of a net's folds: float32 [n, n_samples] to float32 [n, n_labels], for any n_samples.

    Args:
        temperature: to calibrate by; 1 gives the net's own probabilities.
    """
    rate = net.specification.sample_rate
    waveform = keras.Input((None,), name="waveform", dtype="float32")
    cut, there = windows(waveform, net.specification, net.length, net.width, net.crops)
    batch = ops.reshape(cut, (-1, net.length, net.width))
    logs = []
    for fold in folds:
        model = net.model(fold)
        model.name = f"fold_{fold}"
        for layer in model.layers:
            if isinstance(layer, layers.Normalization):  # tf2onnx would take its tensors for further inputs
                layer.mean, layer.variance = np.asarray(layer.mean), np.asarray(layer.variance)
        by_crop = ops.reshape(model(batch), (-1, net.crops, len(net.folder.labels)))
        logs.append(_log_of_crops(by_crop, ops.cast(ops.expand_dims(there, -1), "float32"), net.crop_mean))
    combined = ops.log_softmax(sum(logs[1:], start=logs[0]) / len(logs))
    tempered = ops.maximum(combined, log(_LEAST)) / temperature
    probabilities = layers.Softmax(name="probabilities", dtype="float32")(tempered)
    name = re.sub(r"\W+", "_", net.folder.config["model"])  # that of a user's own net is FILE.py:FUNCTION
    return keras.Model(waveform, probabilities, name=f"{name}_{rate}_hz")


def beside(out: Path) -> Path:
    """Where the description of an exported model lies."""
    return out.with_name(f"{out.name}.json")


def _log_of_crops(probabilities: KerasTensor, there: KerasTensor, mean: str) -> KerasTensor:
    """The log of the crops' mean, as `train.predict` takes it: [n, crops, n_labels] to [n, n_labels].

    there: [n, crops, 1], 1 for the crops that count, else 0.
    """
    geometric = mean == "geometric"
    values = ops.log(ops.maximum(probabilities, _LEAST_OF_CROP)) if geometric else probabilities
    means = ops.sum(values * there, axis=1) / ops.sum(there, axis=1)
    if geometric:
        return ops.log_softmax(means)
    return ops.where(means < _NORMAL, _ZERO, ops.log(ops.maximum(means, _NORMAL)))


def _refuse_format(out: Path) -> None:
    """Refuse a format that there is not, or that nothing here can convert to."""
    if out.suffix not in _PACKAGES:
        raise ExportError(f"{out}: output must end in {', '.join(_PACKAGES)}, got {out.suffix or 'no suffix'}")
    needed = _PACKAGES[out.suffix]
    if lacking := [package for package in needed if not find_spec(package)]:
        raise ExportError(f"{out}: {out.suffix} needs {', '.join(lacking)}; pip install 'earmark[export]'")
    if needed and keras.backend.backend() != "tensorflow":
        raise ExportError(f"{out}: KERAS_BACKEND must be tensorflow, got {keras.backend.backend()}; unset it")


def _refuse_output(out: Path) -> None:
    """Refuse to replace anything but an earlier export."""
    for path in (out, beside(out)):
        if path.exists() and not path.is_file():
            raise ExportError(f"{path}: this is a folder or a device, not a file; give OUT another name")
        if path.exists() and not _is_export(out):
            raise ExportError(
                f"{path}: the file there is not an earlier export; give OUT another name, or remove the file"
            )


def _is_export(out: Path) -> bool:
    try:
        return read_json(beside(out)).get("exported_by") == _OURS
    except PredictionsError:
        return False


def _convert(model: keras.Model, path: Path, description: Description) -> None:
    """Write a model in the format of the path's suffix, and see that it gives what the model gives."""
    rng, n_samples = np.random.default_rng(0), description.window_s * description.sample_rate
    waveforms = [rng.uniform(-0.5, 0.5, (1, int(times * n_samples))).astype(np.float32) for times in _LENGTHS]
    wanted = [np.asarray(model(waveform)) for waveform in waveforms]
    with held_back_stderr():  # converters say much
        try:
            model.export(path, format=_KERAS_NAMES[path.suffix], verbose=False)
            found = [_RUN[path.suffix](path, waveform) for waveform in waveforms]
            off = max(np.abs(a - b).max() for a, b in zip(wanted, found, strict=True))
            problem = "" if off <= _TOLERANCE else f"probabilities that are off by {off:.2g}"
        except Exception as error:  # of whatever kind the converter or the runtime has
            problem = str(error).strip().split("\n")[0][:200] or type(error).__name__
    if problem:
        raise ExportError(f"{path.suffix} must hold all of this net, got {problem}; export it as .keras")


def _run_onnx(path: Path, waveform: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"waveform": waveform})[0]


def _run_litert(path: Path, waveform: np.ndarray) -> np.ndarray:
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(path))
    taken, given = runner.get_input_details()[0]["index"], runner.get_output_details()[0]["index"]
    runner.resize_tensor_input(taken, waveform.shape)
    runner.allocate_tensors()
    runner.set_tensor(taken, waveform)
    runner.invoke()
    return runner.get_tensor(given)


_RUN = {".onnx": _run_onnx, ".tflite": _run_litert}


def _describe_onnx(path: Path, description: Description) -> None:
    """Write the description into an ONNX file's metadata, each value as JSON."""
    import onnx

    model = onnx.load(path)
    onnx.helper.set_model_props(model, {name: json.dumps(value) for name, value in asdict(description).items()})
    onnx.save(model, path)
