"""The clip table follows the dataset, and forgets only what is pruned."""

import pandas as pd

from featurize.clip_table import merge_clips


def table(train, test=(), **columns):
    names = [*train, *test]
    frame = {
        "clip": names,
        "split": ["train"] * len(train) + ["test"] * len(test),
        "label": ["x"] * len(train) + [""] * len(test),
        "manually_verified": pd.array([1] * len(train) + [pd.NA] * len(test), dtype="Int8"),
        **columns,
        "slot": range(len(names)),
    }
    return pd.DataFrame(frame)


def test_a_first_table_is_what_is_listed():
    listed = table(["a"], ["t"])
    assert merge_clips(listed, None, prune=False)[0] is listed


def test_unlisted_clips_end_their_split():
    clips, unlisted = merge_clips(table(["b"], ["t"]), table(["a", "b", "c"], ["s", "t"]), prune=False)
    assert clips["clip"].tolist() == ["b", "a", "c", "t", "s"] and unlisted["clip"].tolist() == ["a", "c", "s"]


def test_pruned_clips_are_left_out_but_named():
    clips, unlisted = merge_clips(table(["b"], ["t"]), table(["a", "b"], ["t"]), prune=True)
    assert clips["clip"].tolist() == ["b", "t"] and unlisted["clip"].tolist() == ["a"]


def test_one_name_in_both_splits_is_two_clips():
    clips, unlisted = merge_clips(table(["a"]), table(["a"], ["a"]), prune=False)
    assert clips["split"].tolist() == ["train", "test"] and len(unlisted) == 1


def test_columns_of_both_tables_are_kept():
    clips, _ = merge_clips(table(["b"], licence=["CC0"]), table(["a"], fold=["3"]), prune=False)
    assert clips.columns.tolist() == ["clip", "split", "label", "manually_verified", "licence", "fold", "slot"]
    assert clips["licence"].tolist() == ["CC0", ""] and clips["fold"].tolist() == ["", "3"]
