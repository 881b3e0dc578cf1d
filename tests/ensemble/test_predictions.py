import json
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from ensemble import PredictionsError, create_predictions, move_aside, open_predictions
from ensemble.metrics import accuracy, map3
from ensemble.predictions import (
    binding_differences,
    dataset_difference,
    folder_of,
    predictions_folders,
    read_description,
)
from ensemble.table import folder_row

ASIDE = "use the same ones, another --name, or --force, which moves this folder aside"
OTHER = {"settings": {"learning_rate": 0.1}}


def _bytes(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def _names(folder):
    return {path.name for path in folder.iterdir()} - {".lock"}


# making and opening


def test_created_folder_holds_the_description_alone(tmp_path, arguments):
    create_predictions(tmp_path / "deep" / "p", **arguments())
    names = {"labels.json", "clips_train.csv", "clips_test.csv", "folds.csv", "config.json"}
    assert _names(tmp_path / "deep" / "p") == names


def test_finished_folder_holds_the_notebooks_files_and_ours(tmp_path, make_predictions):
    make_predictions(tmp_path / "p", finish=[0])
    assert _names(tmp_path / "p") == {
        "labels.json", "clips_train.csv", "clips_test.csv", "folds.csv", "config.json", "finished_0.json",
        "train_predictions_0.npy", "test_predictions_0.npy", "predictions_0.csv", "oof_predictions.npy",
    }  # fmt: skip


def test_creating_again_opens_what_is_there(tmp_path, make_predictions, arguments):
    make_predictions(tmp_path / "p", finish=[1])
    before = _bytes(tmp_path / "p")
    folder = create_predictions(str(tmp_path / "p"), **arguments(config={"git_revision": "other"}))
    assert folder.finished == [1]
    assert folder.config["git_revision"] == "0123"
    assert _bytes(tmp_path / "p") == before


def test_a_creation_that_broke_off_is_completed(tmp_path, make_predictions, arguments):
    make_predictions(tmp_path / "p", finish=[])
    (tmp_path / "p" / "config.json").unlink()
    (tmp_path / "p" / "labels.json").write_text('["Be')
    assert create_predictions(tmp_path / "p", **arguments()).labels[0] == "Bell"
    assert (tmp_path / "p" / "config.json").exists()


def test_temporary_files_of_killed_writers_are_removed_unless_a_fold_is_being_trained(
    tmp_path, make_predictions, arguments
):
    folder = make_predictions(tmp_path / "p", finish=[0])
    left, of_a_user = folder.path / ".earmark-01234567-model_0.keras", folder.path / "mine.partial"
    left.touch()
    of_a_user.touch()
    with folder.holding(1):
        create_predictions(folder.path, **arguments())
        assert left.exists()
    create_predictions(folder.path, **arguments())
    assert not left.exists() and of_a_user.exists()


def test_changed_setting_is_refused_by_name(tmp_path, make_predictions, arguments):
    make_predictions(tmp_path / "p")
    before = _bytes(tmp_path / "p")
    changed = arguments(config={"settings": {"learning_rate": 0.1, "seconds": 2.0}})
    with pytest.raises(PredictionsError) as refusal:
        create_predictions(tmp_path / "p", **changed)
    assert str(refusal.value) == (
        f"{tmp_path}/p: this folder was begun with other settings or clips: learning_rate must be 0.001, got 0.1 "
        f"and crops must be 5, got nothing; {ASIDE}"
    )
    assert _bytes(tmp_path / "p") == before


@pytest.mark.parametrize("name", ["checkpoint_0.npz", "finished_0.json"])
def test_what_is_begun_is_not_lost_to_other_settings(tmp_path, make_predictions, arguments, name):
    make_predictions(tmp_path / "p", finish=[])
    (tmp_path / "p" / name).touch()
    before = _bytes(tmp_path / "p")
    with pytest.raises(PredictionsError, match=r"learning_rate must be 0\.001, got 0\.1"):
        create_predictions(tmp_path / "p", **arguments(config=OTHER))
    assert _bytes(tmp_path / "p") == before


def test_a_fold_in_training_is_not_lost_to_other_settings(tmp_path, make_predictions, arguments):
    folder = make_predictions(tmp_path / "p", finish=[])
    with folder.holding(0), pytest.raises(PredictionsError, match=r"learning_rate must be 0\.001, got 0\.1"):
        create_predictions(tmp_path / "p", **arguments(config=OTHER))
    assert create_predictions(tmp_path / "p", **arguments(config=OTHER)).config["settings"] == OTHER["settings"]


def test_a_damaged_description_is_replaced_where_nothing_needs_it(tmp_path, make_predictions, arguments):
    make_predictions(tmp_path / "p", finish=[])
    (tmp_path / "p" / "labels.json").write_text("[")
    assert create_predictions(tmp_path / "p", **arguments()).finished == []
    (tmp_path / "p" / "labels.json").write_text("[")
    (tmp_path / "p" / "checkpoint_0.npz").touch()
    with pytest.raises(PredictionsError, match=r"labels\.json"):
        create_predictions(tmp_path / "p", **arguments())


def test_changed_clips_are_refused_by_row(tmp_path, make_predictions, arguments):
    make_predictions(tmp_path / "p")
    clips = pd.DataFrame({"fname": ["t0.wav", "new.wav"]})
    message = r"fname of clips_test\.csv, row 1, must be 't,1\.wav' \(of 5\), got 'new\.wav' \(of 2\); use the same"
    with pytest.raises(PredictionsError, match=message):
        create_predictions(tmp_path / "p", **arguments(clips_test=clips))


def test_changed_folds_are_refused_by_row(tmp_path, make_predictions, arguments):
    make_predictions(tmp_path / "p")
    folds = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 1])
    with pytest.raises(PredictionsError, match=r"fold of folds\.csv, row 11, must be '', got '1'; use the same"):
        create_predictions(tmp_path / "p", **arguments(folds=folds))


