import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from ensemble import PredictionsError
from ensemble.combine import combined_oof, geometric_mean
from ensemble.metrics import map3
from ensemble.optimise import advice, fit_shares, optimise

N_CLIPS, N_LABELS = 240, 6
TARGETS = np.arange(N_CLIPS) % N_LABELS
FOLDS = np.arange(N_CLIPS) // N_LABELS % 3


def predictions(signal, sureness=1.0, seed=0):
    """Probabilities that are right the more often the higher the signal is."""
    noise = np.random.default_rng(seed).normal(size=(N_CLIPS, N_LABELS))
    return softmax(sureness * (signal * np.eye(N_LABELS)[TARGETS] + noise), axis=1)


@pytest.fixture
def make_folder(tmp_path, make_predictions, result):
    """A function that makes a folder whose out-of-fold predictions are given: name, predictions, folds, finish."""

    def make(name, oof, folds=FOLDS, finish=(0, 1, 2), targets=TARGETS):
        labels = [f"label {i}" for i in range(N_LABELS)]
        fnames = [f"{i}.wav" for i in range(N_CLIPS)]
        clips = pd.DataFrame({"fname": fnames, "label": [labels[i] for i in targets]})
        about = {"labels": labels, "clips_train": clips, "folds": folds, "reasons": [""] * N_CLIPS}
        folder = make_predictions(tmp_path / name, finish=[], **about)
        for fold in finish:
            folder.write_fold(fold, oof, np.full((5, N_LABELS), 1 / N_LABELS), dict(result))
        return folder

    return make


def test_shares_are_those_of_the_least_log_loss():
    """Found by trying all of them, each at many temperatures."""
    given = [predictions(2.0, seed=1), predictions(1.0, seed=2)]
    logs = np.log(given)

    def loss(share):
        mixed = share * logs[0] + (1 - share) * logs[1]
        every = [softmax(scale * mixed, axis=1)[np.arange(N_CLIPS), TARGETS] for scale in np.geomspace(0.2, 5, 60)]
        return min(-np.log(each).mean() for each in every)

    tried = np.linspace(0, 1, 101)
    best = tried[np.argmin([loss(share) for share in tried])]
    shares = fit_shares(given, TARGETS)
    assert shares.sum() == pytest.approx(1) and 0.5 < best < 1
    assert shares[0] == pytest.approx(best, abs=0.02)


def test_a_net_that_is_sure_of_itself_gets_no_more_for_it():
    """What is as good at half the temperature has half the share."""
    given = [predictions(1.5, sureness=2, seed=1), predictions(1.5, sureness=1, seed=2)]
    plain = fit_shares([predictions(1.5, seed=1), given[1]], TARGETS)
    ratio = np.divide(*fit_shares(given, TARGETS))
    assert ratio == pytest.approx(plain[0] / plain[1] / 2, rel=0.02)


def test_shares_are_equal_where_every_prediction_is_worse_than_none():
    wrong = np.roll(predictions(5.0), 1, axis=1)
    assert fit_shares([wrong, wrong, wrong], TARGETS).tolist() == [1 / 3] * 3


def test_predictions_that_are_never_wrong_and_zeros_give_finite_shares():
    sure = np.eye(N_LABELS)[TARGETS]
    assert np.isfinite(fit_shares([sure, sure, predictions(1.0)], TARGETS)).all()
    assert fit_shares([sure, np.roll(sure, 1, axis=1)], TARGETS) == pytest.approx([1, 0])


def test_weights_count_folds_as_the_ensemble_does(make_folder):
    """A folder with a third of the folds needs three times the weight for the same share."""
    oof = predictions(1.5, seed=1), predictions(1.5, seed=2)
    scored = np.flatnonzero(FOLDS == 0)
    folders = make_folder("a", oof[0]), make_folder("b", oof[1], finish=[0])
    shares = fit_shares([each[scored] for each in oof], TARGETS[scored])
    weights, _ = optimise(folders)
    assert sum(weights) == pytest.approx(1, abs=1e-3)
    assert weights[1] / weights[0] == pytest.approx(3 * shares[1] / shares[0], rel=1e-2)


