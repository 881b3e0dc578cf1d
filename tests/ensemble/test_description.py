import json

import numpy as np
import pandas as pd
import pytest

from ensemble.description import (
    binding_differences,
    dataset_difference,
    describe,
    read_description,
    write_description,
)
from ensemble.errors import PredictionsError


@pytest.fixture
def written(tmp_path, arguments):
    """A folder with descriptive files only."""
    write_description(tmp_path, describe(**arguments()))
    return tmp_path


def _differences(arguments, **changes):
    return [str(d) for d in binding_differences(describe(**arguments()), describe(**arguments(**changes)))]


def _clips(arguments, split, change):
    clips = arguments()[f"clips_{split}"].copy()
    return {f"clips_{split}": change(clips)}


def test_description_comes_back_as_written(written, arguments):
    expected, read = describe(**arguments()), read_description(written)
    assert (read.labels, read.config) == (expected.labels, expected.config)
    assert read.reasons.tolist() == expected.reasons.tolist() == [""] * 11 + ["empty"]
    pd.testing.assert_frame_equal(read.clips_train, expected.clips_train)
    pd.testing.assert_frame_equal(read.clips_test, expected.clips_test)
    np.testing.assert_array_equal(read.folds, expected.folds)
    assert read.folds.dtype == np.int64
    assert dataset_difference(expected, read) is None
    assert binding_differences(expected, read) == []


def test_files_are_what_people_read(written):
    assert json.loads((written / "labels.json").read_text()) == ["Bell", "None", "Bark, loud", "Rain"]
    assert (written / "clips_train.csv").read_text().splitlines()[:4] == [
        "fname,label", "00.wav,Bell", "01.wav,None", '02.wav,"Bark, loud"',
    ]  # fmt: skip
    assert (written / "clips_test.csv").read_text(encoding="utf-8").splitlines()[:3] == [
        "fname",
        "t0.wav",
        '"t,1.wav"',
    ]
    lines = (written / "folds.csv").read_text().splitlines()
    assert lines[:2] == ["fname,fold,reason", "00.wav,0,"]
    assert lines[-1] == "11.wav,,empty"
    assert json.loads((written / "config.json").read_text())["settings"]["learning_rate"] == 0.001


def test_label_none_survives(written):
    assert read_description(written).clips_train["label"][1] == "None"
    assert read_description(written).clips_test["fname"][2] == "None"


def test_no_test_clips_survive(tmp_path, arguments):
    write_description(tmp_path, describe(**arguments(clips_test=pd.DataFrame({"fname": []}))))
    assert read_description(tmp_path).clips_test.shape == (0, 1)


def test_clips_may_come_with_any_index(arguments):
    plain, table = describe(**arguments()), arguments()["clips_train"]
    indexed = describe(**arguments(clips_train=table.set_axis(range(50, 62))))
    assert dataset_difference(plain, indexed) is None


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", [], r"config\.json: file must hold a JSON object, got a list"),
        ("config.json", {"model": "x"}, r"config\.json: format_version must be 1, got None; use the version"),
        (
            "config.json",
            {"format_version": 2},
            r"config\.json: format_version must be 1, got 2; use the version",
        ),
        ("config.json", {"format_version": 1}, r"config\.json: model must be a text, got None; train into"),
        (
            "labels.json",
            {"a": 1},
            r"labels\.json: file must hold a list of labels, got an object; train into",
        ),
        ("labels.json", [], r"labels\.json: file must hold a list of labels, got a list without them"),
        ("labels.json", 5, r"labels\.json: file must hold a list of labels, got 5; train into"),
        (
            "labels.json",
            ["a", "b", "a"],
            r"labels\.json: labels must be different, got 'a' twice; train into",
        ),
        (
            "labels.json",
            ["Bell", "Rain"],
            r"clips_train\.csv: label, row 1, must be one of labels\.json, got 'None'",
        ),
    ],
)
def test_json_that_says_something_else_is_refused(written, file, content, message):
    (written / file).write_text(json.dumps(content))
    with pytest.raises(PredictionsError, match=message):
        read_description(written)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("n_folds", 0, r"n_folds must be a whole number, at least 1, got 0"),
        ("n_folds", True, r"n_folds must be a whole number, at least 1, got True"),
        ("n_parameters", "many", r"n_parameters must be a whole number, at least 0, got 'many'"),
    ],
)
def test_impossible_counts_are_refused(written, key, value, message):
    config = json.loads((written / "config.json").read_text())
    (written / "config.json").write_text(json.dumps({**config, key: value}))
    with pytest.raises(PredictionsError, match=message):
        read_description(written)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "01.wav,1,",
            "x.wav,1,",
            r"folds\.csv: fname, row 1, must be '01\.wav', got 'x\.wav', unlike clips_train",
        ),
        (
            "11.wav,,empty\n",
            "",
            r"folds\.csv: fname, row 11, must be '11\.wav' \(of 12\), got nothing \(of 11\)",
        ),
        ("01.wav,1,", "01.wav,3,", r"folds\.csv: fold, row 1, must be 0 to 2 or empty, got '3'; train into"),
        (
            "01.wav,1,",
            "01.wav,one,",
            r"folds\.csv: fold, row 1, must be 0 to 2 or empty, got 'one'; train into",
        ),
    ],
)
def test_folds_that_do_not_fit_are_refused(written, old, new, message):
    text = (written / "folds.csv").read_text()
    (written / "folds.csv").write_text(text.replace(old, new))
    with pytest.raises(PredictionsError, match=message):
        read_description(written)


