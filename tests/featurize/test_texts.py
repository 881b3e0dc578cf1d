import pandas as pd

from featurize.texts import text_array


def test_a_column_in_pieces_becomes_one_array():
    grown = pd.concat([pd.Series(["a", "ö"]), pd.Series(["", "a"])], ignore_index=True)
    assert text_array(grown).to_pylist() == ["a", "ö", "", "a"]
    assert text_array(grown).dictionary_encode().indices.to_pylist() == [0, 1, 2, 0]


def test_no_text_is_an_empty_array():
    assert len(text_array(pd.Series([], dtype=str))) == 0
