from pathlib import Path

import pytest

from train.settings import Settings, SettingsError, check


def test_defaults_are_the_notebooks():
    settings = Settings("conv1d")
    values = (
        settings.n_folds,
        settings.n_epochs,
        settings.batch_size,
        settings.learning_rate,
        settings.patience,
    )
    assert values == (10, 50, 64, 1e-3, 5)
    assert (settings.seconds, settings.crops, settings.seed, settings.mfcc) == (2, 5, 1001, 40)


def test_predictions_lie_where_the_notebook_has_them():
    assert Settings("conv1d").predictions_path == Path("work/predictions_1d_conv")
    assert Settings("conv2d", work=Path("w")).predictions_path == Path("w/predictions_2d_conv")


def test_a_name_keeps_a_run_apart():
    assert Settings("conv1d", name="try").predictions_path == Path("work/try/predictions_1d_conv")


def test_quick_is_named_quick_unless_told_otherwise():
    assert Settings("conv1d", quick=True).predictions_path == Path("work/quick/predictions_1d_conv")
    assert Settings("conv1d", quick=True, name="a").predictions_path == Path("work/a/predictions_1d_conv")


def test_quick_has_one_epoch_and_two_folds_unless_told_otherwise():
    assert (Settings("conv1d", quick=True).n_folds, Settings("conv1d", quick=True).n_epochs) == (2, 1)
    assert Settings("conv1d", quick=True, folds=3, epochs=4).n_epochs == 4
    assert Settings("conv1d", quick=True, folds=3, epochs=4).n_folds == 3


def test_cache_is_in_the_work_folder_unless_told_otherwise():
    assert Settings("conv1d", work=Path("w")).cache_path == Path("w/cache")
    assert Settings("conv1d", cache=Path("c")).cache_path == Path("c")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"folds": 1}, r"--folds must be at least 2, one part is held out for validation, got 1"),
        ({"epochs": 0}, r"--epochs must be at least 1, got 0; see python -m train --help"),
        ({"epochs": -3}, r"--epochs must be at least 1, got -3"),
        ({"batch_size": 0}, r"--batch-size must be at least 1, got 0"),
        ({"crops": 0}, r"--crops must be at least 1, got 0"),
        ({"patience": -1}, r"--patience must be at least 0, got -1"),
        ({"seed": -1}, r"--seed must be at least 0, got -1"),
        ({"seed": 2**63}, r"--seed must be below 2\*\*63, got 9223372036854775808"),
        ({"limit": 0}, r"--limit must be at least 1, got 0"),
        ({"sr": 0}, r"--sr must be at least 1, got 0"),
        ({"mfcc": 0}, r"--mfcc must be at least 1, got 0"),
        ({"mfcc_sr": -1}, r"--mfcc-sr must be at least 1, got -1"),
        ({"learning_rate": 0.0}, r"--learning-rate must be a finite number above 0, got 0.0"),
        ({"learning_rate": float("nan")}, r"--learning-rate must be a finite number above 0, got nan"),
        ({"seconds": float("inf")}, r"--seconds must be a finite number above 0, got inf"),
        ({"seconds": -2.0}, r"--seconds must be a finite number above 0, got -2.0"),
        ({"fold": (0, -1)}, r"--fold must be at least 0, got -1"),
        ({"name": "../up"}, r"--name must be one plain folder name, got '../up'"),
        ({"name": ""}, r"--name must be one plain folder name, got ''"),
        ({"name": "/abs"}, r"--name must be one plain folder name, got '/abs'"),
        (
            {"folds": 5, "fold_column": "part"},
            r"--folds must be left out with --fold-column, got 5; the values of 'part' are the folds",
        ),
    ],
)
def test_wrong_values_are_refused_by_name(settings, message):
    with pytest.raises(SettingsError, match=message):
        check(Settings("conv1d", **settings))


def test_right_values_pass():
    check(Settings("conv1d"))
    check(Settings("conv2d", fold_column="fold", fold=(0, 3), patience=0, seed=0, limit=1, name="a b"))


def test_binding_settings_are_those_that_change_predictions():
    same = Settings("conv1d", name="x", work=Path("w"), cache=Path("c"), fold=(1,), force=True, mfcc=13)
    assert same.binding() == Settings("conv1d").binding()
    for change in (
        {"epochs": 3},
        {"seed": 2},
        {"crops": 1},
        {"limit": 9},
        {"verified_only": True},
        {"sr": 8000},
    ):
        assert Settings("conv1d", **change).binding() != Settings("conv1d").binding()


def test_binding_settings_do_not_care_whether_a_default_was_said():
    assert Settings("conv1d", folds=10, epochs=50).binding() == Settings("conv1d").binding()


def test_a_column_takes_the_place_of_folds_in_the_binding_settings():
    binding = Settings("conv1d", fold_column="part").binding()
    assert (binding["folds"], binding["fold_column"]) == (None, "part")