def test_every_differing_setting_is_named(arguments):
    settings = {"learning_rate": 0.01, "crops": 5, "seconds": 3}
    said = _differences(arguments, config={"settings": settings, "seed": 7})
    assert said == ["learning_rate must be 0.001, got 0.01", "seconds must be 2.0, got 3"]


def test_seed_model_and_folds_are_binding(arguments):
    said = _differences(arguments, config={"seed": 7, "model": "conv2d", "n_folds": 10})
    assert said == [
        "model must be 'conv1d', got 'conv2d'",
        "n_folds must be 3, got 10",
        "seed must be 1001, got 7",
    ]


def test_parameters_and_stores_are_binding(arguments):
    store = {"name": "raw-16000.zarr", "checksum": "abd"}
    said = _differences(arguments, config={"stores": [store], "n_parameters": 5})
    assert said == ["n_parameters must be 360513, got 5", "stores.0.checksum must be 'abc', got 'abd'"]


def test_versions_revision_and_the_rest_may_differ(arguments):
    changed = {"versions": {"keras": "4"}, "git_revision": "f", "started": "today", "format_version": 1}
    assert _differences(arguments, config=changed) == []


def test_changed_clips_are_named_before_what_follows_from_them(arguments):
    def relabelled(clips):
        return clips.assign(label=[*clips["label"][:5], "Rain", *clips["label"][6:]])

    change = _clips(arguments, "train", relabelled)
    said = _differences(arguments, **change, folds=np.zeros(12), config={"stores": [{"name": "other"}]})
    assert said == ["clip of clips_train.csv, row 5, must be '05.wav (None)', got '05.wav (Rain)'"]


def test_changed_fold_is_named(arguments):
    folds = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, -1, 1]
    assert _differences(arguments, folds=folds) == [
        "clip of folds.csv, row 10, must be '10.wav (fold 1)', got '10.wav (no fold)'"
    ]


@pytest.mark.parametrize(
    ("split", "change", "message"),
    [
        (
            "train",
            lambda c: c.iloc[::-1],
            "order of fname of clips_train.csv, row 0, must be '00.wav', got '11.wav'",
        ),
        (
            "train",
            lambda c: c.drop(3),
            "fname of clips_train.csv, row 3, must be '03.wav' (of 12), got '04.wav' (of 11)",
        ),
        (
            "test",
            lambda c: c.iloc[:0],
            "fname of clips_test.csv, row 0, must be 't0.wav' (of 5), got nothing (of 0)",
        ),
        ("test", lambda c: c.replace("None", "n"), "fname of clips_test.csv, row 2, must be 'None', got 'n'"),
    ],
)
def test_dataset_difference_names_the_row(arguments, split, change, message):
    changed = describe(**arguments(**_clips(arguments, split, change)))
    assert str(dataset_difference(describe(**arguments()), changed)) == message


def test_dataset_difference_names_the_label(arguments):
    changed = describe(**arguments(labels=["Bell", "Bark, loud", "None", "Rain"]))
    said = str(dataset_difference(describe(**arguments()), changed))
    assert said == "order of labels.json, row 1, must be 'None', got 'Bark, loud'"


def test_difference_in_settings_alone_is_none_in_the_dataset(arguments):
    changed = describe(**arguments(config={"seed": 5}, folds=np.zeros(12)))
    assert dataset_difference(describe(**arguments()), changed) is None
