import dataclasses

import keras
import numpy as np
import pytest

from train.recipe import DEFAULT, NOTEBOOK
from train.steps import compile_model, learning_rate


def _model():
    x = keras.Input((4,))
    return keras.Model(x, keras.layers.Dense(3, activation="softmax")(x))


def _rates(n_steps, **changes):
    schedule = learning_rate(dataclasses.replace(DEFAULT, **changes), n_steps)
    return np.array([float(schedule(step)) for step in range(n_steps)])


def test_the_notebooks_loss_and_optimiser_are_plain_adam_compiled_on_jax_alone():
    model = _model()
    compile_model(model, dataclasses.replace(NOTEBOOK, learning_rate=2e-4), n_steps=10)
    assert isinstance(model.optimizer, keras.optimizers.Adam)
    assert float(model.optimizer.learning_rate) == pytest.approx(2e-4)
    assert (model.loss.label_smoothing, model.optimizer.use_ema) == (0, False)
    assert model.jit_compile == (keras.backend.backend() == "jax")


def test_the_default_smooths_labels_and_averages_weights():
    model = _model()
    compile_model(model, dataclasses.replace(DEFAULT, label_smoothing=0.2, averaging=0.9), n_steps=10)
    assert model.loss.label_smoothing == 0.2
    assert (model.optimizer.use_ema, model.optimizer.ema_momentum) == (True, 0.9)


def test_the_cosine_rises_to_the_learning_rate_and_falls_to_almost_nothing():
    rates = _rates(200, learning_rate=0.01, warmup=0.1)
    assert (np.diff(rates[:21]) > 0).all()
    assert (np.diff(rates[20:]) < 0).all()
    assert rates.max() == pytest.approx(0.01)
    assert 0 < rates[0] < 0.001 and 0 < rates[-1] < 1e-5
    assert rates[110] == pytest.approx(0.005, rel=1e-3)  # half-way down


@pytest.mark.parametrize("n_steps", [1, 2, 3])
@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.9])
def test_a_few_steps_have_a_finite_step_size(n_steps, warmup):
    rates = _rates(n_steps, warmup=warmup)
    assert np.isfinite(rates).all() and (rates >= 0).all() and rates.max() > 0


def test_a_constant_schedule_is_one_number():
    assert learning_rate(NOTEBOOK, 100) == 1e-3
