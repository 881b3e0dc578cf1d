import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cache.errors import CacheError, DamagedError
from cache.tables import read_table, write_table

SCHEMA = pa.schema([("name", pa.string()), ("n", pa.int64()), ("verified", pa.int8())])
FRAME = pd.DataFrame(
    {"name": ["a", "Glöckchen b", ""], "n": [1, -5, 2**60], "verified": pd.array([0, 1, pd.NA], dtype="Int8")}
)


@pytest.fixture
def path(tmp_path):
    write_table(tmp_path / "t.parquet", FRAME, SCHEMA, "clips")
    return tmp_path / "t.parquet"


def test_round_trip(path):
    found = read_table(path, "clips").astype({"verified": "Int8"})
    pd.testing.assert_frame_equal(found, FRAME, check_dtype=False)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_a_table_of_several_row_groups_round_trips(tmp_path, monkeypatch, rows):
    monkeypatch.setattr("cache.tables._ROW_GROUP", rows)
    write_table(tmp_path / "t.parquet", FRAME, SCHEMA, "clips")
    assert pq.ParquetFile(tmp_path / "t.parquet").num_row_groups == -(-3 // rows)
    pd.testing.assert_frame_equal(
        read_table(tmp_path / "t.parquet", "clips").astype({"verified": "Int8"}), FRAME, check_dtype=False
    )


def test_pandas_and_pyarrow_read_the_file(path):
    assert pd.read_parquet(path)["n"].tolist() == [1, -5, 2**60]
    assert pq.read_schema(path).names == ["name", "n", "verified"]


def test_equal_tables_have_equal_bytes_and_are_not_written_again(path, tmp_path):
    before = path.stat()
    write_table(path, FRAME.copy(), SCHEMA, "clips")
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    write_table(tmp_path / "other.parquet", FRAME, SCHEMA, "clips")
    assert (tmp_path / "other.parquet").read_bytes() == path.read_bytes()


def test_a_flipped_bit_is_refused(path):
    data = bytearray(path.read_bytes())
    for bit in range(0, 8 * len(data), 7):  # one or two bits of every byte
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        with pytest.raises(
            CacheError, match=r"t\.parquet: damaged, its checksum does not match; run featurize to mend it"
        ):
            read_table(path, "clips")
        data[bit // 8] ^= 1 << bit % 8


def test_a_truncated_table_is_refused(path):
    data = path.read_bytes()
    for n_bytes in range(0, len(data), 3):
        path.write_bytes(data[:n_bytes])
        with pytest.raises(
            DamagedError, match=r"t\.parquet: damaged, its checksum does not match; run featurize to mend it"
        ):
            read_table(path, "clips")


def test_seeded_noise_is_refused(path):
    random = np.random.default_rng(0)
    data = path.read_bytes()
    for _ in range(300):
        start, n_bytes = random.integers(0, len(data)), random.integers(2, 64)
        noisy = data[:start] + random.bytes(n_bytes) + data[start + n_bytes :]
        path.write_bytes(noisy)
        with pytest.raises(CacheError, match=r"t\.parquet: "):
            read_table(path, "clips")


def test_a_foreign_parquet_file_is_refused(tmp_path):
    FRAME.to_parquet(tmp_path / "foreign.parquet")
    with pytest.raises(
        CacheError, match=r"foreign\.parquet: must be earmark's clips table, got a foreign file; move"
    ):
        read_table(tmp_path / "foreign.parquet", "clips")


def test_another_table_is_refused(path):
    with pytest.raises(CacheError, match=r"t\.parquet: must be earmark's plan table, got a foreign file"):
        read_table(path, "plan")


def test_a_newer_version_is_refused_as_such(path, monkeypatch):
    monkeypatch.setattr("cache.tables.VERSION", 2)
    write_table(path, FRAME.head(1), SCHEMA, "clips")
    monkeypatch.undo()
    with pytest.raises(CacheError, match=r"t\.parquet: format version must be at most 1, got 2; update earmark"):
        read_table(path, "clips")


def test_a_copy_is_as_good_as_the_file(path, tmp_path):
    copy = shutil.copy(path, tmp_path / "copy.parquet")
    assert read_table(tmp_path / copy, "clips").equals(read_table(path, "clips"))


def test_a_table_that_holds_the_checksum_mark_itself_round_trips(tmp_path):
    frame = FRAME.assign(name=["xxh3-of-file:" + "0" * 16, "xxh3-of-file:", "x"])
    write_table(tmp_path / "t.parquet", frame, SCHEMA, "clips")
    assert read_table(tmp_path / "t.parquet", "clips")["name"].tolist() == frame["name"].tolist()


def test_a_missing_table_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "t.parquet", "clips")