def test_creating_over_the_notebooks_folder_is_refused(tmp_path, arguments):
    np.save(tmp_path / "test_predictions_0.npy", np.ones((5, 4)))
    message = (
        r": test_predictions_0\.npy is here without labels\.json and config\.json .*; use another --name, or --f"
    )
    with pytest.raises(PredictionsError, match=message):
        create_predictions(tmp_path, **arguments())
    assert not (tmp_path / "labels.json").exists()


def test_opening_gives_what_was_written(tmp_path, make_predictions):
    written, read = make_predictions(tmp_path / "p"), open_predictions(str(tmp_path / "p"))
    np.testing.assert_array_equal(read.oof(), written.oof())
    assert (read.finished, read.labels, read.config) == ([0, 1, 2], written.labels, written.config)


def test_a_folder_of_the_version_before_is_read(tmp_path, make_predictions):
    """It has no side files, and its marker says null for scores of no clips."""
    folder = make_predictions(tmp_path / "p", folds=np.array([0, 1] * 6), finish=[0, 1, 2])
    marker = {
        "fold": 2,
        "n_clips": 0,
        "accuracy": None,
        "map3": None,
        "epochs": 3,
        "kept_epoch": 2,
        "seconds": 1.25,
    }
    marker |= {"n_verified": 0, "verified_accuracy": None, "verified_map3": None}
    (folder.path / "finished_2.json").write_text(json.dumps(marker))
    (folder.path / ".lock").unlink()
    (folder.path / ".fold_0.lock").touch()
    read = open_predictions(folder.path)
    assert read.finished == [0, 1, 2]
    assert np.isnan([read.result(2)["accuracy"], read.result(2)["verified_map3"]]).all()


@pytest.mark.parametrize("there", [False, True])
def test_no_folder_is_refused(tmp_path, there):
    if there:
        (tmp_path / "p").write_text("")
    with pytest.raises(PredictionsError, match=r"p: there is no predictions folder here; run train first"):
        open_predictions(tmp_path / "p")


def test_empty_folder_is_refused(tmp_path):
    with pytest.raises(PredictionsError, match=r": this folder holds no predictions; run train first"):
        open_predictions(tmp_path)


def test_the_folder_above_predictions_is_refused(make_predictions, tmp_path):
    make_predictions(tmp_path / "predictions_x")
    line = r"must be a predictions folder, got one that holds predictions_x; name those$"
    with pytest.raises(PredictionsError, match=line):
        open_predictions(tmp_path)


def test_a_predictions_folder_in_place_of_work_is_named_as_such(tmp_path, make_predictions):
    make_predictions(tmp_path / "predictions_a")
    with pytest.raises(
        PredictionsError, match=rf"no folders predictions_\* here; it is itself one, give {tmp_path}$"
    ):
        predictions_folders(tmp_path / "predictions_a")


def test_a_folder_shows_what_it_is_about(tmp_path, make_predictions):
    shown = repr(make_predictions(tmp_path / "p", finish=[0]))
    assert shown.startswith(f"PredictionsFolder({tmp_path}/p: conv1d, 1 of 3 folds finished; ")
    assert "\n" not in shown


def test_folds_of_another_number_are_named_once(differences):
    assert differences(config={"settings": {"folds": 3}, "n_folds": 3})[-1] == "folds must be nothing, got 3"


def test_folder_of_the_notebook_is_refused(tmp_path):
    np.save(tmp_path / "test_predictions_0.npy", np.ones((5, 4)))
    with pytest.raises(PredictionsError) as refusal:
        open_predictions(tmp_path)
    assert str(refusal.value) == (
        f"{tmp_path}: test_predictions_0.npy is here without labels.json and config.json (did the notebook itself "
        "write this folder?); make the folder with train"
    )


def test_folder_without_a_finished_fold_is_refused(tmp_path, make_predictions):
    make_predictions(tmp_path / "p", finish=[])
    with pytest.raises(PredictionsError, match=r"p: no fold is finished yet; run train to its end"):
        open_predictions(tmp_path / "p")


def test_marker_of_an_impossible_fold_is_refused(tmp_path, make_predictions):
    make_predictions(tmp_path / "p")
    (tmp_path / "p" / "finished_3.json").write_text("{}")
    with pytest.raises(PredictionsError, match=r"p/finished_3\.json: fold must be 0 to 2, got 3; remove the file"):
        open_predictions(tmp_path / "p")


