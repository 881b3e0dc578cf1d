import numpy as np
import pytest
from sklearn.metrics import accuracy_score, top_k_accuracy_score

from ensemble.metrics import accuracy, best_labels, map3


@pytest.fixture
def predictions():
    rng = np.random.default_rng(7)
    return rng.dirichlet(np.ones(9), 500), rng.integers(0, 9, 500)


def test_accuracy_equals_scikit_learn(predictions):
    probabilities, labels = predictions
    expected = accuracy_score(labels, probabilities.argmax(axis=1))
    assert accuracy(probabilities, labels) == pytest.approx(expected, abs=1e-15)


def test_map3_equals_its_sum_of_scikit_learns_top_k_accuracies(predictions):
    """A hit at rank r scores 1/r, and its share is the step from top-(r-1) to top-r accuracy."""
    probabilities, labels = predictions
    first, second, third = (top_k_accuracy_score(labels, probabilities, k=k) for k in (1, 2, 3))
    expected = first + (second - first) / 2 + (third - second) / 3
    assert map3(probabilities, labels) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(("label", "score"), [(0, 1), (1, 1 / 2), (2, 1 / 3), (3, 0)])
def test_map3_scores_one_clip_by_the_rank_of_its_label(label, score):
    assert map3(np.array([[0.4, 0.3, 0.2, 0.1]]), np.array([label])) == score


def test_scores_with_two_labels():
    probabilities = np.array([[0.6, 0.4], [0.6, 0.4]])
    assert accuracy(probabilities, np.array([0, 1])) == 0.5
    assert map3(probabilities, np.array([0, 1])) == 0.75


def test_a_tie_counts_as_a_submission_writes_it():
    assert accuracy(np.array([[0.5, 0.5]]), np.array([0])) == 1
    assert accuracy(np.array([[0.5, 0.5]]), np.array([1])) == 0


def test_no_clips_score_nan():
    nothing = np.empty((0, 4)), np.empty(0, dtype=np.int64)
    assert np.isnan(accuracy(*nothing))
    assert np.isnan(map3(*nothing))


def test_best_label_comes_first():
    best = best_labels(np.array([[0.1, 0.4, 0.2, 0.3], [0.7, 0.1, 0.05, 0.15]]))
    assert best.tolist() == [[1, 3, 2], [0, 3, 1]]


def test_ties_keep_the_order_of_labels():
    assert best_labels(np.full((1, 41), 1 / 41)).tolist() == [[0, 1, 2]]
    assert best_labels(np.array([[0.2, 0.3, 0.2, 0.3]])).tolist() == [[1, 3, 0]]


def test_fewer_labels_than_asked_gives_all():
    assert best_labels(np.array([[0.4, 0.6]])).tolist() == [[1, 0]]
    assert best_labels(np.ones((2, 1))).tolist() == [[0], [0]]


def test_no_clips_give_no_rows():
    assert best_labels(np.empty((0, 5))).shape == (0, 3)


@pytest.mark.parametrize("score", [accuracy, map3])
def test_text_labels_and_arrays_of_other_lengths_are_refused(score):
    probabilities = np.array([[0.6, 0.4], [0.3, 0.7]])
    with pytest.raises(
        ValueError, match=r"labels_index must be label ids, integers of shape \(2,\), got <U4 of shape"
    ):
        score(probabilities, np.array(["Bark", "Bell"]))
    with pytest.raises(
        ValueError, match=r"integers of shape \(2,\), got int64 of shape \(3,\); folder\.labels_index"
    ):
        score(probabilities, np.array([0, 1, 1]))


@pytest.mark.parametrize("score", [accuracy, map3])
def test_clips_without_a_prediction_are_refused(score):
    probabilities = np.array([[0.6, 0.4], [np.nan, np.nan]])
    with pytest.raises(ValueError, match=r"must be numbers, got NaN in 1 of 2 rows; .* by folder\.scored"):
        score(probabilities, np.array([0, 1]))
