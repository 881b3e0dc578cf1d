from pathlib import Path
from types import SimpleNamespace

import pytest

from cache import CacheError, LogmelSpecification, MfccSpecification, RawSpecification
from train.recipe import NOTEBOOK
from train.settings import SettingsError, check, resolve, settings_for


class Cache:
    """A cache of some stores: their names and specifications."""

    def __init__(self, **stores):
        self.stores = {name.replace("_", "-") + ".zarr": specification for name, specification in stores.items()}
        self.kinds = {specification.kind for specification in stores.values()}

    def open_store(self, kind, store=None, **numbers):
        fitting = [
            SimpleNamespace(name=name, specification=specification)
            for name, specification in self.stores.items()
            if specification.kind == kind and (store == name or (store is None and _fits(specification, **numbers)))
        ]
        if len(fitting) != 1:
            raise CacheError(f"one store must fit, got {[store.name for store in fitting]}")
        return fitting[0]


def _fits(specification, n_mfcc=0, **numbers):
    enough = specification.kind != "mfcc" or specification.n_mfcc >= n_mfcc
    return enough and all(value in (None, getattr(specification, name)) for name, value in numbers.items())


ALL = {"raw_8000": RawSpecification(8000), "mfcc_40_8000": MfccSpecification(40, 8000)}
ALL["logmel_64_8000"] = LogmelSpecification(64, 8000)


def test_a_recipe_is_chosen_by_name_and_its_parts_by_theirs():
    settings = settings_for("conv1d", "notebook", crops=3, seed=7)
    assert settings.crops == 3 and settings.epochs == NOTEBOOK.epochs
    assert (settings.preset, settings.seed) == ("notebook", 7)


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({}, "work/predictions_1d_conv"),
        ({"work": Path("w")}, "w/predictions_1d_conv"),
        ({"name": "try"}, "work/try/predictions_1d_conv"),
        ({"quick": True}, "work/quick/predictions_1d_conv"),
        ({"quick": True, "name": "a"}, "work/a/predictions_1d_conv"),
    ],
)
def test_predictions_lie_where_the_notebook_has_them_below_the_name(values, path):
    assert settings_for("conv1d", **values).predictions_path == Path(path)


def test_quick_has_one_epoch_and_two_folds_unless_told_otherwise():
    quick, told = settings_for("conv1d", quick=True), settings_for("conv1d", quick=True, folds=3, epochs=4)
    assert (quick.n_folds, quick.n_epochs("conv1d", 320)) == (2, 1)
    assert (told.n_folds, told.n_epochs("conv1d", 320)) == (3, 4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"folds": 1}, r"--folds must be 2 to 10,000, got 1"),
        ({"epochs": 0}, r"--epochs must be 1 to 1,000,000, got 0; see python -m train --help"),
        ({"epochs": 10**30}, r"--epochs must be 1 to 1,000,000, got 10{30};"),
        ({"batch_size": 0}, r"--batch-size must be 1 to 65,536, got 0"),
        ({"crops": 100_000_000}, r"--crops must be 1 to 1,000, got 100000000"),
        ({"patience": -1}, r"--patience must be 0 to 1,000,000, got -1"),
        ({"seed": 2**63}, r"--seed must be 0 to 9,223,372,036,854,775,807, got 9223372036854775808"),
        ({"limit": 0}, r"--limit must be 1 to 1,000,000,000,000, got 0"),
        ({"sr": 10**12}, r"--sr must be 1 to 10,000,000, got 10{12}"),
        ({"n_mels": 0}, r"--n-mels must be 1 to 4,096, got 0"),
        ({"learning_rate": 0.0}, r"--learning-rate must be 1e-09 to 1,000, got 0.0"),
        ({"learning_rate": float("nan")}, r"--learning-rate must be 1e-09 to 1,000, got nan"),
        ({"seconds": 1e300}, r"--seconds must be 0.001 to 3,600, got 1e\+300"),
        ({"seconds": float("inf")}, r"--seconds must be 0.001 to 3,600, got inf"),
        ({"mixup": 1e308}, r"--mixup must be 0 to 100, got 1e\+308"),
        ({"gain": 1e9}, r"--gain must be 0 to 100, got 1000000000.0"),
        ({"gain": float("nan")}, r"--gain must be 0 to 100, got nan"),
        ({"time_mask": 1.0}, r"--time-mask must be 0 to 0.999999, got 1.0"),
        ({"unverified_weight": 0.0}, r"--unverified-weight must be 1e-06 to 1,000, got 0.0"),
        ({"fold": (0, -1)}, r"--fold must be 0 to 9,999, got -1"),
        ({"fold": (0, 10**30)}, r"--fold must be 0 to 9,999, got 10{30}"),
        ({"mfcc": 20}, r"--mfcc must be left out for conv1d, which reads raw, got 20"),
        ({"n_mels": 64}, r"--n-mels must be left out for conv1d, which reads raw, got 64"),
        ({"mfcc_sr": 8000}, r"--mfcc-sr must be left out for conv1d, which reads raw, got 8000"),
        ({"features": "mfcc"}, r"--features must be raw, which conv1d reads, got mfcc"),
        (
            {"patience": 3},
            r"--patience must be None with --schedule cosine, which runs to its end, got 3; give --patience None, or",
        ),
        (
            {"group_by": "source", "fold_column": "part"},
            r"--group-by must be left out with --fold-column, as the values of 'part' are the folds, got source",
        ),
        (
            {"folds": 5, "fold_column": "part"},
            r"--folds must be left out with --fold-column, as the values of 'part' are the folds, got 5",
        ),
        ({"name": "../up"}, r"--name must be one plain folder name, got '../up'"),
        ({"name": ""}, r"--name must be one plain folder name, got ''"),
        ({"name": "/abs"}, r"--name must be one plain folder name, got '/abs'"),
    ],
)
def test_wrong_values_are_refused_by_name(settings, message):
    with pytest.raises(SettingsError, match=message):
        check(settings_for("conv1d", **settings))


