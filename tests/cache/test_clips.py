import numpy as np
import pandas as pd
import pytest

from cache.clips import FILE_NAME, FIRST_COLUMNS, read_clips, write_clips
from cache.errors import CacheError

CLIPS = pd.DataFrame(
    {
        "clip": ["sub/a b.wav", "Glöckchen.wav", "a.wav"],
        "split": ["train", "train", "test"],
        "label": ["None", "Bell", ""],
        "manually_verified": pd.array([1, 0, pd.NA], dtype="Int8"),
        "license": ["CC0", "NA", ""],
        "slot": [2, 0, 5],
    }
)


def test_round_trip_keeps_order_columns_and_types(tmp_path):
    write_clips(tmp_path, CLIPS)
    found = read_clips(tmp_path)
    assert list(found) == [*FIRST_COLUMNS, "license", "slot"]
    pd.testing.assert_frame_equal(found, CLIPS, check_dtype=False)
    assert found["manually_verified"].dtype == "Int8" and found["slot"].dtype == np.int64


def test_texts_that_look_like_missing_values_stay_texts(tmp_path):
    write_clips(tmp_path, CLIPS)
    found = read_clips(tmp_path)
    assert found["label"].tolist() == ["None", "Bell", ""]
    assert found["license"].tolist() == ["CC0", "NA", ""]


def test_manually_verified_may_be_missing_everywhere(tmp_path):
    write_clips(tmp_path, CLIPS.assign(manually_verified=pd.array([pd.NA] * 3, dtype="Int8")))
    found = read_clips(tmp_path)["manually_verified"]
    assert found.isna().all() and found.dtype == "Int8"


def test_a_new_table_takes_the_place_of_the_old_one(tmp_path):
    write_clips(tmp_path, CLIPS)
    write_clips(tmp_path, CLIPS.head(1).drop(columns="license"))
    assert list(read_clips(tmp_path)) == [*FIRST_COLUMNS, "slot"] and len(read_clips(tmp_path)) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [FILE_NAME, "copies"]


def test_other_tools_open_the_file(tmp_path):
    write_clips(tmp_path, CLIPS)
    assert pd.read_parquet(tmp_path / FILE_NAME)["slot"].tolist() == [2, 0, 5]


def test_a_damaged_table_is_refused(tmp_path):
    write_clips(tmp_path, CLIPS)
    data = bytearray((tmp_path / FILE_NAME).read_bytes())
    data[30] ^= 4
    (tmp_path / FILE_NAME).write_bytes(data)
    with pytest.raises(CacheError, match=r"clips\.parquet: damaged, .*; run featurize to mend it"):
        read_clips(tmp_path)


def test_a_missing_table_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_clips(tmp_path)
