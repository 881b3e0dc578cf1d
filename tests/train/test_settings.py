import dataclasses
from pathlib import Path

import pytest

from train.recipe import DEFAULT, NOTEBOOK
from train.settings import Settings, SettingsError, check, settings_for


def test_defaults_are_those_of_the_default_recipe():
    settings = settings_for("conv1d")
    assert (settings.n_folds, settings.seed, settings.n_mfcc) == (10, 1001, 40)
    assert settings.recipe == Settings("conv1d").recipe == DEFAULT


def test_a_recipe_is_chosen_by_name_and_its_parts_by_theirs():
    settings = settings_for("conv1d", "notebook", crops=3, seed=7)
    assert settings.recipe == dataclasses.replace(NOTEBOOK, crops=3)
    assert (settings.preset, settings.seed) == ("notebook", 7)


def test_predictions_lie_where_the_notebook_has_them():
    assert settings_for("conv1d").predictions_path == Path("work/predictions_1d_conv")
    assert settings_for("conv2d", work=Path("w")).predictions_path == Path("w/predictions_2d_conv")


def test_a_name_keeps_a_run_apart():
    assert settings_for("conv1d", name="try").predictions_path == Path("work/try/predictions_1d_conv")


def test_quick_is_named_quick_unless_told_otherwise():
    assert settings_for("conv1d", quick=True).predictions_path == Path("work/quick/predictions_1d_conv")
    assert settings_for("conv1d", quick=True, name="a").predictions_path == Path("work/a/predictions_1d_conv")


def test_quick_has_one_epoch_and_two_folds_unless_told_otherwise():
    assert settings_for("conv1d", quick=True).n_folds == 2
    assert settings_for("conv1d", quick=True).recipe.n_epochs("conv1d", 320) == 1
    assert settings_for("conv1d", quick=True, folds=3, epochs=4).recipe.n_epochs("conv1d", 320) == 4
    assert settings_for("conv1d", quick=True, folds=3, epochs=4).n_folds == 3


def test_cache_is_in_the_work_folder_unless_told_otherwise():
    assert settings_for("conv1d", work=Path("w")).cache_path == Path("w/cache")
    assert settings_for("conv1d", cache=Path("c")).cache_path == Path("c")


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
        ({"learning_rate": 0.0}, r"--learning-rate must be above 0, got 0.0"),
        ({"learning_rate": float("nan")}, r"--learning-rate must be a finite number, got nan"),
        ({"seconds": float("inf")}, r"--seconds must be a finite number, got inf"),
        ({"seconds": -2.0}, r"--seconds must be above 0, got -2.0"),
        ({"mixup": -0.1}, r"--mixup must be at least 0, got -0.1"),
        ({"gain": float("inf")}, r"--gain must be a finite number, got inf"),
        ({"time_mask": 1.0}, r"--time-mask must be at least 0 and below 1, got 1.0"),
        ({"label_smoothing": -0.1}, r"--label-smoothing must be at least 0 and below 1, got -0.1"),
        ({"averaging": 1.0}, r"--averaging must be at least 0 and below 1, got 1.0"),
        ({"unverified_weight": 0.0}, r"--unverified-weight must be above 0, got 0.0"),
        ({"validate_every": 0}, r"--validate-every must be at least 1, got 0"),
        ({"logmel": 0}, r"--logmel must be at least 1, got 0"),
        ({"gain": 1000.0}, r"--gain must be at most 100, got 1000"),
        ({"mfcc": 20}, r"--mfcc must be left out for conv1d, which reads raw, got 20"),
        ({"logmel": 64}, r"--logmel must be left out for conv1d, which reads raw, got 64"),
        ({"mfcc_sr": 8000}, r"--mfcc-sr must be left out for conv1d, which reads raw, got 8000"),
        ({"features": "mfcc"}, r"--features must be raw, which is what conv1d reads, got mfcc"),
        (
            {"patience": 3},
            r"--patience must be None with --schedule cosine, which runs to its end, got 3; give --patience None, or",
        ),
        (
            {"group_by": "source", "fold_column": "part"},
            r"--group-by must be left out with --fold-column, got source; the values of 'part' are the folds",
        ),
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
        check(settings_for("conv1d", **settings))


def test_right_values_pass():
    check(settings_for("conv1d"))
    check(
        settings_for(
            "conv2d", fold_column="fold", fold=(0, 3), patience=0, schedule="constant", seed=0, limit=1, name="a b"
        )
    )


def test_binding_settings_are_those_that_change_predictions():
    same = settings_for("conv1d", name="x", work=Path("w"), cache=Path("c"), fold=(1,), force=True, mfcc=13)
    assert same.binding() == settings_for("conv1d").binding()
    for change in (
        {"epochs": 3},
        {"seed": 2},
        {"crops": 1},
        {"limit": 9},
        {"verified_only": True},
        {"sr": 8000},
    ):
        assert settings_for("conv1d", **change).binding() != settings_for("conv1d").binding()


def test_binding_settings_do_not_care_whether_a_default_was_said():
    assert settings_for("conv1d", folds=10, features="raw").binding() == settings_for("conv1d").binding()


def test_a_column_takes_the_place_of_folds_in_the_binding_settings():
    binding = settings_for("conv1d", fold_column="part").binding()
    assert (binding["folds"], binding["fold_column"]) == (None, "part")


def test_what_other_kinds_of_feature_alone_read_does_not_bind():
    frames = settings_for("conv2d", sr=8000, polarity=False, band_mask=0.5)
    assert frames.binding() == settings_for("conv2d").binding()
    assert settings_for("conv2d", features="logmel").binding() != settings_for("conv2d").binding()
    assert settings_for("conv2d", "notebook").binding()["recipe"] == "notebook"
