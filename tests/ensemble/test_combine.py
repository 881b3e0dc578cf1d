import numpy as np
import pandas as pd
import pytest

from ensemble import PredictionsError
from ensemble.combine import (
    combined_oof,
    combined_test_predictions,
    geometric_mean,
    refuse_misfits,
    refuse_unfinished,
)


@pytest.fixture
def two(tmp_path, make_predictions):
    """Two folders, of three folds and of two."""
    folds = np.array([0, 1] * 5 + [-1, 0])
    return [
        make_predictions(tmp_path / "one", seed=1),
        make_predictions(tmp_path / "two", seed=2, config={"n_folds": 2, "model": "conv2d"}, folds=folds),
    ]


def test_mean_of_one_array_is_the_array():
    array = np.random.default_rng(0).dirichlet(np.ones(5), 10)
    np.testing.assert_allclose(geometric_mean([(3.0, array)]), array, rtol=1e-14)


def test_mean_equals_product_and_root():
    arrays = np.random.default_rng(0).dirichlet(np.ones(41), (20, 50))
    mean = geometric_mean((1.0, array) for array in arrays)
    np.testing.assert_allclose(mean, arrays.prod(axis=0) ** (1 / 20), rtol=1e-12)


def test_weight_two_equals_giving_an_array_twice():
    one, two = np.random.default_rng(0).dirichlet(np.ones(5), (2, 10))
    expected = geometric_mean([(1, one), (1, two), (1, two)])
    np.testing.assert_allclose(geometric_mean([(1, one), (2, two)]), expected, rtol=1e-14)


def test_mean_is_right_where_the_product_underflows():
    """Twenty times 1e-30 and 1e-31: the product is zero for both, the mean is not."""
    arrays = [np.array([[1e-31, 1e-30]])] * 20
    assert (np.prod(arrays, axis=0) == 0).all()
    np.testing.assert_allclose(geometric_mean((1.0, array) for array in arrays), arrays[0], rtol=1e-12)


def test_no_zero_loses_a_row():
    """Every label is ruled out by some fold; the one that the others prefer comes first."""
    arrays = [np.array([[0, 0.4, 0.6]]), np.array([[0.9, 0, 0.1]]), np.array([[0.5, 0.5, 0]])]
    mean = geometric_mean((1.0, array) for array in arrays)
    assert (mean > 0).all()
    assert np.argsort(-mean[0]).tolist() == [0, 1, 2]


def test_all_zero_rows_of_many_folds_stay_finite_and_positive():
    mean = geometric_mean((1.0, np.array([[0.0, 1.0]])) for _ in range(100))
    assert mean[0, 0] == pytest.approx(np.finfo(np.float64).tiny, rel=1e-10)
    assert mean[0, 0] > 0
    assert mean[0, 1] == 1


def test_smallest_numbers_keep_their_order():
    tiny = np.finfo(np.float64).tiny
    mean = geometric_mean([(1.0, np.array([[4 * tiny, 2 * tiny, tiny]]))] * 7)
    assert mean[0, 0] > mean[0, 1] > mean[0, 2] > 0


def test_nan_stays_nan_in_its_row_alone():
    mean = geometric_mean([(1.0, np.array([[np.nan], [0.5]])), (0.0, np.array([[0.5], [0.5]]))])
    assert np.isnan(mean[0, 0])
    assert mean[1, 0] == pytest.approx(0.5)


def test_every_fold_of_every_folder_counts(two):
    arrays = [two[0].test_predictions(i) for i in range(3)] + [two[1].test_predictions(i) for i in range(2)]
    expected = np.prod(arrays, axis=0) ** (1 / 5)
    np.testing.assert_allclose(combined_test_predictions(two, [1, 1]), expected, rtol=1e-12)


def test_weights_are_per_folder(two):
    products = [np.prod([f.test_predictions(i) for i in f.finished], axis=0) for f in two]
    expected = (products[0] ** 0.5 * products[1] ** 3) ** (1 / (0.5 * 3 + 3 * 2))
    np.testing.assert_allclose(combined_test_predictions(two, [0.5, 3]), expected, rtol=1e-12)