def test_right_values_pass():
    check(settings_for("conv1d"))
    check(
        settings_for("conv2d", n_mels=64, fold_column="fold", fold=(0, 3), patience=0, schedule="constant", seed=0)
    )


def test_binding_settings_are_those_that_change_predictions():
    same = settings_for("conv1d", name="x", work=Path("w"), cache="c", fold=(1,), force=True, mfcc=13)
    assert same.binding() == settings_for("conv1d").binding()
    assert settings_for("conv1d", folds=10, features="raw").binding() == same.binding()
    for name, value in {"epochs": 3, "seed": 2, "crops": 1, "limit": 9, "verified_only": True, "sr": 8000}.items():
        assert settings_for("conv1d", **{name: value}).binding() != same.binding()


def test_a_column_takes_the_place_of_folds_in_the_binding_settings():
    binding = settings_for("conv1d", fold_column="part").binding()
    assert (binding["folds"], binding["fold_column"]) == (None, "part")


def test_what_other_kinds_of_feature_alone_read_does_not_bind():
    frames = settings_for("conv2d", sr=8000, polarity=False, mfcc=13, features="logmel")
    assert frames.binding() == settings_for("conv2d").binding()
    assert settings_for("conv2d", features="mfcc").binding() != settings_for("conv2d").binding()


@pytest.mark.parametrize(
    ("preset", "values", "stores", "kind"),
    [
        ("default", {}, ALL, "logmel"),
        ("default", {}, {"mfcc_40_8000": ALL["mfcc_40_8000"]}, "mfcc"),
        ("default", {"mfcc": 40}, ALL, "mfcc"),
        ("default", {"features": "mfcc"}, ALL, "mfcc"),
        ("default", {"store": "mfcc-40-8000.zarr"}, ALL, "mfcc"),
        ("notebook", {}, ALL, "mfcc"),
        ("notebook", {}, {"logmel_64_8000": ALL["logmel_64_8000"]}, "logmel"),
        ("notebook", {"n_mels": 64}, ALL, "logmel"),
    ],
)
def test_features_are_resolved_against_the_cache(preset, values, stores, kind):
    settings, store = resolve(settings_for("conv2d", preset, **values), Cache(**stores))
    assert (settings.kind, settings.mfcc_sr, settings.store) == (kind, 8000, store.name)
    assert store.specification.kind == kind
    assert settings.n_mels == (64 if kind == "logmel" else values.get("n_mels"))


def test_settings_name_the_features_that_the_command_would_take():
    assert settings_for("conv2d").kind == settings_for("mobilenet").kind == "logmel"
    assert settings_for("conv2d", "notebook").kind == "mfcc"
    assert settings_for("conv1d").kind == settings_for("conv1d", "notebook").kind == "raw"


def test_settings_that_are_resolved_stay_as_they_are():
    cache = Cache(**ALL)
    settings, _ = resolve(settings_for("conv2d"), cache)
    assert resolve(settings, cache)[0] == settings
    assert settings.binding()["n_mels"] == 64 and "store" not in settings.binding()


def test_a_store_is_named_where_several_fit():
    cache = Cache(raw_8000=RawSpecification(8000), raw_8000_ab12=RawSpecification(8000))
    with pytest.raises(CacheError, match="one store must fit"):
        resolve(settings_for("conv1d"), cache)
    settings, store = resolve(settings_for("conv1d", store="raw-8000-ab12.zarr"), cache)
    assert settings.store == store.name == "raw-8000-ab12.zarr"


def test_a_store_that_the_net_does_not_read_is_refused():
    message = (
        r"--store must name a store of raw features for conv1d, got 'mfcc-40-8000.zarr'; see `python -m cache ls`"
    )
    with pytest.raises(SettingsError, match=message):
        resolve(settings_for("conv1d", store="mfcc-40-8000.zarr"), Cache(**ALL))


@pytest.mark.parametrize(
    ("model", "values", "message"),
    [
        ("conv1d", {"store": "raw-8000.zarr", "sr": 4000}, r"--sr must be 8000 for raw-8000.zarr, got 4000"),
        (
            "conv2d",
            {"store": "logmel-64-8000.zarr", "n_mels": 32},
            r"--n-mels must be 64 for logmel-64-8000.zarr, got 32",
        ),
        (
            "conv2d",
            {"store": "mfcc-40-8000.zarr", "mfcc": 50},
            r"--mfcc must be at most 40 for mfcc-40-8000.zarr, got 50",
        ),
    ],
)
def test_a_named_store_must_have_the_numbers_that_flags_ask_for(model, values, message):
    with pytest.raises(SettingsError, match=message):
        resolve(settings_for(model, **values), Cache(**ALL))


def test_a_scheduler_needs_dask(monkeypatch):
    monkeypatch.setattr("train.settings.find_spec", lambda name: None)
    with pytest.raises(
        SettingsError, match=r'--scheduler needs Dask, which is not installed; pip install "earmark'
    ):
        check(settings_for("conv1d", scheduler="tcp://127.0.0.1:1"))