def test_names_that_only_look_like_markers_are_left_alone(tmp_path, make_predictions):
    folder = make_predictions(tmp_path / "p")
    for name in ("finished_00.json", "finished_٣.json", "finished_x.json", "finished_-1.json"):
        (folder.path / name).touch()
    assert open_predictions(folder.path).finished == [0, 1, 2]


def test_folder_without_labels_is_refused(tmp_path, make_predictions):
    make_predictions(tmp_path / "p")
    (tmp_path / "p" / "labels.json").unlink()
    with pytest.raises(PredictionsError, match=r"p/labels\.json: the file is missing; train again with --force"):
        open_predictions(tmp_path / "p")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fold": 1}, "fold must be 0, got 1"),
        ({"fold": None}, "fold must be 0, got None"),
        ({"n_clips": 5}, "n_clips must be 4, got 5"),
        ({"n_clips": 4.0}, r"n_clips must be 4, got 4\.0"),
        ({"epochs": "3"}, "epochs must be a whole number, 0 to 10,000,000,000, got '3'"),
        ({"kept_epoch": 10**4000}, "kept_epoch must be a whole number, 0 to 10,000,000,000, got 1000"),
        ({"accuracy": None}, "accuracy must be 0 to 1, got None"),
        ({"map3": 1.5}, r"map3 must be 0 to 1, got 1\.5"),
        ({"map3": [1]}, r"map3 must be 0 to 1, got \[1\]"),
        ({"seconds": -1}, "seconds must be 0 to 10,000,000,000, got -1"),
        ({"seconds": 10**4000}, "seconds must be 0 to 10,000,000,000, got 1000"),
        ({"seconds": True}, "seconds must be 0 to 10,000,000,000, got True"),
        ({"verified_map3": "good"}, "verified_map3 must be 0 to 1, got 'good'"),
    ],
)
def test_an_odd_marker_is_refused_by_opening_and_reading(tmp_path, make_predictions, changes, message):
    folder = make_predictions(tmp_path / "p", finish=[0])
    (folder.path / "finished_0.json").write_text(json.dumps(folder.result(0) | changes))
    for read in (lambda: folder.result(0), lambda: open_predictions(folder.path)):
        with pytest.raises(PredictionsError, match=rf"p/finished_0\.json: {message}.*; remove finished_0\.json if"):
            read()


@pytest.mark.parametrize("content", ["{", "[]", "null", '{"map3": NaN}', '{"seconds": 1e999}', "{}"])
def test_a_damaged_marker_is_refused(tmp_path, make_predictions, content):
    folder = make_predictions(tmp_path / "p", finish=[0])
    (folder.path / "finished_0.json").write_text(content)
    with pytest.raises(
        PredictionsError, match=r"p/finished_0\.json: .*; remove finished_0\.json if it is there, and"
    ):
        folder.result(0)


# what a folder is about


@pytest.fixture
def described(tmp_path, arguments):
    """A function that makes a folder without folds, with changes, and gives what it is about."""
    numbers = count()
    return lambda **changes: create_predictions(tmp_path / str(next(numbers)), **arguments(**changes))


@pytest.fixture
def written(described):
    """The path of such a folder."""
    return described().path


def _refusal(path):
    with pytest.raises(PredictionsError) as refusal:
        read_description(path)
    said = str(refusal.value)
    assert "\n" not in said and len(said) < 500
    return said.removeprefix(f"{path}/")


# what is written and read back


def test_description_comes_back_as_written(described):
    expected = described()
    read = read_description(expected.path)
    assert (read.labels, read.config) == (expected.labels, expected.config)
    assert read.reasons.tolist() == expected.reasons.tolist() == [""] * 11 + ["empty"]
    pd.testing.assert_frame_equal(read.clips_train, expected.clips_train)
    pd.testing.assert_frame_equal(read.clips_test, expected.clips_test)
    np.testing.assert_array_equal(read.folds, expected.folds)
    assert read.folds.dtype == np.int64
    assert dataset_difference(expected, read) == ""
    assert binding_differences(expected, read) == []


def test_files_are_what_people_read(written):
    assert json.loads((written / "labels.json").read_text()) == ["Bell", "None", "Bark, loud", "Rain"]
    lines = (written / "clips_train.csv").read_text().splitlines()
    assert lines[:4] == ["fname,label", "00.wav,Bell", "01.wav,None", '02.wav,"Bark, loud"']
    lines = (written / "clips_test.csv").read_text(encoding="utf-8").splitlines()
    assert lines[:3] == ["fname", "t0.wav", '"t,1.wav"']
    lines = (written / "folds.csv").read_text().splitlines()
    assert (lines[:2], lines[-1]) == (["fname,fold,reason", "00.wav,0,"], "11.wav,,empty")
    assert json.loads((written / "config.json").read_text())["settings"]["learning_rate"] == 0.001


def test_label_none_survives(written):
    assert read_description(written).clips_train["label"][1] == "None"
    assert read_description(written).clips_test["fname"][2] == "None"


def test_no_test_clips_survive(described):
    path = described(clips_test=pd.DataFrame({"fname": []})).path
    assert read_description(path).clips_test.shape == (0, 1)


