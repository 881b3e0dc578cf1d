import csv
import io
import json
import os
import pickle
import re
from itertools import count

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensemble import PredictionsError, create_predictions
from ensemble.description import (
    binding_differences,
    dataset_difference,
    plain,
    read_csv,
    read_description,
    read_json,
    read_probabilities,
    write_array,
    write_csv,
    write_json,
)


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
        ("settings", ["crops"], r"a JSON object, got \['crops'\]"),
        ("stores", 5, "a list, got 5"),
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
    settings = {"learning_rate": 0.01, "crops": 5, "seconds": 2, "mixup": None, "mask": [1, {"n": 2}]}
    assert differences(config={"settings": settings, "seed": 7}) == [
        "learning_rate must be 0.001, got 0.01",
        "mixup must be nothing, got None",
        "mask.0 must be nothing, got 1",
        "mask.1.n must be nothing, got 2",
    ]


def test_seed_model_and_folds_are_binding(differences):
    assert differences(config={"seed": 7, "model": "conv2d", "n_folds": 10}) == [
        "model must be 'conv1d', got 'conv2d'",
        "n_folds must be 3, got 10",
        "seed must be 1001, got 7",
    ]


def test_parameters_and_stores_are_binding(differences):
    store = {"name": "raw-16000.zarr", "checksum": "abd"}
    said = differences(config={"stores": [store], "n_parameters": 5})
    assert said == ["n_parameters must be 360513, got 5", "stores.0.checksum must be 'abc', got 'abd'"]


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


# files


class _Untouchable:
    """Unpickling this would end the test run."""

    def __reduce__(self):
        return exec, ("raise SystemExit('unpickled')",)


def _probabilities(path, n_clips=5, n_labels=1):
    return read_probabilities(path, pd.Series([f"{i}.wav" for i in range(n_clips)]), n_labels, "train again")


READERS = [(read_json, "v.json"), (lambda path: read_csv(path, ["fname"]), "t.csv"), (_probabilities, "a.npy")]


@pytest.mark.parametrize(("read", "name"), READERS)
def test_a_missing_file_a_folder_and_a_fifo_are_named(tmp_path, read, name):
    path = tmp_path / name
    with pytest.raises(PredictionsError, match=rf"^{path}: the file is missing; train"):
        read(path)
    path.mkdir()
    with pytest.raises(PredictionsError, match=rf"^{path}: the file cannot be read \(Is a directory\); train"):
        read(path)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(PredictionsError, match=rf"^{path}: this is a FIFO or a device, not a file; train"):
        read(path)
    path.unlink()
    path.symlink_to(path)
    with pytest.raises(PredictionsError, match=rf"^{path}: the file cannot be read \(Too many levels of symb"):
        read(path)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(PredictionsError, match=rf"^{path}: this is a FIFO or a device, not a file; train"):
        read(path)


@pytest.mark.parametrize(("read", "name"), READERS)
def test_a_huge_file_is_refused_before_it_is_read(tmp_path, read, name):
    with open(tmp_path / name, "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(PredictionsError, match="bytes are too many for this file|the file is damaged"):
        read(tmp_path / name)


def test_json_comes_back_plain(tmp_path):
    value = {
        "a": (1, np.float64(0.1)),
        "b": tmp_path,
        "c": np.arange(2),
        "d": np.float32("nan"),
        "e": None,
        5: True,
    }
    value["f"] = float("inf")
    write_json(tmp_path / "v.json", value)
    expected = {"a": [1, 0.1], "b": str(tmp_path), "c": [0, 1], "d": None, "e": None, "5": True, "f": None}
    assert read_json(tmp_path / "v.json") == expected == plain(value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"\xff\xfe", "codec can't decode|Expecting value"),
        (b"[" * 100_000, "recursion"),
        (b"[" * 30 + b"]" * 30, "20 lists and objects inside each other"),
        (b'{"map3": NaN}', "Out of range float values"),
        (b'{"map3": -Infinity}', "Out of range float values"),
        (b'["\\ud800"]', "surrogates not allowed"),
        (b"9" * 5000, "Exceeds the limit"),
    ],
)
def test_damaged_json_is_refused(tmp_path, content, reason):
    (tmp_path / "v.json").write_bytes(content)
    with pytest.raises(PredictionsError, match=rf"v\.json: the file is damaged: .*({reason}).*; train again with"):
        read_json(tmp_path / "v.json")


