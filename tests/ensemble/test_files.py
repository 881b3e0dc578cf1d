import pickle
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ensemble.errors import PredictionsError
from ensemble.files import plain, read_array, read_csv, read_json, write_array, write_csv, write_json


class _Untouchable:
    """Unpickling this would end the test run."""

    def __reduce__(self):
        return exec, ("raise SystemExit('unpickled')",)


def test_array_comes_back_as_written_and_plain_numpy_loads_it(tmp_path):
    array = np.random.default_rng(0).random((5, 3))
    write_array(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(read_array(tmp_path / "a.npy"), array)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), array)


def test_table_comes_back_as_text(tmp_path):
    table = pd.DataFrame(
        {"fname": ["None", "NA", "007", "a,b", 'q"q', ""], "label": ["1.0", "nan", "", "é", " ", "x"]}
    )
    write_csv(tmp_path / "t.csv", table)
    assert read_csv(tmp_path / "t.csv", ["fname", "label"]).to_numpy().tolist() == table.to_numpy().tolist()


@pytest.mark.parametrize(
    "content",
    [
        b'fname,label\n"a.wav","x"\nb.wav,y\n',
        b"fname,label\r\na.wav,x\r\nb.wav,y\r\n",
        b'"fname",label\n\na.wav,x\n\nb.wav,y',
    ],
)
def test_table_that_another_program_wrote_is_read(tmp_path, content):
    (tmp_path / "t.csv").write_bytes(content)
    read = read_csv(tmp_path / "t.csv", ["fname", "label"])
    assert read.to_numpy().tolist() == [["a.wav", "x"], ["b.wav", "y"]]


def test_table_without_rows_comes_back(tmp_path):
    write_csv(tmp_path / "t.csv", pd.DataFrame({"fname": []}))
    assert read_csv(tmp_path / "t.csv", ["fname"]).shape == (0, 1)


def test_json_comes_back_plain(tmp_path):
    value = {
        "a": (1, np.float64(0.1)),
        "b": Path("x/y"),
        "c": np.arange(2),
        "d": float("nan"),
        "e": None,
        5: True,
    }
    write_json(tmp_path / "v.json", value)
    expected = {"a": [1, 0.1], "b": "x/y", "c": [0, 1], "d": None, "e": None, "5": True}
    assert read_json(tmp_path / "v.json") == expected == plain(value)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    write_array(tmp_path / "a.npy", np.ones(3))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        write_array(tmp_path / "a.npy", np.array([object()]))
    np.testing.assert_array_equal(read_array(tmp_path / "a.npy"), np.ones(3))
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_folders_are_made(tmp_path):
    write_json(tmp_path / "new" / "folder" / "v.json", [])
    assert read_json(tmp_path / "new" / "folder" / "v.json") == []


@pytest.mark.parametrize(
    ("read", "name"),
    [(read_json, "v.json"), (lambda path: read_csv(path, ["fname"]), "t.csv"), (read_array, "a.npy")],
)
def test_missing_file_is_named(tmp_path, read, name):
    with pytest.raises(
        PredictionsError, match=rf"^{re.escape(str(tmp_path / name))}: file must be there, got none; "
    ):
        read(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_broken_json_is_refused(tmp_path, content):
    (tmp_path / "v.json").write_bytes(content)
    with pytest.raises(PredictionsError, match=r"v\.json: file must be JSON, got a broken one \(.+\); train into"):
        read_json(tmp_path / "v.json")


@pytest.mark.parametrize("content", [b'fname,label\n"a.wav,x\n', b"fname,label\n\xff\xfe,x\n"])
def test_broken_csv_is_refused(tmp_path, content):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(PredictionsError, match=r"t\.csv: file must be CSV, got a broken one \(.+\); train into"):
        read_csv(tmp_path / "t.csv", ["fname", "label"])


@pytest.mark.parametrize(("content", "found"), [("name,label\na,b\n", "name,label"), ("", "none")])
def test_other_columns_are_refused(tmp_path, content, found):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(PredictionsError, match=rf"t\.csv: columns must be fname,label, got {found}; train into"):
        read_csv(tmp_path / "t.csv", ["fname", "label"])


@pytest.mark.parametrize(("line", "n_values"), [("c", 1), ("c,d,e", 3)])
def test_row_of_another_length_is_named(tmp_path, line, n_values):
    (tmp_path / "t.csv").write_text(f"fname,label\na,b\n{line}\n")
    with pytest.raises(PredictionsError, match=rf"t\.csv: row 1 must have 2 values, got {n_values}; train into"):
        read_csv(tmp_path / "t.csv", ["fname", "label"])


def test_pickled_array_is_refused_without_unpickling(tmp_path):
    np.save(tmp_path / "a.npy", np.array([_Untouchable()], dtype=object), allow_pickle=True)
    with pytest.raises(PredictionsError, match=r"a\.npy: file must be an unpickled \.npy array, .*Object arrays"):
        read_array(tmp_path / "a.npy")


def test_bare_pickle_is_refused_without_unpickling(tmp_path):
    (tmp_path / "a.npy").write_bytes(pickle.dumps(_Untouchable()))
    with pytest.raises(PredictionsError, match=r"a\.npy: file must be an unpickled \.npy array, .*magic string"):
        read_array(tmp_path / "a.npy")


@pytest.mark.parametrize("n_bytes", [0, 4, 20, 128, 140, 167])
def test_truncated_array_is_refused(tmp_path, n_bytes):
    write_array(tmp_path / "a.npy", np.ones((5, 1)))
    whole = (tmp_path / "a.npy").read_bytes()
    assert len(whole) == 168
    (tmp_path / "a.npy").write_bytes(whole[:n_bytes])
    with pytest.raises(
        PredictionsError, match=r"a\.npy: file must be an unpickled \.npy array, got a broken one \("
    ):
        read_array(tmp_path / "a.npy")


@pytest.mark.parametrize("shape", ["(9999999999999999, 1)", "(99999999999999999999, 1)"])
def test_array_that_claims_to_be_huge_is_refused(tmp_path, shape):
    write_array(tmp_path / "a.npy", np.ones((5, 1)))
    content = (tmp_path / "a.npy").read_bytes().replace(b"(5, 1), }".ljust(40), f"{shape}, }}".ljust(40).encode())
    assert shape.encode() in content
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(PredictionsError, match=r"a\.npy: file must be an unpickled \.npy array, got a broken one"):
        read_array(tmp_path / "a.npy")


def test_every_refusal_is_one_line(tmp_path):
    (tmp_path / "t.csv").write_bytes(b'fname,label\n"a.wav,x\n')
    with pytest.raises(PredictionsError) as refusal:
        read_csv(tmp_path / "t.csv", ["fname", "label"])
    assert "\n" not in str(refusal.value)