def _test_labels(labels=("", "None", "", "Rain", ""), usage=("Ignored", "Public", "", "Private", "")):
    fnames = ["t0.wav", "t,1.wav", "None", "t3.wav", "t4 é.wav"]
    return pd.DataFrame({"fname": fnames, "label": labels, "usage": usage})


def test_labels_and_usage_of_test_clips_survive(described):
    written = described(clips_test=_test_labels())
    lines = (written.path / "clips_test.csv").read_text(encoding="utf-8").splitlines()
    assert lines[:3] == ["fname,label,usage", "t0.wav,,Ignored", '"t,1.wav",None,Public']
    pd.testing.assert_frame_equal(read_description(written.path).clips_test, _test_labels())


def test_labels_of_test_clips_may_come_without_usage(described):
    path = described(clips_test=_test_labels()[["fname", "label"]]).path
    assert read_description(path).clips_test["usage"].tolist() == [""] * 5


def test_usage_without_any_label_is_left_out(described):
    path = described(clips_test=_test_labels(labels=[""] * 5)).path
    assert (path / "clips_test.csv").read_text().splitlines()[0] == "fname"


def test_a_finished_folder_learns_the_labels_of_its_test_clips(tmp_path, make_predictions, arguments):
    """Nothing is trained again, and a dataset that knows none takes none away."""
    make_predictions(tmp_path / "p")
    known = create_predictions(tmp_path / "p", **arguments(clips_test=_test_labels()))
    assert known.finished == [0, 1, 2]
    for clips_test in (_test_labels(), _test_labels()[["fname"]]):
        again = create_predictions(tmp_path / "p", **arguments(clips_test=clips_test))
        pd.testing.assert_frame_equal(again.clips_test, _test_labels())
    corrected = _test_labels(labels=["", "Bell", "", "Rain", ""])
    create_predictions(tmp_path / "p", **arguments(clips_test=corrected))
    pd.testing.assert_frame_equal(open_predictions(tmp_path / "p").clips_test, corrected)


def test_folders_with_and_without_test_labels_are_of_one_dataset_and_other_labels_are_not(described):
    plain, known = described(), described(clips_test=_test_labels())
    assert dataset_difference(plain, known) == dataset_difference(known, plain) == ""
    other = described(clips_test=_test_labels(labels=["", "None", "", "Bell", ""]))
    assert dataset_difference(known, other) == "label of clips_test.csv, row 3, must be 'Rain', got 'Bell'"
    assert binding_differences(known, other) == []
    other = described(clips_test=_test_labels(usage=["Ignored", "Public", "", "Public", ""]))
    assert dataset_difference(known, other) == "usage of clips_test.csv, row 3, must be 'Private', got 'Public'"


@pytest.mark.parametrize("name", ["..", ".", "a/b", "/tmp", "a/"])
def test_a_runs_name_must_be_one_plain_folder_name(name):
    with pytest.raises(PredictionsError, match=f"--name must be one plain folder name, got '{name}'; see --help"):
        folder_of(Path("work"), name)


def test_runs_without_a_name_lie_in_work_itself():
    assert folder_of(Path("work"), "") == Path("work")
    assert folder_of(Path("work"), "trial") == Path("work/trial")


def test_clips_may_come_with_any_index(described, arguments):
    table = arguments()["clips_train"].set_axis(range(50, 62))
    assert dataset_difference(described(), described(clips_train=table)) == ""


# descriptions that say something odd


@pytest.mark.parametrize(
    ("file", "value", "message"),
    [
        ("config.json", [], r"config.json: the file must be a JSON object, got \[\]; train again with --force"),
        ("config.json", "x" * 1000, r"config.json: the file must be a JSON object, got 'x{76}\.\.\.; train"),
        ("config.json", {"model": "x"}, "config.json: format_version must be 1, got nothing; use the version"),
        ("labels.json", {"a": 1}, r"labels.json: the file must be a list of different labels, got {'a': 1}; "),
        ("labels.json", [], r"labels.json: the file must be a list of different labels, got \[\]; "),
        ("labels.json", 5, "labels.json: the file must be a list of different labels, got 5; "),
        ("labels.json", ["a", 5], r"labels.json: the file must be a list of different labels, got \['a', 5\]; "),
        ("labels.json", ["a", "b", "a"], "labels.json: the file must be a list of different labels, got "),
        ("labels.json", ["Bell", "Rain"], "clips_train.csv: label, row 1, must be one of labels.json, got 'None'"),
    ],
)
def test_json_that_says_something_else_is_refused(written, file, value, message):
    (written / file).write_text(json.dumps(value))
    assert re.match(message, _refusal(written))


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("format_version", 2, "1, got 2"),
        ("format_version", True, "1, got True"),
        ("format_version", None, "1, got None"),
        ("model", None, "a text, got None"),
        ("n_folds", 0, "a whole number, 1 to 1,000,000, got 0"),
        ("n_folds", True, "a whole number, 1 to 1,000,000, got True"),
        ("n_folds", 3.0, "a whole number, 1 to 1,000,000, got 3.0"),
        ("n_folds", 10**4000, r"a whole number, 1 to 1,000,000, got 10{76}\.\.\."),
        ("n_parameters", "many", "a whole number, 0 to 1,000,000,000,000,000, got 'many'"),
        ("n_parameters", 10**16, "a whole number, 0 to 1,000,000,000,000,000, got 10000000000000000"),
        ("settings", ["crops"], r"a JSON object of texts, numbers, true, false and null, got \['crops'\]"),
        (
            "settings",
            {"recipe": []},
            r"a JSON object of texts, numbers, true, false and null, got {'recipe': \[\]}",
        ),
        ("stores", 5, "a list of JSON objects with a name, got 5"),
        ("stores", [{"checksum": 5}], r"a list of JSON objects with a name, got \[{'checksum': 5}\]"),
    ],
)
def test_odd_values_of_the_configuration_are_refused(written, key, value, rule):
    config = json.loads((written / "config.json").read_text())
    (written / "config.json").write_text(json.dumps({**config, key: value}))
    assert re.match(rf"config.json: {key} must be {rule}; ", _refusal(written))