def test_a_table_comes_back_as_text(tmp_path):
    fnames, labels = ["None", "NA", "007", "a,b", 'q"q', ""], ["1.0", "nan", "", "é", " ", "x"]
    table = pd.DataFrame({"fname": fnames, "label": labels})
    write_csv(tmp_path / "t.csv", table)
    assert read_csv(tmp_path / "t.csv", ["fname", "label"]).to_numpy().tolist() == table.to_numpy().tolist()


VALUES = st.text(alphabet='ab,"\n\r é', max_size=4)


@given(st.integers(1, 3).flatmap(lambda n: st.lists(st.lists(VALUES, min_size=n, max_size=n))))
def test_any_table_of_text_comes_back(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    columns = ["fname", "label, if any", 'a "reason"'][: len(rows[0]) if rows else 2]
    write_csv(path, pd.DataFrame(rows, columns=columns, dtype=str))
    content = path.read_bytes().decode()
    assert list(csv.reader(io.StringIO(content, newline=""), strict=True)) == [columns, *rows]
    read = read_csv(path, columns)
    assert (read.columns.tolist(), read.to_numpy().tolist()) == (columns, rows)


@pytest.mark.parametrize(
    "content", [b'fname,label\n"a.wav","x"\nb.wav,y\n', b'"fname",label\r\na.wav,x\r\nb.wav,y']
)
def test_a_table_that_another_program_wrote_is_read(tmp_path, content):
    (tmp_path / "t.csv").write_bytes(content)
    assert read_csv(tmp_path / "t.csv", ["fname", "label"]).to_numpy().tolist() == [["a.wav", "x"], ["b.wav", "y"]]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "columns must be fname,label, got ''"),
        (b"name,label\na,b\n", "columns must be fname,label, got 'name,label'"),
        (b"\xef\xbb\xbffname,label\na,b\n", r"columns must be fname,label, got '\\ufefffname,label'"),
        (b"fname,label\na,b\nc\n", "row 1 must have 2 values, got 1"),
        (b"fname,label\na,b,c\n", "row 0 must have 2 values, got 3"),
        (b"fname,label\na,b\n\nc,d\n", "row 1 must have 2 values, got 0"),
        (b'fname,label\n"a.wav,x\n', "unexpected end of data"),
        (b'fname,label\n"a.wav,x\nb.wav,"y\n', "',' expected after '\"'"),
        (b'fname,label\n"a"b,c\n', "',' expected after '\"'"),
        (b"fname,label\n\xff\xfe,x\n", "codec can't decode"),
        (b"fname,label\na,b\n\0\0,\0\0\n", "odd control characters"),
    ],
)
def test_a_damaged_csv_is_one_line(tmp_path, content, reason):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(
        PredictionsError, match=rf"t\.csv: the file is damaged: .*{reason}.*; train again with --force"
    ):
        read_csv(tmp_path / "t.csv", ["fname", "label"])


def test_an_array_comes_back_as_written_and_plain_numpy_loads_it(tmp_path):
    array = np.random.default_rng(0).random((5, 1))
    write_array(tmp_path / "a.npy", array)
    read = _probabilities(tmp_path / "a.npy")
    np.testing.assert_array_equal(read, array)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), array)
    assert type(read) is np.ndarray and read.flags.writeable


def test_float32_becomes_float64_of_the_same_values(tmp_path):
    array = np.random.default_rng(0).random((5, 1), dtype=np.float32)
    write_array(tmp_path / "a.npy", array)
    assert _probabilities(tmp_path / "a.npy").dtype == np.float64
    np.testing.assert_array_equal(_probabilities(tmp_path / "a.npy"), array)


def test_no_clips_are_fine(tmp_path):
    write_array(tmp_path / "a.npy", np.empty((0, 2)))
    assert _probabilities(tmp_path / "a.npy", 0, 2).shape == (0, 2)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    write_array(tmp_path / "a.npy", np.ones((5, 1)))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        write_array(tmp_path / "a.npy", np.array([object()]))
    np.testing.assert_array_equal(_probabilities(tmp_path / "a.npy"), np.ones((5, 1)))
    assert os.listdir(tmp_path) == ["a.npy"]


