import io
import json
import os
import zipfile

import keras
import numpy as np
import pytest

from train.loop.checkpoint import Checkpoint, CheckpointError, State, assign, values_of

IDENTITY = {"seed": 1, "backend": "tensorflow"}


@pytest.fixture
def model():
    """A function that makes a model with everything an optimiser may keep, after some steps."""

    def make(steps=0, units=3):
        keras.utils.set_random_seed(1)
        x = keras.Input((4,))
        y = keras.layers.Dense(units, activation="softmax")(keras.layers.BatchNormalization()(x))
        model = keras.Model(x, y)
        schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
        model.compile(keras.optimizers.Adam(schedule, use_ema=True), "categorical_crossentropy", run_eagerly=True)
        model.optimizer.build(model.trainable_variables)
        random = np.random.default_rng(0)
        for _ in range(steps):
            model.train_on_batch(random.normal(size=(8, 4)), np.eye(units)[random.integers(0, units, 8)])
        return model

    return make


def _parts(model):
    return model, model.optimizer


def _values(model):
    return values_of([*model.variables, *model.optimizer.variables])


def _state(epochs=2, **values):
    return State(**{"epochs": epochs, "rows": [{"epoch": n + 1, "loss": 2.0} for n in range(epochs)], **values})


def test_a_checkpoint_restores_model_optimiser_and_state(model, tmp_path):
    trained, state = model(steps=3), _state(seconds=1.5, best_loss=0.25, best_epoch=1, unimproved=1)
    Checkpoint(tmp_path / "c.npz", IDENTITY).save(*_parts(trained), state)
    fresh = model()
    assert Checkpoint(tmp_path / "c.npz", IDENTITY).restore(*_parts(fresh)) == state
    for found, expected in zip(_values(fresh), _values(trained), strict=True):
        assert np.array_equal(found, expected)
    assert int(fresh.optimizer.iterations) == 3


def test_no_checkpoint_is_a_beginning(model, tmp_path):
    assert Checkpoint(tmp_path / "c.npz", IDENTITY).restore(*_parts(model())) == State()


@pytest.fixture
def saved(model, tmp_path):
    """The path of a checkpoint, and what its parts are: a dict to change and give to `rewrite`."""
    Checkpoint(tmp_path / "c.npz", IDENTITY).save(*_parts(model(steps=1)), _state())
    with np.load(tmp_path / "c.npz") as file:
        return tmp_path / "c.npz", dict(file)


def _refused(model, path, match, best=None):
    """Restoring is refused and changes nothing."""
    fresh = model()
    before = _values(fresh)
    with pytest.raises(CheckpointError, match=match):
        Checkpoint(path, IDENTITY).restore(*_parts(fresh), best)
    assert all(map(np.array_equal, _values(fresh), before))


@pytest.mark.parametrize("content", [b"", b"PK no zip", b"x" * 1000, "half", "one byte", "huge"])
def test_a_damaged_file_is_refused(model, saved, content):
    path, _ = saved
    data = path.read_bytes()
    if content == "half":
        content = data[: len(data) // 2]
    elif content == "one byte":
        content = bytearray(data)
        content[data.index(b"\x93NUMPY", data.index(b"v3.npy")) + 130] ^= 1
    elif content == "huge":
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**15,)})
        zipped = io.BytesIO()
        with zipfile.ZipFile(zipped, "w") as archive:
            for name in ("identity", "state", "v0"):
                archive.writestr(f"{name}.npy", header.getvalue())
        content = zipped.getvalue()
    path.write_bytes(content)
    _refused(model, path, r"^damaged \(")


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": "2"},
        {"epochs": -1},
        {"epochs": 3},
        {"epochs": True},
        {"seconds": None},
        {"best_loss": float("nan")},
        {"best_epoch": 1e9},
        {"unimproved": 99},
        {"rows": 7},
        {"rows": [{"epoch": 1}, 2]},
        {"rows": [{"epoch": 1}, {"no such column": 2}]},
        {"rows": [{"epoch": 1}, {"loss": "low"}]},
        {"no such field": 1},
    ],
)
def test_a_state_of_wrong_types_is_refused(model, saved, changes):
    path, parts = saved
    np.savez(path, **parts | {"state": json.dumps(json.loads(str(parts["state"])) | changes)})
    _refused(model, path, r"^damaged \(")


@pytest.mark.parametrize("change", ["shape", "dtype", "fewer", "pickled"])
def test_arrays_that_are_not_the_nets_are_refused(model, saved, change):
    path, parts = saved
    last = f"v{len(parts) - 3}"
    if change == "shape":
        parts["v0"] = np.zeros(7, np.float32)
    elif change == "dtype":
        parts["v0"] = parts["v0"].astype(np.float64)
    elif change == "fewer":
        del parts[last]
    else:
        parts["v0"] = np.array([{}], object)
    np.savez(path, **parts)
    _refused(model, path, r"^damaged \(")


def test_a_folder_in_its_place_is_refused(model, tmp_path):
    (tmp_path / "c.npz").mkdir()
    _refused(model, tmp_path / "c.npz", "not a regular file")


def test_a_checkpoint_of_something_else_is_refused_by_name(model, saved):
    path, parts = saved
    np.savez(path, **parts | {"identity": json.dumps(IDENTITY | {"backend": "jax"}, sort_keys=True)})
    _refused(model, path, "^made with another backend$")


@pytest.mark.parametrize("content", [None, b"", b"PK no zip"])
def test_a_checkpoint_whose_best_model_is_damaged_is_refused(model, saved, tmp_path, content):
    path, parts = saved
    state = json.loads(str(parts["state"])) | {"best_epoch": 1, "best_loss": 0.5}
    np.savez(path, **parts | {"state": json.dumps(state)})
    if content is not None:
        (tmp_path / "model.keras").write_bytes(content)
    _refused(model, path, r"^damaged \(", best=tmp_path / "model.keras")


def test_a_refused_checkpoint_is_moved_aside(tmp_path):
    (tmp_path / "checkpoint_0.npz").write_bytes(b"x")
    (tmp_path / "damaged_checkpoint_0.npz").write_bytes(b"of before")
    aside = Checkpoint(tmp_path / "checkpoint_0.npz", IDENTITY).move_aside()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"damaged_checkpoint_0.npz": b"x"}
    assert aside == tmp_path / "damaged_checkpoint_0.npz"


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(model, tmp_path, monkeypatch):
    checkpoint = Checkpoint(tmp_path / "c.npz", IDENTITY)
    checkpoint.save(*_parts(model()), _state(1))

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(*_parts(model()), _state(2))
    assert checkpoint.restore(*_parts(model())).epochs == 1
    assert os.listdir(tmp_path) == ["c.npz"]


def test_a_removed_checkpoint_is_gone(saved):
    path, _ = saved
    Checkpoint(path, IDENTITY).remove()
    Checkpoint(path, IDENTITY).remove()
    assert os.listdir(path.parent) == []


def test_values_are_copies_that_later_ones_do_not_change():
    variable = keras.Variable(np.arange(3.0))
    values = values_of([variable])
    variable.assign(np.zeros(3))
    assert np.array_equal(values, [[0, 1, 2]])
    assign([variable], values)
    assert np.array_equal(keras.ops.convert_to_numpy(variable), [0, 1, 2])
    with pytest.raises(ValueError):
        assign([variable], [])