@pytest.mark.parametrize("key", ["format_version", "model", "n_parameters", "n_folds"])
def test_missing_values_of_the_configuration_are_refused(written, key):
    config = json.loads((written / "config.json").read_text())
    (written / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k != key}))
    assert re.match(rf"config.json: {key} must be .*, got nothing; ", _refusal(written))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("01.wav,1,", "x.wav,1,", "folds.csv: fname, row 1, must be '01.wav', got 'x.wav', unlike clips_train.csv"),
        ("11.wav,,empty\n", "", "folds.csv: fname, row 11, must be '11.wav' (of 12), got nothing (of 11), unlike"),
        ("01.wav,1,", "01.wav,3,", "folds.csv: fold, row 1, must be 0 to 2 or empty, got '3'; train again with"),
        (
            "01.wav,1,",
            "01.wav,one,",
            "folds.csv: fold, row 1, must be 0 to 2 or empty, got 'one'; train again with",
        ),
        ("01.wav,1,", "01.wav,-1,", "folds.csv: fold, row 1, must be 0 to 2 or empty, got '-1'; train again with"),
    ],
)
def test_folds_that_do_not_fit_are_refused(written, old, new, message):
    text = (written / "folds.csv").read_text()
    (written / "folds.csv").write_text(text.replace(old, new))
    assert _refusal(written).startswith(message)


# what differs


@pytest.fixture
def differences(described):
    """A function that gives what binds folds and differs after some changes."""
    return lambda **changes: binding_differences(described(), described(**changes))


def test_every_differing_setting_is_named(differences):
    settings = {"learning_rate": 0.01, "crops": 5, "seconds": 2, "mixup": None, "quick": True}
    assert differences(config={"settings": settings, "seed": 7, "n_parameters": 5}) == [
        "learning_rate must be 0.001, got 0.01",
        "seed must be 1001, got 7",
        "mixup must be nothing, got None",
        "quick must be nothing, got True",
    ]


def test_seed_model_and_folds_are_binding(differences):
    assert differences(config={"seed": 7, "model": "conv2d", "n_folds": 10}) == [
        "model must be 'conv1d', got 'conv2d'",
        "seed must be 1001, got 7",
    ]
    assert differences(config={"n_folds": 10}) == ["n_folds must be 3, got 10"]


def test_parameters_and_stores_are_binding(differences):
    store = {"name": "raw-16000.zarr", "checksum": "abd", "specification": {"sample_rate": 16000}}
    assert differences(config={"stores": [store], "n_parameters": 5}) == [
        "n_parameters must be 360513, got 5",
        "stores.0.checksum must be 'abc', got 'abd'",
        "stores.0.specification.sample_rate must be nothing, got 16000",
    ]


def test_versions_revision_and_the_rest_may_differ(differences):
    assert differences(config={"versions": {"keras": "4"}, "git_revision": "f", "started": "today"}) == []


def test_changed_clips_are_named_before_what_follows_from_them(differences, arguments):
    clips = arguments()["clips_train"]
    clips.loc[5, "label"] = "Rain"
    said = differences(clips_train=clips, folds=np.zeros(12), config={"stores": [{"name": "other"}]})
    assert said == ["label of clips_train.csv, row 5, must be 'None', got 'Rain'"]


def test_changed_fold_is_named(differences):
    said = differences(folds=[0, 1, 2, 0, 1, 2, 0, 1, 2, 0, -1, 1])
    assert said == ["order of fold of folds.csv, row 10, must be '1', got ''"]


@pytest.mark.parametrize(
    ("split", "change", "message"),
    [
        (
            "train",
            lambda c: c.iloc[::-1],
            "order of fname of clips_train.csv, row 0, must be '00.wav', got '11.wav'",
        ),
        (
            "test",
            lambda c: c.iloc[:0],
            "fname of clips_test.csv, row 0, must be 't0.wav' (of 5), got nothing (of 0)",
        ),
        ("test", lambda c: c.replace("None", "n"), "fname of clips_test.csv, row 2, must be 'None', got 'n'"),
    ],
)
def test_dataset_difference_names_the_row(described, arguments, split, change, message):
    changed = described(**{f"clips_{split}": change(arguments()[f"clips_{split}"])})
    assert dataset_difference(described(), changed) == message


