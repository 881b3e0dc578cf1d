import csv
import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensemble import csv_tables
from ensemble.csv_tables import decode, encode

VALUES = st.text(alphabet='ab,"\n\r é', max_size=4)


def _encoded(table):
    return b"".join(encode(table))


def _table(rows, columns):
    return pd.DataFrame(rows, columns=columns, dtype=str)


@given(st.integers(1, 3).flatmap(lambda n: st.lists(st.lists(VALUES, min_size=n, max_size=n))))
def test_any_table_of_text_comes_back(rows):
    columns = ["fname", "label, if any", 'a "reason"'][: len(rows[0]) if rows else 2]
    table = _table(rows, columns)
    content = _encoded(table)
    assert list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True)) == [columns, *rows]
    read = decode(content, columns)
    assert read is not None
    assert (read.columns.tolist(), read.to_numpy().tolist()) == (columns, rows)


@given(st.lists(st.tuples(*[st.text(alphabet='ab,"\n é', max_size=4)] * 2)))
def test_bytes_are_those_of_pandas(rows):
    for columns in (["fname", "la,bel"], ["fname"]):
        table = _table([row[: len(columns)] for row in rows], columns)
        assert _encoded(table) == table.to_csv(index=False, lineterminator="\n").encode()


def test_pieces_join_without_a_seam(monkeypatch):
    table = _table([[f"{i}.wav", "a,b" if i % 7 == 3 else "c"] for i in range(50)], ["fname", "label"])
    whole = _encoded(table)
    monkeypatch.setattr(csv_tables, "_ROWS", 7)
    assert _encoded(table) == whole == table.to_csv(index=False, lineterminator="\n").encode()


def test_a_missing_value_is_empty_text():
    assert (
        _encoded(pd.DataFrame({"fname": ["a", "b"], "label": ["x", None]}, dtype=object))
        == b"fname,label\na,x\nb,\n"
    )


def test_nothing_is_taken_for_a_number_or_for_missing():
    read = decode(b"fname,label\nNA,007\nnull,1.0\n,true\n", ["fname", "label"])
    assert read.to_numpy().tolist() == [["NA", "007"], ["null", "1.0"], ["", "true"]]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"fname\na\n",
        b"label,fname\na,b\n",
        b"fname,label\na\n",
        b"fname,label\na,b,c\n",
        b'fname,label\n"a,b\n',
        b'fname,label\n"a"b,c\n',
        b'fname,label\na"b,c\n',
        b'fname,label\n"a",b\n',
        b"fname,label\n\xff,b\n",
        b"fname\xff,label\na,b\n",
        b"\xef\xbb\xbffname,label\na,b\n",
    ],
)
def test_what_is_broken_or_quoted_by_others_wants_a_closer_look(content):
    assert decode(content, ["fname", "label"]) is None


def test_a_slice_of_a_table_is_encoded_alone():
    table = _table([["a", "x"], ["b", "y"], ["c", "z"]], ["fname", "label"])
    assert _encoded(table.iloc[1:2]) == b"fname,label\nb,y\n"
    assert _encoded(table.iloc[np.array([2, 0])]) == b"fname,label\nc,z\na,x\n"
