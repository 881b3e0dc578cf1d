"""Calibration: a temperature that was put in is found, and what is honest stays."""

import numpy as np
import pytest

from ensemble.calibration import (
    calibration_error,
    fit_temperature,
    reliability_table,
    tempered,
    tempered_out_of_fold,
)


def _honest(n_clips=8000, n_labels=5):
    """Probabilities, and targets that were drawn by them."""
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(n_labels, 0.5), n_clips)
    targets = (probabilities.cumsum(1) > rng.random((n_clips, 1))).argmax(1)
    return probabilities, targets


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_temperature_that_was_put_in_is_found(temperature):
    probabilities, targets = _honest()
    assert fit_temperature(tempered(probabilities, 1 / temperature), targets) == pytest.approx(
        temperature, rel=0.05
    )


def test_honest_probabilities_have_a_small_error_and_sharpened_ones_a_large():
    probabilities, targets = _honest()
    assert calibration_error(reliability_table(probabilities, targets)) < 0.02
    assert calibration_error(reliability_table(tempered(probabilities, 0.4), targets)) > 0.1


def test_temperature_out_of_fold_mends_what_was_sharpened():
    probabilities, targets = _honest()
    mended = tempered_out_of_fold(tempered(probabilities, 0.4), targets, np.arange(len(targets)) % 4)
    assert calibration_error(reliability_table(mended, targets)) < 0.03


def test_own_targets_have_no_part_in_a_folds_temperature():
    probabilities, targets = _honest(200)
    folds = np.arange(200) % 2
    other = np.where(folds == 0, (targets + 1) % 5, targets)
    one, two = (tempered_out_of_fold(probabilities, wanted, folds) for wanted in (targets, other))
    assert np.array_equal(one[folds == 0], two[folds == 0])
    assert not np.array_equal(one[folds == 1], two[folds == 1])


def test_clips_of_one_fold_are_halved():
    probabilities, targets = _honest(400)
    assert np.isfinite(tempered_out_of_fold(probabilities, targets, np.zeros(400, int))).all()


def test_order_of_guesses_stays_and_rows_sum_to_one():
    probabilities, _ = _honest(50)
    warmer = tempered(probabilities, 3)
    assert np.array_equal(warmer.argsort(1), probabilities.argsort(1))
    assert np.allclose(warmer.sum(1), 1)


def test_certainties_of_zero_and_one_do_not_break_it():
    probabilities = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert np.isfinite(fit_temperature(probabilities, np.array([0, 1, 1])))