def test_dataset_difference_names_the_label(described):
    changed = described(labels=["Bell", "Bark, loud", "None", "Rain"])
    said = dataset_difference(described(), changed)
    assert said == "order of labels.json, row 1, must be 'None', got 'Bark, loud'"


def test_difference_in_settings_alone_is_none_in_the_dataset(described):
    assert dataset_difference(described(), described(config={"seed": 5}, folds=np.zeros(12))) == ""


# folds


def test_properties_say_what_the_folder_is_for(tmp_path, make_predictions):
    folder = make_predictions(tmp_path / "p", finish=[0, 2])
    assert folder.labels == ["Bell", "None", "Bark, loud", "Rain"]
    assert (len(folder.clips_train), len(folder.clips_test), folder.n_folds) == (12, 5, 3)
    assert folder.labels_index.tolist() == [0, 1, 2, 3] * 3
    assert (folder.finished, folder.missing) == ([0, 2], [1])
    assert folder.config["model"] == "conv1d"


def test_predictions_come_back_as_written_in_float64(tmp_path, make_predictions, result):
    folder = make_predictions(tmp_path / "p", finish=[])
    rng = np.random.default_rng(3)
    train, test = (rng.random((n, 4), dtype=np.float32) for n in (12, 5))
    folder.write_fold(1, train, test, result)
    for read, array, name in [
        (folder.train_predictions(1), train, "train_predictions_1.npy"),
        (folder.test_predictions(1), test, "test_predictions_1.npy"),
    ]:
        assert read.dtype == np.load(tmp_path / "p" / name).dtype == np.float64
        np.testing.assert_array_equal(read, array)
        np.testing.assert_array_equal(np.load(tmp_path / "p" / name), array)


def test_a_notebook_cell_multiplies_the_files_unchanged(tmp_path, make_predictions):
    """The notebook's own loop, but for the folder's name."""
    folder = make_predictions(tmp_path / "p")
    prediction = np.ones((5, 4))
    for i in range(3):
        prediction = prediction * np.load(f"{tmp_path}/p/test_predictions_{i}.npy")
    prediction = prediction ** (1.0 / 3)
    expected = np.prod([folder.test_predictions(i) for i in range(3)], axis=0) ** (1 / 3)
    np.testing.assert_allclose(prediction, expected, rtol=1e-14)


def test_marker_says_the_folds_scores_and_the_result(tmp_path, make_predictions, result):
    folder = make_predictions(tmp_path / "p")
    own, truth = folder.train_predictions(1)[folder.folds == 1], folder.labels_index[folder.folds == 1]
    expected = {"fold": 1, "n_clips": 4, "accuracy": accuracy(own, truth), "map3": map3(own, truth), **result}
    assert folder.result(1) == expected
    assert folder.write_fold(1, folder.train_predictions(1), folder.test_predictions(1), result) == expected


def test_fold_has_its_own_submission(tmp_path, make_predictions):
    folder = make_predictions(tmp_path / "p")
    lines = (tmp_path / "p" / "predictions_0.csv").read_text(encoding="utf-8").splitlines()
    best = np.argsort(-folder.test_predictions(0)[0])[:3]
    assert lines[0] == "fname,label"
    assert lines[1].replace('"', "") == "t0.wav," + " ".join(folder.labels[i] for i in best)
    assert len(lines) == 6


def test_oof_takes_each_clip_from_its_own_fold(tmp_path, make_predictions):
    folder = make_predictions(tmp_path / "p")
    for row, fold in enumerate(folder.folds[:-1]):
        np.testing.assert_array_equal(folder.oof()[row], folder.train_predictions(fold)[row])
    assert np.isnan(folder.oof()[-1]).all()
    assert folder.scored.tolist() == [True] * 11 + [False]


def test_oof_of_unfinished_folds_is_nan(tmp_path, make_predictions):
    folder = make_predictions(tmp_path / "p", finish=[2])
    assert np.isnan(folder.oof()).any(axis=1).tolist() == [fold != 2 for fold in folder.folds]


def test_oof_file_follows_the_folds(tmp_path, make_predictions):
    for finish in ([], [1], [0, 1, 2]):
        folder = make_predictions(tmp_path / str(len(finish)), finish=finish)
        if finish:
            np.testing.assert_array_equal(np.load(folder.path / "oof_predictions.npy"), folder.oof())
        else:
            assert not (folder.path / "oof_predictions.npy").exists()


def test_a_fold_without_its_marker_is_not_there(tmp_path, make_predictions):
    folder = make_predictions(tmp_path / "p")
    (folder.path / "finished_1.json").unlink()
    assert folder.finished == [0, 2]
    assert np.isnan(folder.oof()[folder.folds == 1]).all()


def test_fold_written_again_replaces_the_first(tmp_path, make_predictions, result):
    folder = make_predictions(tmp_path / "p")
    train, test = np.full((12, 4), 0.25), np.full((5, 4), 0.25)
    folder.write_fold(0, train, test, result)
    np.testing.assert_array_equal(folder.test_predictions(0), test)
    np.testing.assert_array_equal(np.load(folder.path / "oof_predictions.npy")[0], train[0])
    scores = {"accuracy": 0.25, "map3": pytest.approx(11 / 24)}
    assert folder.result(0) == {"fold": 0, "n_clips": 4, **scores, **result}