@pytest.mark.parametrize("scale", [5e-324, 1e-300, 1e300, 8e307])
def test_only_the_ratio_of_weights_matters(two, scale):
    expected = combined_test_predictions(two, [1, 2])
    np.testing.assert_allclose(combined_test_predictions(two, [scale, 2 * scale]), expected, rtol=1e-12)


def test_weight_zero_leaves_a_folder_out(two):
    np.testing.assert_allclose(
        combined_test_predictions(two, [0, 1]), combined_test_predictions(two[1:], [1]), rtol=1e-12
    )


def test_oof_weighs_folders_by_their_folds_as_the_test_predictions_do(two):
    expected = (two[0].oof() ** 3 * two[1].oof() ** 2) ** (1 / 5)
    np.testing.assert_allclose(combined_oof(two, [1, 1]), expected, rtol=1e-12)


def test_oof_is_nan_where_any_folder_has_none(two):
    missing = np.isnan(combined_oof(two, [1, 1])).any(axis=1)
    assert missing.tolist() == [False] * 10 + [True, True]


def test_bad_predictions_are_refused(two):
    np.save(two[1].path / "test_predictions_1.npy", -np.ones((5, 4)))
    message = r"two/test_predictions_1\.npy: row 0 \(t0\.wav\) must be probabilities, got -1; remove finished_1"
    with pytest.raises(PredictionsError, match=message):
        combined_test_predictions(two, [1, 1])


def test_folders_of_one_dataset_fit(two):
    refuse_misfits(two)
    refuse_misfits(two[:1])


def _misfit(make_predictions, tmp_path, **changes):
    folders = [
        make_predictions(tmp_path / "a"),
        make_predictions(tmp_path / "b"),
        make_predictions(tmp_path / "c", **changes),
    ]
    with pytest.raises(PredictionsError) as refusal:
        refuse_misfits(folders)
    return str(refusal.value).replace(str(tmp_path), "")


def test_other_labels_are_refused(tmp_path, make_predictions):
    said = _misfit(make_predictions, tmp_path, labels=["Bell", "None", "Bark, loud", "Rain", "Saw"])
    assert said == (
        "/c: labels.json, row 4, must be nothing (of 4), got 'Saw' (of 5), unlike /a; "
        "combine only predictions of one dataset"
    )


def test_other_order_of_labels_is_refused(tmp_path, make_predictions):
    said = _misfit(make_predictions, tmp_path, labels=["None", "Bell", "Bark, loud", "Rain"])
    assert said.startswith("/c: order of labels.json, row 0, must be 'Bell', got 'None', unlike /a; ")


def test_other_test_clips_are_refused(tmp_path, make_predictions):
    said = _misfit(make_predictions, tmp_path, clips_test=pd.DataFrame({"fname": ["t0.wav", "x.wav"]}))
    assert said.startswith(
        "/c: fname of clips_test.csv, row 1, must be 't,1.wav' (of 5), got 'x.wav' (of 2), unlike /a; "
    )


def test_other_order_of_clips_is_refused(tmp_path, make_predictions, arguments):
    said = _misfit(make_predictions, tmp_path, clips_test=arguments()["clips_test"].iloc[[0, 2, 1, 3, 4]])
    assert said.startswith(
        "/c: order of fname of clips_test.csv, row 1, must be 't,1.wav', got 'None', unlike /a; "
    )


def test_other_label_of_a_clip_is_refused(tmp_path, make_predictions, arguments):
    clips = arguments()["clips_train"]
    clips.loc[7, "label"] = "Bell"
    said = _misfit(make_predictions, tmp_path, clips_train=clips)
    assert said.startswith("/c: label of clips_train.csv, row 7, must be 'Rain', got 'Bell', unlike /a; ")


def test_finished_folders_pass(two):
    refuse_unfinished(two)


def test_missing_folds_are_named(tmp_path, make_predictions):
    folders = [make_predictions(tmp_path / "a"), make_predictions(tmp_path / "b", finish=[1])]
    message = r"b: 2 of 3 folds are not finished \(0, 2\); train them, or combine the others with --partial$"
    with pytest.raises(PredictionsError, match=message):
        refuse_unfinished(folders)
