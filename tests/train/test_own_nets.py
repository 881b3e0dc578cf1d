"""A user's own net, FILE.py:FUNCTION, goes through all that a net of the list does, and its mistakes are one line."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest

from cache import open_cache
from ensemble import PredictionsError
from train.__main__ import main
from train.input.dataset import open_dataset
from train.loop.callbacks import SeedDropout
from train.nets import NetError, net_of
from train.nets.build import build
from train.nets.check import check
from train.nets.own import read_source
from train.run import run
from train.settings import SettingsError, settings_for
from train.settings import check as check_settings
from train.split import assign_folds

DOCS = Path(__file__).parents[2] / "docs" / "training.md"
HEAD = "import keras\nfrom keras import layers\n"
NET = "def my_net(x, n_labels):\n"
END = "    return layers.Dense(n_labels, activation='softmax')(layers.GlobalAveragePooling1D()(x))\n"


@pytest.fixture
def write_net(tmp_path, monkeypatch):
    """A function that writes my_nets.py into the current folder; its net's name."""
    monkeypatch.chdir(tmp_path)

    def write(*lines):
        Path("my_nets.py").write_text("".join(lines))
        return "my_nets.py:my_net"

    return write


@pytest.fixture
def built(write_net):
    """A function that writes a net's file, builds the net and checks it; the model."""

    def build_it(*lines, shape=(40, 16), **options):
        model = build(write_net(HEAD, *lines), shape, 3, **options)
        check(model, "my_nets.py:my_net")
        return model

    return build_it


@pytest.fixture
def train(work, tmp_path, progress):
    """A function that trains a net on the small cache."""

    def train_it(model, **changes):
        settings = settings_for(
            model, **{"work": tmp_path / "work", "cache": work / "cache", "crops": 2, **changes}
        )
        dataset = open_dataset(open_cache(settings.cache_path), settings)
        return run(dataset, assign_folds(dataset, settings), [0, 1], progress)

    return train_it


