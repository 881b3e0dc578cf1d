import json
import subprocess
import sys
from importlib.util import find_spec
from shutil import copytree

import keras
import numpy as np
import pytest
import soundfile as sf

from tag.__main__ import main
from tag.export import ExportError, export, tagging_model
from tag.recordings import featurized
from tag.tagger import Tagger

# programs of somebody who has nothing of ours: a model's path and recordings in, probabilities out
PROGRAMS = {
    ".keras": """
import sys, json, keras, numpy as np, soundfile as sf
model = keras.models.load_model(sys.argv[1])
run = lambda waveform: np.asarray(model(waveform))
""",
    ".onnx": """
import sys, json, onnxruntime, soundfile as sf
model = onnxruntime.InferenceSession(sys.argv[1])
run = lambda waveform: model.run(None, {"waveform": waveform})[0]
""",
    ".tflite": """
import sys, json, soundfile as sf
from ai_edge_litert.interpreter import Interpreter
model = Interpreter(sys.argv[1])
taken, given = model.get_input_details()[0]["index"], model.get_output_details()[0]["index"]
def run(waveform):
    model.resize_tensor_input(taken, waveform.shape)
    model.allocate_tensors()
    model.set_tensor(taken, waveform)
    model.invoke()
    return model.get_tensor(given)
""",
}
ALONE = "import sys; sys.modules.update(dict.fromkeys('cache common earmark ensemble featurize report tag train'.split()))\n"
USE = "print(json.dumps([run(sf.read(path, dtype='float32')[0][None])[0].tolist() for path in sys.argv[2:]]))"
NEEDS = {".keras": (), ".onnx": ("onnx", "onnxruntime", "tf2onnx"), ".tflite": ("ai_edge_litert",)}


def require(suffix):
    if lacking := [name for name in NEEDS[suffix] if not find_spec(name)]:
        pytest.skip(f"{', '.join(lacking)} not installed: pip install 'earmark[export]'")


def recordings_of(folder, tagger):
    """Recordings at the rate of a tagger's net: empty, short, hardly longer than a window, long, silent, faint."""
    net, rng = tagger.nets[0], np.random.default_rng(8)
    rate, paths = net.specification.sample_rate, []
    for number, seconds in enumerate((0, 0.3, net.window_s + 2.5 / rate, 2.5 * net.window_s, 1.1, 4.0)):
        samples = rng.uniform(-0.7, 0.7, round(seconds * rate)) * (number != 4) * (1e-4 if number == 5 else 1)
        paths.append(folder / f"{number}.wav")
        sf.write(paths[-1], samples, rate, subtype="FLOAT")
    return paths


def probabilities_of(out, paths):
    """What a program without our packages gets from an exported model."""
    code = ALONE + PROGRAMS[out.suffix] + USE
    arguments = [sys.executable, "-c", code, str(out), *map(str, paths)]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=out.parent)
    assert done.returncode == 0, done.stderr
    return np.array(json.loads(done.stdout))


def gives_what_tag_gives(net_folder, tmp_path, suffix):
    require(suffix)
    out, tagger = tmp_path / f"net{suffix}", Tagger.open(runs=[net_folder])
    export(net_folder, out)
    paths = recordings_of(tmp_path, tagger)
    expected = tagger.tagged(paths).probabilities
    assert np.abs(probabilities_of(out, paths) - expected).max() < 1e-4
    return np.ptp(expected, axis=0).max()  # 0 for a net that hears nothing


def test_a_program_without_our_code_gets_the_probabilities_of_tag(train_net, tmp_path):
    net_folder = train_net("conv2d", features="mfcc", mfcc=12, name="mfcc")
    assert gives_what_tag_gives(net_folder, tmp_path, ".keras") > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".keras", ".onnx", ".tflite"])
@pytest.mark.parametrize(
    ("model", "changes"),
    [
        ("conv1d", {}),
        ("conv2d", {"features": "logmel"}),
        ("conv2d", {"features": "mfcc", "preset": "notebook"}),  # one crop, and statistics by position
        pytest.param("mobilenet", {"features": "logmel"}, marks=pytest.mark.long),
    ],
)
def test_every_net_gives_the_probabilities_of_tag_in_every_format(train_net, tmp_path, suffix, model, changes):
    name = "_".join(["whole", *changes.values()])
    net_folder = train_net(model, quick=False, name=name, seconds=3.0, **changes)
    spread = gives_what_tag_gives(net_folder, tmp_path, suffix)
    assert spread > 1e-3 or model == "mobilenet"  # which an epoch leaves deaf


@pytest.mark.slow
def test_an_onnx_file_holds_what_is_in_the_file_beside_it(train_net, tmp_path):
    require(".onnx")
    import onnxruntime

    export(train_net("conv2d"), tmp_path / "net.onnx", folds=[0])
    found = onnxruntime.InferenceSession(tmp_path / "net.onnx").get_modelmeta().custom_metadata_map
    described = json.loads((tmp_path / "net.onnx.json").read_text())
    assert {name: json.loads(value) for name, value in found.items()} == described
    assert described["sample_rate"] == 8000 and len(described["labels"]) == 3


