"""Scores: against the ensemble's own, and against a bootstrap that draws clips."""

import numpy as np

from ensemble.metrics import map3
from report.scores import average_precision_3, label_scores, mean_interval


def _predictions(n_clips=300, n_labels=7):
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(n_labels), n_clips).round(1)  # rounded: there are ties
    return probabilities, rng.integers(0, n_labels, n_clips)


def test_mean_precision_is_the_ensembles_map3_ties_included():
    probabilities, targets = _predictions()
    assert np.isclose(average_precision_3(probabilities, targets).mean(), map3(probabilities, targets))


def test_interval_is_that_of_drawing_clips_with_replacement():
    values = average_precision_3(*_predictions())
    rng = np.random.default_rng(1)
    means = values[rng.integers(0, len(values), (4000, len(values)))].mean(1)
    assert np.allclose(mean_interval(values), [values.mean(), *np.quantile(means, [0.025, 0.975])], atol=0.005)


def test_interval_of_no_clips_is_nan():
    assert np.isnan(mean_interval(np.zeros(0))).all()


def test_label_scores_are_those_of_scikit_learn():
    from sklearn.metrics import precision_recall_fscore_support

    probabilities, targets = _predictions()
    labels = [f"label {i}" for i in range(7)]
    table = label_scores(probabilities, targets, labels).set_index("label").loc[labels]
    wanted = precision_recall_fscore_support(targets, probabilities.argmax(1), labels=range(7))
    for name, values in zip(("precision", "recall", "f1", "clips"), wanted, strict=True):
        assert np.allclose(table[name], values), name


def test_label_that_is_never_given_or_guessed_has_no_score():
    table = label_scores(np.array([[0.9, 0.1, 0.0]]), np.array([0]), ["a", "b", "c"]).set_index("label")
    assert table.loc["a", "f1"] == 1
    assert table.loc["c", ["precision", "recall", "f1", "map3"]].isna().all()