@pytest.mark.parametrize("n_renames", range(5))
def test_a_fold_that_broke_off_at_any_file_is_not_there_and_can_be_written(
    tmp_path, make_predictions, result, monkeypatch, n_renames
):
    whole, broken = (make_predictions(tmp_path / name, finish=[0, 1, 2]) for name in ("whole", "broken"))
    train, test = np.full((12, 4), 0.25), np.full((5, 4), 0.25)
    whole.write_fold(1, train, test, result)
    replace, renamed = os.replace, []

    def stop_after(source, target):
        if len(renamed) == n_renames:
            raise KeyboardInterrupt
        renamed.append(target)
        replace(source, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", stop_after)
        broken.write_fold(1, train, test, result)
    assert broken.finished == [0, 2]
    assert np.isnan(broken.oof()[broken.folds == 1]).all()
    broken.write_fold(1, train, test, result)
    assert _bytes(broken.path) == _bytes(whole.path)


def test_folds_that_several_trainers_write_at_once_are_all_there(tmp_path, make_predictions, result):
    folder = make_predictions(tmp_path / "p", finish=[])
    train, test = np.full((12, 4), 0.25), np.full((5, 4), 0.25)
    with ThreadPoolExecutor(3) as trainers:
        list(trainers.map(lambda fold: folder.write_fold(fold, train, test, result), range(3)))
    assert folder.finished == [0, 1, 2]
    np.testing.assert_array_equal(np.load(folder.path / "oof_predictions.npy"), folder.oof())


@pytest.mark.parametrize("part", ["train", "test"])
def test_nan_is_refused_and_nothing_is_written(tmp_path, make_predictions, result, part):
    folder = make_predictions(tmp_path / "p", finish=[])
    before = _bytes(folder.path)
    arrays = {"train": np.full((12, 4), 0.25), "test": np.full((5, 4), 0.25)}
    arrays[part][3] = np.nan
    clip = {"train": "03.wav", "test": "t3.wav"}[part]
    message = rf"{part}_predictions_0\.npy: row 3 \({clip}\) must be probabilities, got nan; nothing was written"
    with pytest.raises(PredictionsError, match=message):
        folder.write_fold(0, arrays["train"], arrays["test"], result)
    assert _bytes(folder.path) == before


def test_a_result_that_could_not_be_read_back_is_not_written(tmp_path, make_predictions, result):
    folder = make_predictions(tmp_path / "p", finish=[])
    before = _bytes(folder.path)
    with pytest.raises(PredictionsError, match=r"finished_0\.json: seconds must be 0 to 10,000,000,000, got None"):
        folder.write_fold(0, np.ones((12, 4)), np.ones((5, 4)), result | {"seconds": float("nan")})
    assert _bytes(folder.path) == before


def test_finished_fold_without_its_file_is_named(tmp_path, make_predictions):
    folder = make_predictions(tmp_path / "p")
    (folder.path / "test_predictions_1.npy").unlink()
    message = (
        r"p/test_predictions_1\.npy: the file is missing; remove finished_1\.json if it is there, and train fold 1"
    )
    with pytest.raises(PredictionsError, match=message):
        folder.test_predictions(1)


def test_predictions_of_another_shape_are_refused(tmp_path, make_predictions):
    folder = make_predictions(tmp_path / "p")
    np.save(folder.path / "train_predictions_2.npy", np.ones((12, 3)))
    message = r"train_predictions_2\.npy: predictions must be floats of shape \(12, 4\).*got.*\(12, 3\)"
    for read in (lambda: folder.train_predictions(2), folder.oof):
        with pytest.raises(PredictionsError, match=message):
            read()


def test_scores_of_a_fold_without_clips_are_null_in_the_file_and_nan_in_python(tmp_path, make_predictions):
    folder = make_predictions(tmp_path / "p", folds=np.full(12, -1))
    assert json.loads((folder.path / "finished_0.json").read_text())["accuracy"] is None
    assert np.isnan(folder.result(0)["accuracy"])


# who trains and who moves


def _held_by_another(pid, host):
    return (
        rf"p: fold 2 is being trained by another process \(pid {pid} on host {host}\); wait for it, or use --name$"
    )


def test_a_fold_is_held_by_one_process_at_a_time_which_is_named(tmp_path, make_predictions):
    folder = make_predictions(tmp_path / "p", finish=[])
    message = _held_by_another(os.getpid(), os.uname().nodename)
    with folder.holding(2), pytest.raises(PredictionsError, match=message), folder.holding(2):
        pass
    with folder.holding(2), folder.holding(0):
        pass
    assert not list(folder.path.glob("*.holder"))


@pytest.mark.parametrize(
    "content", ["", "[]", '{"pid": 1}', '{"pid": "x", "host": "a"}', '{"pid": 1e999, "host": 1}']
)
def test_an_odd_side_file_names_nobody(tmp_path, make_predictions, content):
    folder = make_predictions(tmp_path / "p", finish=[])
    message = r"p: fold 2 is being trained by another process; wait for it, or use --name$"
    with folder.holding(2):
        (folder.path / ".fold_2.holder").write_text(content)
        with pytest.raises(PredictionsError, match=message):
            move_aside(folder.path)


def test_a_fold_is_waited_for(tmp_path, make_predictions):
    folder = make_predictions(tmp_path / "p", finish=[])
    lock = FileLock(folder.path / ".fold_0.lock", thread_local=False)
    lock.acquire()
    released = threading.Thread(target=lock.release)

    released.start()
    with folder.holding(0, wait_s=60):
        assert not lock.is_locked
    released.join()


def test_the_later_of_two_that_begin_at_the_same_time_is_refused(tmp_path, make_predictions, arguments):
    folder = make_predictions(tmp_path / "p", finish=[])
    create_predictions(tmp_path / "p", **arguments(config=OTHER))
    message = (
        r"p: another run began here with other settings at the same time; rerun the command with another --name"
    )
    with pytest.raises(PredictionsError, match=message), folder.holding(0):
        pass


def test_moving_aside_deletes_nothing(tmp_path, make_predictions):
    path = tmp_path / "p"
    for i in (1, 2, 3):
        make_predictions(path, seed=i)
        before = _bytes(path)
        new = move_aside(path)
        assert new == tmp_path / f"p.old-{i}"
        assert not path.exists()
        assert _bytes(new) == before


def test_moving_aside_takes_no_name_that_is_there(tmp_path, make_predictions):
    make_predictions(tmp_path / "p", finish=[])
    (tmp_path / "p.old-1").symlink_to("nowhere")
    (tmp_path / "p.old-2").mkdir()
    assert move_aside(tmp_path / "p") == tmp_path / "p.old-3"


def test_a_fold_in_training_is_not_moved_aside(tmp_path, make_predictions):
    folder = make_predictions(tmp_path / "p", finish=[1])
    with folder.holding(0), folder.holding(2):
        with pytest.raises(
            PredictionsError, match=r"p: fold 0 is being trained by another process \(pid \d+ on host "
        ):
            move_aside(folder.path)
        assert folder.finished == [1]
    assert move_aside(folder.path).is_dir()


def _aside(path):
    return rf"{path}: another process moved this folder aside \(--force\); rerun the command"


def test_a_fold_is_not_trained_into_a_folder_that_took_the_place_of_one_moved_aside(
    tmp_path, make_predictions, monkeypatch
):
    """Between a trainer's lock on its fold and its look at the settings, the folder is moved and made anew."""
    folder = make_predictions(tmp_path / "p", finish=[])
    acquire = FileLock.acquire

    def acquire_after_a_move(lock, *args, **kwargs):
        if lock.lock_file.endswith(".fold_0.lock"):
            monkeypatch.setattr(FileLock, "acquire", acquire)
            move_aside(folder.path)
            make_predictions(folder.path, finish=[])
        return acquire(lock, *args, **kwargs)

    monkeypatch.setattr(FileLock, "acquire", acquire_after_a_move)
    with pytest.raises(PredictionsError, match=_aside(folder.path)), folder.holding(0):
        pass


def test_of_two_that_move_a_folder_aside_at_once_the_second_is_refused(tmp_path, make_predictions, monkeypatch):
    folder = make_predictions(tmp_path / "p", finish=[])
    enter = FileLock.__enter__

    def enter_after_a_move(lock):
        monkeypatch.setattr(FileLock, "__enter__", enter)
        move_aside(folder.path)
        make_predictions(folder.path, finish=[])
        return enter(lock)

    monkeypatch.setattr(FileLock, "__enter__", enter_after_a_move)
    with pytest.raises(PredictionsError, match=_aside(folder.path)):
        move_aside(folder.path)
    assert folder.path.is_dir() and not (tmp_path / "p.old-2").exists()


def test_a_folder_that_is_gone_is_said_to_be(tmp_path, make_predictions):
    folder = make_predictions(tmp_path / "p", finish=[])
    folder.path.rename(tmp_path / "elsewhere")
    for act in (lambda: folder.holding(0).__enter__(), lambda: move_aside(folder.path)):
        with pytest.raises(PredictionsError, match=_aside(folder.path)):
            act()
    assert not folder.path.exists()


ODD = [None, True, -1, 1.5, 1e308, 10**300, "", "x" * 1000, [], {}, [[[1]]], {"a": {"b": [1]}}, "\x1b[2J", "0"]


@pytest.mark.parametrize("name", ["config.json", "labels.json", "finished_0.json"])
def test_whatever_stands_in_place_of_a_value_the_folder_opens_or_is_refused_in_one_line(
    tmp_path, make_predictions, name
):
    folder = make_predictions(tmp_path / "p", finish=[0])
    whole = json.loads((folder.path / name).read_text())
    changed = list(ODD)
    for key in whole if isinstance(whole, dict) else range(len(whole)):
        changed += [
            [*whole[:key], odd, *whole[key + 1 :]] if isinstance(key, int) else whole | {key: odd} for odd in ODD
        ]
    n_refused = 0
    for value in changed:
        (folder.path / name).write_text(json.dumps(value))
        try:
            folder_row(open_predictions(folder.path))
        except PredictionsError as error:
            assert "\n" not in str(error) and len(str(error)) < 1000
            n_refused += 1
    assert n_refused > len(changed) / 3
