"""Suspected labels: those that were made wrong are found; against the method as its paper writes it."""

import numpy as np

from report.suspects import suspects

LABELS = list("abcdef")


def _noisy(n_clips=600, n_wrong=40):
    rng = np.random.default_rng(0)
    right = rng.integers(0, 6, n_clips)
    given = right.copy()
    wrong = rng.choice(n_clips, n_wrong, replace=False)
    given[wrong] = (right[wrong] + rng.integers(1, 6, n_wrong)) % 6
    scores = rng.normal(size=(n_clips, 6))
    scores[np.arange(n_clips), right] += 4
    probabilities = np.exp(scores)
    return probabilities / probabilities.sum(1, keepdims=True), given, wrong


def test_labels_that_were_made_wrong_are_found():
    probabilities, given, wrong = _noisy()
    found = suspects(probabilities, given, [str(i) for i in range(600)], LABELS)
    hits = np.isin(found["row"], wrong)
    assert hits.mean() > 0.8 and hits.sum() > 0.8 * len(wrong)
    assert hits[:20].all()


def test_clips_that_the_paper_counts_with_confidence_are_among_them():
    """Clips whose given label differs from the one label that reaches its own mean confidence (equation 1)."""
    probabilities, given, _ = _noisy()
    thresholds = np.array([probabilities[given == label, label].mean() for label in range(6)])
    reached = np.where(probabilities >= thresholds, probabilities, -1)
    counted = np.flatnonzero((reached.max(1) > 0) & (reached.argmax(1) != given))
    found = set(suspects(probabilities, given, [""] * 600, LABELS)["row"])
    assert len(found & set(counted)) > 0.9 * len(counted)


def test_surest_come_first_and_suggestion_is_the_first_guess():
    probabilities, given, _ = _noisy()
    found = suspects(probabilities, given, [""] * 600, LABELS)
    assert found["score"].is_monotonic_decreasing and (found["score"] > 0).all()
    assert [LABELS.index(label) for label in found["suggested"]] == probabilities[found["row"]].argmax(1).tolist()


def test_one_label_has_no_suspects():
    assert suspects(np.ones((9, 1)), np.zeros(9, int), [""] * 9, ["a"]).empty


def test_label_without_clips_is_no_trouble():
    probabilities, given, _ = _noisy()
    given[given == 5] = 0
    assert "f" not in set(suspects(probabilities, given, [""] * 600, LABELS)["label"])