def test_each_fold_is_combined_by_weights_of_the_others(make_folder):
    oof = predictions(1.8, seed=1), predictions(1.0, seed=2)
    weights, held_out = optimise([make_folder("a", oof[0]), make_folder("b", oof[1])])
    for fold in range(3):
        own = fold == FOLDS
        shares = fit_shares([each[~own] for each in oof], TARGETS[~own])
        expected = geometric_mean(zip(shares, [each[own] for each in oof], strict=True))
        np.testing.assert_allclose(held_out[own], expected)
    assert weights == pytest.approx(fit_shares(oof, TARGETS), abs=1e-4)


def test_labels_of_a_fold_play_no_part_in_its_own_predictions(make_folder):
    oof = predictions(1.8, seed=1), predictions(1.0, seed=2)
    held_out = optimise([make_folder("a", oof[0]), make_folder("b", oof[1])])[1]
    first = FOLDS == 0
    targets = np.where(first, TARGETS[::-1], TARGETS)
    other = optimise([make_folder(name, each, targets=targets) for name, each in zip("cd", oof, strict=True)])[1]
    np.testing.assert_array_equal(held_out[first], other[first])
    assert (held_out[~first] != other[~first]).any()


def test_folders_of_different_folds_are_split_by_label_and_always_the_same(make_folder):
    oof = predictions(1.8, seed=1), predictions(1.0, seed=2)
    folders = make_folder("a", oof[0]), make_folder("b", oof[1], folds=FOLDS[::-1].copy())
    weights, held_out = optimise(folders)
    assert np.isfinite(held_out).all()
    np.testing.assert_array_equal(held_out, optimise(folders)[1])
    assert weights == pytest.approx(fit_shares(oof, TARGETS), abs=1e-4)
    plain = optimise([folders[0], make_folder("c", oof[1])])
    assert plain[0] == weights and (plain[1] != held_out).any()


def test_a_single_fold_is_split_too_and_clips_that_a_folder_does_not_score_are_left_out(make_folder):
    one = make_folder("a", predictions(1.8, seed=1), finish=[0, 1])
    two = make_folder("b", predictions(1.0, seed=2), finish=[1, 2])
    _, held_out = optimise([one, two])
    np.testing.assert_array_equal(np.isfinite(held_out).all(axis=1), FOLDS == 1)


def test_nothing_to_fit_on_is_refused(make_folder):
    folders = [make_folder(str(fold), predictions(1.0), finish=[fold]) for fold in (0, 1)]
    with pytest.raises(PredictionsError) as refusal:
        optimise(folders)
    assert str(refusal.value) == (
        "--optimise needs at least 2 training clips that every folder scores, got 0; train the same folds of each"
    )


def test_advice_says_which_weights_score_higher(make_folder):
    folder = make_folder("a", good := predictions(2.0))
    bad = predictions(1.0)
    high, low = (f"{map3(each, TARGETS):.4f}" for each in (good, bad))
    line = "optimised: --weights 0.75 0.25"
    said = f"optimised weights score higher than equal ones: MAP@3 {high} against {low}"
    assert advice(folder, [0.75, 0.25], bad, good) == [line, said]
    said = f"equal weights score higher: MAP@3 {high} against {low}; leave --optimise out"
    assert advice(folder, [0.75, 0.25], good, bad) == [line, said]
    assert advice(folder, [1, 0], good, good) == [
        "optimised: --weights 1 0",
        f"optimised and equal weights score the same: MAP@3 {high}",
    ]


def test_a_good_net_beside_a_bad_one_is_found_honestly(make_folder):
    folders = make_folder("a", predictions(2.0, seed=1)), make_folder("b", predictions(0.2, seed=2))
    weights, held_out = optimise(folders)
    assert weights[0] > 0.8
    assert map3(held_out, TARGETS) > map3(combined_oof(folders, [1, 1]), TARGETS)
