import numpy as np

from ensemble.ranking import best_labels


def test_best_label_comes_first():
    best = best_labels(np.array([[0.1, 0.4, 0.2, 0.3], [0.7, 0.1, 0.05, 0.15]]))
    assert best.tolist() == [[1, 3, 2], [0, 3, 1]]


def test_ties_keep_the_order_of_labels():
    assert best_labels(np.full((1, 41), 1 / 41)).tolist() == [[0, 1, 2]]
    assert best_labels(np.array([[0.2, 0.3, 0.2, 0.3]])).tolist() == [[1, 3, 0]]


def test_fewer_labels_than_asked_gives_all():
    assert best_labels(np.array([[0.4, 0.6]])).tolist() == [[1, 0]]
    assert best_labels(np.ones((2, 1))).tolist() == [[0], [0]]


def test_no_clips_gives_no_rows():
    assert best_labels(np.empty((0, 5))).shape == (0, 3)