def test_pickles_are_refused_without_unpickling(tmp_path):
    np.save(tmp_path / "a.npy", np.array([_Untouchable()], dtype=object), allow_pickle=True)
    with pytest.raises(PredictionsError, match=r"a\.npy: the file is damaged: .*Python objects"):
        _probabilities(tmp_path / "a.npy")
    (tmp_path / "a.npy").write_bytes(pickle.dumps(_Untouchable()))
    with pytest.raises(PredictionsError, match=r"a\.npy: the file is damaged: "):
        _probabilities(tmp_path / "a.npy")


@pytest.mark.parametrize("n_bytes", [0, 4, 20, 128, 140, 167])
def test_a_truncated_array_is_refused(tmp_path, n_bytes):
    write_array(tmp_path / "a.npy", np.ones((5, 1)))
    whole = (tmp_path / "a.npy").read_bytes()
    assert len(whole) == 168
    (tmp_path / "a.npy").write_bytes(whole[:n_bytes])
    with pytest.raises(PredictionsError, match=r"a\.npy: (the file is damaged: .+|predictions must be floats.+); "):
        _probabilities(tmp_path / "a.npy")


@pytest.mark.parametrize(
    "shape", ["(1000000000000, 1)", "(9999999999999999, 1)", "(99999999999999999999, 1)", "(-5, 1)"]
)
def test_an_array_that_claims_to_be_huge_is_refused(tmp_path, shape):
    write_array(tmp_path / "a.npy", np.ones((5, 1)))
    content = (tmp_path / "a.npy").read_bytes().replace(b"(5, 1), }".ljust(40), f"{shape}, }}".ljust(40).encode())
    assert shape.encode() in content
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(PredictionsError, match=r"a\.npy: the file is damaged: "):
        _probabilities(tmp_path / "a.npy")


def test_whatever_byte_of_a_header_is_flipped_there_is_one_error(tmp_path):
    write_array(tmp_path / "a.npy", np.full((5, 1), 0.5))
    whole = (tmp_path / "a.npy").read_bytes()
    n_refused = 0
    for position in range(80):
        for flip in (1, 128):
            content = bytearray(whole)
            content[position] ^= flip
            (tmp_path / "a.npy").write_bytes(content)
            try:
                assert _probabilities(tmp_path / "a.npy").shape == (5, 1)
            except PredictionsError as error:
                assert "\n" not in str(error)
                n_refused += 1
    assert n_refused > 100


def test_an_archive_of_arrays_is_refused(tmp_path):
    with open(tmp_path / "a.npy", "wb") as file:
        np.savez(file, a=np.ones(3))
    with pytest.raises(PredictionsError, match=r"a\.npy: the file is damaged: an archive of arrays; "):
        _probabilities(tmp_path / "a.npy")


@pytest.mark.parametrize(
    "array", [np.ones((2, 1)), np.ones(5), np.ones((5, 1), int), np.ones((5, 1), complex), np.full((5, 1), "x")]
)
def test_another_shape_or_type_is_refused(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    message = rf"a\.npy: predictions must be floats of shape \(5, 1\) \[clips, labels\], got {array.dtype} of shape {re.escape(str(array.shape))}; train again"
    with pytest.raises(PredictionsError, match=message):
        _probabilities(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("row", "found"),
    [([np.nan, 1], "nan"), ([1.5, -0.5], "-0.5"), ([0, 0], "nothing but zeros"), ([np.inf, 0], "inf")],
)
def test_a_bad_row_is_named_with_its_clip(tmp_path, row, found):
    np.save(tmp_path / "a.npy", np.array([[0, 1.0], row, row]))
    with pytest.raises(
        PredictionsError, match=rf"a\.npy: row 1 \(1\.wav\) must be probabilities, got {found}; train again"
    ):
        _probabilities(tmp_path / "a.npy", 3, 2)


@pytest.mark.slow
def test_a_million_rows_are_written_and_read(tmp_path):
    table = pd.DataFrame({"fname": pd.RangeIndex(1_000_000).astype(str), "label": "Bark, loud"}, dtype=str)
    write_csv(tmp_path / "t.csv", table)
    pd.testing.assert_frame_equal(read_csv(tmp_path / "t.csv", ["fname", "label"]), table)
