import random

import keras
import numpy as np
import pytest

from train.moments import Moments
from train.settings import settings_for
from train.workshop import Workshop

MOMENTS = Moments(np.arange(20.0), np.arange(1.0, 21.0))
OTHERS = Moments(np.arange(20.0) + 7, np.arange(1.0, 21.0) + 3)


def _values(model):
    return [keras.ops.convert_to_numpy(v) for v in [*model.variables, *model.optimizer.variables]]


def _compiled(workshop, seed=1, moments=MOMENTS, n_steps=10, **changes):
    settings = settings_for("conv2d", **changes)
    net = workshop.net(settings, (16, 20), 3, moments, seed)
    return workshop.compiled(net, settings, n_steps)


@pytest.mark.parametrize("changes", [{}, {"averaging": 0.0, "schedule": "constant"}])
def test_a_model_that_was_trained_begins_again_as_one_just_made(changes):
    random, workshop = np.random.default_rng(0), Workshop()
    first = _compiled(workshop, seed=5, **changes)
    for _ in range(3):
        first.train_on_batch(random.normal(size=(4, 16, 20)), np.eye(3)[[0, 1, 2, 0]])
    again = _compiled(workshop, seed=2, moments=OTHERS, **changes)
    assert again is first
    new = _compiled(Workshop(), seed=2, moments=OTHERS, **changes)
    for found, expected in zip(_values(again), _values(new), strict=True):
        assert np.array_equal(found, expected)


def test_what_is_compiled_otherwise_is_another_model():
    workshop = Workshop()
    first = _compiled(workshop)
    assert _compiled(workshop, n_steps=11) is not first
    assert _compiled(workshop, learning_rate=0.1) is not first
    assert _compiled(workshop, precision="bfloat16") is not first
    assert _compiled(workshop) is first


@pytest.mark.parametrize("model", ["conv1d", "conv2d", "mobilenet"])
def test_weights_come_from_the_seed_alone(model):
    shape, settings = (2000, 1) if model == "conv1d" else (64, 40), settings_for(model)
    random.seed(1)
    one = Workshop().net(settings, shape, 3, None, seed=5)
    random.seed(2)  # as another thread may leave it
    same, other = Workshop().net(settings, shape, 3, None, 5), Workshop().net(settings, shape, 3, None, 6)
    kernels = [
        [keras.ops.convert_to_numpy(w) for w in net.trainable_weights if w.name == "kernel"]
        for net in (one, same, other)
    ]
    assert len(kernels[0]) >= 4
    for a, b, c in zip(*kernels, strict=True):
        assert np.array_equal(a, b) and not np.array_equal(a, c)
    assert len({kernel.tobytes() for kernel in kernels[0]}) == len(kernels[0])
    assert sum(kernel.size for kernel in kernels[0]) > 0.9 * sum(np.prod(w.shape) for w in one.trainable_weights)