def test_the_net_of_the_docs_trains_and_is_listed(write_net, work, tmp_path, capsys):
    section = DOCS.read_text().partition("## A net of your own")[2]
    name = write_net(re.search(r"```python\n(.*?)```", section, re.DOTALL)[1])
    flags = ["--mfcc", "20", "--folds", "2", "--epochs", "1", "--seconds", "0.5", "--crops", "2", "--fold", "0"]
    assert main([name, "--work", "work", "--cache", str(work / "cache"), *flags]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "predictions: work/predictions_my_net"
    assert main(["ls", "--work", "work"]) == 0
    run, told = capsys.readouterr().out.splitlines()[1:]
    assert run.split()[:3] == ["-", "my_nets.py:my_net", "default"]
    assert told.split() == ["store=mfcc-20-4000.zarr", "crops=2", "epochs=1", "folds=2", "seconds=0.5"]
    plain = keras.saving.load_model("work/predictions_my_net/model_0.keras", compile=False, safe_mode=True)
    assert np.allclose(plain.predict(np.zeros((2, *plain.input_shape[1:])), verbose=0).sum(axis=1), 1, atol=1e-5)


def test_it_reads_what_it_is_told_else_frames():
    kind = lambda **values: settings_for("my_nets.py:my_net", **values).kind  # noqa: E731
    assert (kind(), kind(mfcc=20), kind(sr=4000), kind(features="raw")) == ("logmel", "mfcc", "raw", "raw")
    assert settings_for("my_nets.py:my_net", "notebook").kind == "mfcc"


def test_quick_is_the_net_itself_for_an_epoch_and_two_folds(write_net, train, untrained):
    folder = train(write_net(HEAD, NET, END), quick=True, mfcc=20)
    assert (folder.path.parent.name, folder.n_folds, folder.config["settings"]["epochs"]) == ("quick", 2, 1)
    assert folder.config["n_parameters"] == 20 * 3 + 3


def test_folds_of_two_versions_of_the_file_are_refused(write_net, train, untrained):
    name, settings = write_net(HEAD, NET, END), {"folds": 2, "mfcc": 20}
    folder = train(name, **settings)
    assert re.fullmatch("[0-9a-f]{16}", folder.config["settings"]["net_file_checksum"])
    assert folder.config["model"] == "my_nets.py:my_net"
    write_net(HEAD, NET, "    # another\n", END)
    message = "the file of the net was changed since; use the same ones, another --name, or --force"
    with pytest.raises(PredictionsError, match=message):
        train(name, **settings)
    assert train(name, **settings, name="other").finished == [0, 1]


def test_where_the_file_lies_does_not_bind(write_net, train, untrained):
    name, settings = write_net(HEAD, NET, END), {"folds": 2, "mfcc": 20}
    train(name, **settings)
    Path("nets").mkdir()
    Path("my_nets.py").rename("nets/my_nets.py")
    train("nets/my_nets.py:my_net", **settings)
    assert untrained == [0, 1]


def test_a_file_that_is_edited_during_a_run_changes_nothing_of_it(write_net, work, tmp_path):
    name = write_net(HEAD, NET, END)
    settings = settings_for(name, work=tmp_path, cache=work / "cache", mfcc=20)
    settings = open_dataset(open_cache(settings.cache_path), settings).settings
    write_net("broken(")
    assert build(name, (40, 16), 3, source=settings.source).output_shape == (None, 3)
    assert open_dataset(open_cache(settings.cache_path), settings).settings == settings


def test_a_wrong_net_leaves_the_old_folder_where_it_is(write_net, train, untrained):
    name, settings = write_net(HEAD, NET, END), {"folds": 2, "mfcc": 20}
    folder = train(name, **settings)
    write_net(HEAD, NET, "    return x\n")
    with pytest.raises(NetError):
        train(name, **settings, force=True)
    assert folder.finished == [0, 1]


def test_files_beside_it_can_be_imported(write_net, built):
    write_net()
    Path("earmark_test_blocks.py").write_text(HEAD + "def block(x):\n    return layers.Dense(4)(x)\n")
    assert (
        built("from earmark_test_blocks import block\n", NET, "    x = block(x)\n", END).count_params() == 68 + 15
    )


_OF_EVERY_KIND = """
    x = keras.Sequential([layers.SeparableConv1D(8, 3), layers.PReLU(), layers.SpatialDropout1D(0.1)])(x)
    x = layers.MultiHeadAttention(2, 4, dropout=0.1)(x, x)
    x = layers.Bidirectional(layers.LSTM(2, return_sequences=True, dropout=0.1))(x)
    x = layers.DepthwiseConv1D(3)(x)
    x = layers.Dense(4, kernel_initializer="zeros", bias_initializer="normal")(x)
"""


def test_weights_are_a_pure_function_of_the_seed_whatever_layers_it_has(write_net):
    name = write_net(HEAD, NET, _OF_EVERY_KIND, END)
    first, again, other = (build(name, (8, 4), 3, seed=seed) for seed in (5, 5, 6))
    trained = [model.trainable_weights for model in (first, again, other)]
    assert all(np.array_equal(a, b) for a, b in zip(*trained[:2], strict=True))
    drawn = [v.path for v in trained[0] if np.ptp(v.numpy()) and not v.path.endswith("lstm_cell/bias")]
    differ = [a.path for a, b in zip(trained[0], trained[2], strict=True) if not np.array_equal(a, b)]
    assert differ == drawn and len(drawn) > 12
    query, key = (v.numpy() for v in trained[0] if v.path.endswith(("query/kernel", "key/kernel")))
    assert not np.array_equal(query, key)


def test_weights_that_the_function_sets_are_kept(built):
    lines = (
        "    dense = layers.Dense(4)\n    x = dense(x)\n    dense.set_weights([dense.kernel * 0 + 7, dense.bias])\n"
    )
    assert np.all(built(NET, lines, END, seed=5).trainable_weights[0] == 7)


def test_dropout_inside_layers_is_seeded_at_every_epoch(write_net):
    model = build(write_net(HEAD, NET, _OF_EVERY_KIND, END), (8, 4), 3)

    def states(epoch):
        callback = SeedDropout(seed=1, fold=0)
        callback.set_model(model)
        callback.on_epoch_begin(epoch)
        return [tuple(v.numpy()) for v in model.variables if v.name == "seed_generator_state"]

    first, again, other = states(3), states(3), states(4)
    assert first == again and not {*first} & {*other} and len({*first}) == len(first) > 3


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["def my_net(x, n_labels:\n", END], r"my_nets.py:3: SyntaxError: '\(' was never closed; correct it, or"),
        (
            ["import no_such_module\n"],
            "my_nets.py:3: ModuleNotFoundError: No module named 'no_such_module'; correct",
        ),
        (["from .blocks import block\n"], "my_nets.py:3: ImportError: attempted relative import with no known"),
        (["import sys\nsys.exit()\n"], "my_nets.py:4: SystemExit: no message; correct it, or give --debug for the"),
        (
            ["def mynet(x, n_labels):\n", END],
            "my_nets.py: the function must be in the file, got my_net, .* mean mynet?",
        ),
        (["\n"], "got my_net, which is not; the file defines none"),
        (["my_net = 3\n"], "got my_net, which is not; the file defines none"),
        (
            ["def my_net(x):\n", END],
            r"my_net must take two arguments, \(x, n_labels\), got my_net\(x\); correct it",
        ),
        (
            [NET, "    y = layer.Flatten()(x)\n", END],
            "my_nets.py:4: NameError: name 'layer' is not defined; correct",
        ),
        (
            [NET, "    x = layers.Conv2D(3, 3)(x)\n", END],
            "my_nets.py:4: ValueError: Input 0 .* expected min_ndim=4",
        ),
        (
            [NET, "    x = layers.MaxPool1D(64)(x)\n", END],
            "my_nets.py:4: ValueError: .*Computed output size would be",
        ),
        ([NET, "    layers.Flatten()(x)\n"], r"of shape \[None, 3\], got None; does it end with return\?"),
        (
            [NET, "    return [x]\n"],
            r"must return one Keras tensor of shape \[None, 3\], got a list; end with train",
        ),
        ([NET, "    return keras.Model(x, x)\n"], "got a Keras model; return the tensor that you would give it as"),
        (
            [NET, "    return layers.Dense(n_labels)(x)\n"],
            r"got one of shape \[None, 40, 3\]; end with train.nets.build",
        ),
        (
            [NET, "    x = keras.Input((40, 16))\n", END],
            "my_nets.py: ValueError: Output with path .* not connected",
        ),
        (
            [NET, "    return layers.Dense(n_labels)(layers.Flatten()(x))\n"],
            r"my_net must return probabilities, rows that add up to 1, got .*; end with train.nets.build.probabilities",
        ),
        (
            [NET, "    return layers.Dense(n_labels, activation='sigmoid')(layers.Flatten()(x))\n"],
            "must return probabilities, rows that add up to 1",
        ),
        (
            [NET, "    x = layers.Lambda(lambda v: v * 2, name='twice')(x)\n", END],
            "my_nets.py: layer 'twice' of my_net must be of Keras alone, got a Lambda, without which no other program",
        ),
        (
            [
                "class Twice(layers.Layer):\n    def call(self, x):\n        return x * 2\n",
                NET,
                "    x = Twice()(x)\n",
                END,
            ],
            "layer 'twice' of my_net must be of Keras alone, got the class Twice,",
        ),
        (
            ["def square(x):\n    return x * x\n", NET, "    x = layers.Dense(3, square, name='d')(x)\n", END],
            "layer 'd' of my_net must be of Keras alone, got the function square,",
        ),
        (
            [
                "class Times(layers.Layer):\n    def __init__(self, by):\n        super().__init__()\n    def call(self, x):\n        return x\n",
                NET,
                "    x = Times(object())(x)\n",
                END,
            ],
            "my_net must be a net that Keras saves and opens again, got NotImplementedError: .*Times.*; use Keras's own",
        ),
    ],
)
def test_mistakes_are_one_line_that_names_place_and_cure(built, lines, message):
    keras.backend.clear_session()
    with pytest.raises(NetError, match=message) as caught:
        built(*lines)
    assert "\n" not in str(caught.value)


