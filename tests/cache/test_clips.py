import numpy as np
import pandas as pd
import pytest

from cache import CacheError
from cache.clips import Clips

NAMES = ["a.wav", "b.wav", "part/c.wav", "b.wav", "d.wav"]
SPLITS = ["train", "train", "train", "test", "test"]


@pytest.fixture
def clips():
    return Clips("work/cache", pd.DataFrame({"clip": NAMES, "split": SPLITS, "slot": [4, 3, 2, 1, 0]}))


def test_a_clip_is_found_by_name_and_by_row(clips):
    assert [clips.row(clip) for clip in ("a.wav", "part/c.wav", 0, 4, -1, np.int64(3))] == [0, 2, 0, 4, 4, 3]


def test_a_name_that_is_in_both_splits_needs_the_split(clips):
    assert clips.row("b.wav", "train") == 1 and clips.row("b.wav", "test") == 3
    message = r"work/cache: clip 'b\.wav' is in train \(row 1\) and test \(row 3\); give the split or the row"
    with pytest.raises(CacheError, match=message):
        clips.row("b.wav")


@pytest.mark.parametrize("clip", ["d.wav", 4])
def test_a_clip_of_another_split_is_refused(clips, clip):
    with pytest.raises(CacheError, match=rf"clip '{clip}' is in test; give split='test'"):
        clips.row(clip, "train")


def test_a_name_that_is_not_there_is_answered_with_the_nearest(clips):
    with pytest.raises(CacheError, match=r"work/cache: has no clip 'A\.wav'; the nearest names are a\.wav"):
        clips.row("A.wav")
    with pytest.raises(CacheError, match=r"has no clip 'data/audio_train/d\.wav'; the nearest names are .*d\.wav"):
        clips.row("data/audio_train/d.wav")
    with pytest.raises(CacheError, match=r'has no clip \'?"?x{90}.*; cache\.clips\["clip"\] has the names'):
        clips.row("x" * 10_000)


@pytest.mark.parametrize("row", [5, -6, 10**30])
def test_a_row_beyond_the_table_is_an_index_error(clips, row):
    with pytest.raises(IndexError, match=rf"work/cache: row of a clip must be 0 to 4, got {row}"):
        clips.row(row)


def test_rows_are_those_of_names_of_rows_of_bools_or_all(clips):
    assert clips.rows().tolist() == [0, 1, 2, 3, 4]
    assert clips.rows(split="test").tolist() == [3, 4]
    assert clips.rows(["d.wav", "b.wav"], "test").tolist() == [4, 3]
    assert clips.rows([2, "a.wav"]).tolist() == [2, 0]
    assert clips.rows(np.array([2, 0])).tolist() == [2, 0]
    assert clips.rows(clips.table["clip"] == "b.wav").tolist() == [1, 3]
    assert clips.rows(clips.table["clip"] == "b.wav", "train").tolist() == [1]
    assert clips.rows(pd.Series([1, None, 0, 1, None], dtype="Int8") == 1).tolist() == [0, 3]
    assert clips.rows([]).tolist() == []
    part = clips.table[clips.table["clip"] == "b.wav"]
    assert clips.rows(part).tolist() == clips.rows(part.reset_index(drop=True)).tolist() == [1, 3]


def test_bools_of_another_number_and_other_splits_are_refused(clips):
    with pytest.raises(CacheError, match=r"work/cache: clips must have a bool for each of 5 rows, got 2"):
        clips.rows([True, False])
    with pytest.raises(CacheError, match=r'split must be "train", "test" or None, got \'dev\''):
        clips.rows(split="dev")


def test_bools_of_pandas_are_matched_by_their_index(clips):
    ordered = clips.table.sort_values("slot")
    assert clips.rows(ordered["clip"] == "a.wav").tolist() == [0]
    by_name = clips.table.set_index("clip")
    assert clips.rows(by_name["slot"] == 4).tolist() == [0]


@pytest.mark.parametrize("clip", [1.0, None, [0, 1], slice(0, 3)])
def test_what_is_neither_a_name_nor_a_row_is_refused(clips, clip):
    with pytest.raises(CacheError, match=r"work/cache: a clip must be a name or a row, a whole number, got "):
        clips.row(clip)
