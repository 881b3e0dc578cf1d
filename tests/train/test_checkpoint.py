import os

import keras
import numpy as np
import pytest

from train.checkpoint import Checkpoint, replacing
from train.standing import Standing

IDENTITY = {"seed": 1}


@pytest.fixture
def model():
    """A function that makes a model with everything an optimiser may keep, after some steps."""

    def make(steps=0, units=3):
        keras.utils.set_random_seed(1)
        x = keras.Input((4,))
        y = keras.layers.Dense(units, activation="softmax")(keras.layers.BatchNormalization()(x))
        model = keras.Model(x, y)
        schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
        model.compile(keras.optimizers.Adam(schedule, use_ema=True), "categorical_crossentropy")
        model.optimizer.build(model.trainable_variables)
        random = np.random.default_rng(0)
        for _ in range(steps):
            model.train_on_batch(random.normal(size=(8, 4)), np.eye(units)[random.integers(0, units, 8)])
        return model

    return make


def _values(model):
    return [keras.ops.convert_to_numpy(v) for v in [*model.variables, *model.optimizer.variables]]


def _parts(model):
    return model, model.optimizer


def test_a_checkpoint_brings_back_model_optimiser_and_standing(model, tmp_path):
    trained, standing = model(steps=3), Standing(2, 1.5, 0.25, 1, 1, [{"epoch": 1, "loss": 2.0}])
    Checkpoint(tmp_path / "c.npz", IDENTITY).save(*_parts(trained), standing)
    fresh = model()
    assert Checkpoint(tmp_path / "c.npz", IDENTITY).restore(*_parts(fresh)) == standing
    for found, expected in zip(_values(fresh), _values(trained), strict=True):
        assert np.array_equal(found, expected)
    assert int(fresh.optimizer.iterations) == 3


def test_no_checkpoint_is_a_beginning(model, tmp_path):
    assert Checkpoint(tmp_path / "c.npz", IDENTITY).restore(*_parts(model())) == Standing()


@pytest.mark.parametrize("content", [b"", b"PK no zip", b"x" * 1000])
def test_a_damaged_checkpoint_is_a_beginning(model, tmp_path, content):
    (tmp_path / "c.npz").write_bytes(content)
    assert Checkpoint(tmp_path / "c.npz", IDENTITY).restore(*_parts(model())) == Standing()


def test_half_a_checkpoint_is_a_beginning(model, tmp_path):
    Checkpoint(tmp_path / "c.npz", IDENTITY).save(*_parts(model()), Standing(1))
    content = (tmp_path / "c.npz").read_bytes()
    (tmp_path / "c.npz").write_bytes(content[: len(content) // 2])
    assert Checkpoint(tmp_path / "c.npz", IDENTITY).restore(*_parts(model())) == Standing()


def test_a_checkpoint_of_other_settings_is_a_beginning(model, tmp_path):
    Checkpoint(tmp_path / "c.npz", IDENTITY).save(*_parts(model(steps=1)), Standing(1))
    fresh, untouched = model(), model()
    assert Checkpoint(tmp_path / "c.npz", {"seed": 2}).restore(*_parts(fresh)) == Standing()
    assert Checkpoint(tmp_path / "c.npz", IDENTITY).restore(*_parts(model(units=4))) == Standing()
    for found, expected in zip(_values(fresh), _values(untouched), strict=True):
        assert np.array_equal(found, expected)


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(model, tmp_path, monkeypatch):
    checkpoint = Checkpoint(tmp_path / "c.npz", IDENTITY)
    checkpoint.save(*_parts(model()), Standing(1))

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(*_parts(model()), Standing(2))
    assert checkpoint.restore(*_parts(model())).epochs == 1
    assert os.listdir(tmp_path) == ["c.npz"]


def test_a_removed_checkpoint_is_gone(model, tmp_path):
    checkpoint = Checkpoint(tmp_path / "c.npz", IDENTITY)
    checkpoint.save(*_parts(model()), Standing(1))
    checkpoint.remove()
    checkpoint.remove()
    assert os.listdir(tmp_path) == []


def test_a_file_is_replaced_when_it_is_whole(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(RuntimeError), replacing(tmp_path / "a.txt") as partial:
        partial.write_text("ne")
        raise RuntimeError
    assert (tmp_path / "a.txt").read_text() == "old"
    with replacing(tmp_path / "a.txt") as partial:
        partial.write_text("new")
    assert (tmp_path / "a.txt").read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]