def test_an_output_in_bfloat16_is_refused(built):
    with pytest.raises(NetError, match="the output of my_net must be float32, got bfloat16; end with train.nets"):
        built(NET, END, precision="bfloat16")


def test_keras_own_operations_are_fine(built):
    built(NET, "    x = keras.ops.concatenate([x[:, :20] * 2, keras.ops.relu(x[:, 20:])], axis=2)\n", END)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "conv3d",
            "the net must be conv1d, conv2d, mobilenet or FILE.py:FUNCTION, got 'conv3d'; did you mean conv2d",
        ),
        ("my_nets.py", "or FILE.py:FUNCTION, got 'my_nets.py'; see python -m train --help"),
        ("my_nets.py:a b", "or FILE.py:FUNCTION, got 'my_nets.py:a b'"),
        ("my_nets:my_net", "or FILE.py:FUNCTION, got 'my_nets:my_net'"),
        ("my_nets.py:mobilenet", "my_nets.py: the function must not be called like a net of ours, got 'mobilenet'"),
        ("my_nets.py:conv2d", "the function must not be called like a net of ours, got 'conv2d'; rename it"),
    ],
)
def test_a_name_that_is_no_nets_is_refused(name, message):
    with pytest.raises(NetError, match=message):
        net_of(name)


def test_a_file_that_is_not_there_or_no_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("folder.py").mkdir()
    with pytest.raises(
        NetError, match=rf"^my_nets.py: no such file in {tmp_path}; give the path of the file that has f"
    ):
        check_settings(settings_for("my_nets.py:f"))
    with pytest.raises(NetError, match=r"^folder.py: cannot be read \(Is a directory\); give a file of Python"):
        read_source("folder.py:f")


def test_flags_of_features_that_it_does_not_read_are_refused(write_net):
    name = write_net(HEAD, NET, END)
    with pytest.raises(
        SettingsError, match="--n-mels must be left out for my_nets.py:my_net, which reads raw, got 3"
    ):
        check_settings(settings_for(name, features="raw", n_mels=3))
