import csv
import io
import os
import pickle
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensemble import PredictionsError
from ensemble.files import plain, read_array, read_csv, read_json, write_array, write_csv, write_json
from ensemble.predictions import checked_probabilities


class _Untouchable:
    """Unpickling this would end the test run."""

    def __reduce__(self):
        return exec, ("raise SystemExit('unpickled')",)


def _probabilities(path, n_clips=5, n_labels=1):
    fnames = pd.Series([f"{i}.wav" for i in range(n_clips)])
    return checked_probabilities(path, read_array(path, "train again"), fnames, n_labels, "train again")


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
    write_json(tmp_path / "v.json", plain(value))
    expected = {"a": [1, 0.1], "b": str(tmp_path), "c": [0, 1], "d": None, "e": None, "5": True, "f": None}
    assert read_json(tmp_path / "v.json") == expected == plain(value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "truncated"),
        (b"{", "truncated"),
        (b"\xff\xfe", "malformed"),
        (b"[" * 100_000, "recursion"),
        (b"[" * 30 + b"]" * 30, "20 lists and objects inside each other"),
        (b'{"map3": NaN}', "malformed"),
        (b'{"map3": -Infinity}', "malformed"),
        (b'["\\ud800"]', "truncated|surrogate"),
        (b"9" * 5000, "out of range"),
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
        (b"", "it is empty"),
        (b"name,label\na,b\n", "columns must be fname,label, got 'name,label'"),
        (b"\xef\xbb\xbffname,label\na,b\n", r"it begins with a byte order mark \(BOM\)"),
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


def test_a_csv_may_have_more_columns_in_any_order_and_a_byte_order_mark(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("label,x,fname\nBark,1,a.wav\n", encoding="utf-8-sig")
    assert read_csv(path, ["fname", "label"], more=True)[["fname", "label"]].to_numpy().tolist() == [
        ["a.wav", "Bark"]
    ]
    for header in ("fname,x", "fname,label,x,x"):
        path.write_text(f"{header}\n")
        with pytest.raises(PredictionsError, match=f"columns must be fname,label, got '{header}'; find it"):
            read_csv(path, ["fname", "label"], more=True, advice="find it")


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