@pytest.mark.parametrize(("mean", "calibrated"), [("arithmetic", False), ("geometric", True)])
def test_crops_and_folds_are_combined_as_tag_does(train_net, tmp_path, mean, calibrated):
    folder = copytree(train_net("conv2d"), tmp_path / "net")
    config = json.loads((folder / "config.json").read_text())
    config["settings"]["crop_mean"] = mean
    (folder / "config.json").write_text(json.dumps(config))
    tagger = Tagger.open(runs=[folder], calibrated=calibrated)
    model = tagging_model(tagger.nets[0], [0, 1], tagger.temperature)
    paths = recordings_of(tmp_path, tagger)
    found = [np.asarray(model(sf.read(path, dtype="float32")[0][None]))[0] for path in paths]
    assert np.abs(found - tagger.tagged(paths).probabilities).max() < 1e-5


def test_one_fold_is_exported_alone(train_net, tmp_path):
    folder = train_net("conv2d")
    description = export(folder, tmp_path / "net.keras", folds=[1], calibrated=False)
    assert description.folds == [1] and description.temperature == 1
    net = Tagger.open(runs=[folder]).nets[0]
    samples = np.random.default_rng(2).uniform(-0.5, 0.5, 40_000).astype(np.float32)
    sf.write(tmp_path / "five.wav", samples, 8000, subtype="FLOAT")
    cache, _ = featurized([tmp_path / "five.wav"], [net.specification], tmp_path / "cache")
    _, expected = net.predictions(net.windows(cache))
    model = keras.models.load_model(tmp_path / "net.keras")
    assert np.abs(np.asarray(model(samples[None])) - expected).max() < 1e-5


def test_an_export_says_its_rate_and_labels_in_a_file_beside_it(train_net, tmp_path, capsys):
    folder, out = train_net("conv2d"), tmp_path / "net.keras"
    assert main(["export", str(folder), str(out)]) == 0
    printed, said = capsys.readouterr()
    assert f"{out} (conv2d, folds 0, 1; 8,000 Hz in, 3 probabilities out)" in printed
    assert f"labels and sample rate: {out}.json" in printed and "resampling is up to the program" in said
    description = json.loads((tmp_path / "net.keras.json").read_text())
    assert description["labels"] == Tagger.open(runs=[folder]).labels and description["sample_rate"] == 8000
    assert keras.models.load_model(out).name == "conv2d_8000_hz"
    assert main(["export", str(folder), str(out), "--fold", "0"]) == 0  # an earlier export is replaced
    assert json.loads((tmp_path / "net.keras.json").read_text())["folds"] == [0]


@pytest.mark.parametrize(
    ("out", "folds", "message"),
    [
        ("net.h5", [], "net.h5: output must end in .keras, .onnx, .tflite, got .h5"),
        ("net", [], "net: output must end in .keras, .onnx, .tflite, got no suffix"),
        ("folder.keras", [], "folder.keras: this is a folder or a device, not a file; give OUT another name"),
        (
            "theirs.keras",
            [],
            "theirs.keras: the file there is not an earlier export; give OUT another name, or rem",
        ),
        ("net.keras", [2], "--fold must be of its finished folds 0, 1, got 2"),
    ],
)
def test_what_cannot_be_exported_is_refused(train_net, tmp_path, out, folds, message):
    (tmp_path / "folder.keras").mkdir()
    (tmp_path / "theirs.keras").write_text("theirs")
    with pytest.raises(ExportError, match=message.replace(".", r"\.")):
        export(train_net("conv2d"), tmp_path / out, folds)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.keras", "theirs.keras"]


def test_a_format_whose_packages_are_missing_is_refused(train_net, tmp_path, monkeypatch):
    monkeypatch.setattr("tag.export.find_spec", lambda name: None)
    with pytest.raises(
        ExportError, match=r"\.onnx needs onnx, onnxruntime, tf2onnx; pip install 'earmark\[export\]'"
    ):
        export(train_net("conv2d"), tmp_path / "net.onnx")


def test_a_net_that_a_format_cannot_hold_is_refused(train_net, tmp_path, monkeypatch):
    require(".onnx")

    def fail(*_arguments, **_options):
        raise RuntimeError("no such operation\nat length")

    monkeypatch.setattr(keras.Model, "export", fail)
    with pytest.raises(ExportError, match=r"\.onnx must hold all of this net, got no such operation; export it as"):
        export(train_net("conv2d"), tmp_path / "net.onnx", folds=[0])
    assert not list(tmp_path.iterdir())


def test_a_recording_called_export_can_still_be_tagged(trained, sound, tmp_path, monkeypatch, capsys):
    (tmp_path / "export").write_bytes(sound.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert main(["./export", "--work", str(trained)]) == 0
    assert "export" in capsys.readouterr().out
