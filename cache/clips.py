"""The clip table: the dataset as its CSV files say it now, in their order, and the slot that holds each clip.

Columns: clip (file name as in the CSV), split ("train" or "test"), label ("" in test), manually_verified
(0, 1 or missing), every other column of train.csv as text, and slot, the plan's row. The file is rewritten
whole and swapped in by one rename whenever the dataset or its labels change.
"""

from pathlib import Path

import pandas as pd
import pyarrow as pa

from cache.tables import read_table, write_table

FILE_NAME = "clips.parquet"
FIRST_COLUMNS = ["clip", "split", "label", "manually_verified"]
_TYPES = {"manually_verified": pa.int8(), "slot": pa.int64()}


def write_clips(folder: Path, clips: pd.DataFrame, durable: bool = False) -> None:
    """Swap in a new clip table; durable: as in `write_atomic`."""
    schema = pa.schema([(name, _TYPES.get(name, pa.string())) for name in clips.columns])
    write_table(folder / FILE_NAME, clips, schema, "clips", durable)


def read_clips(folder: Path) -> pd.DataFrame:
    """The clip table, [clips].

    Raises:
        CacheError: damaged, foreign or newer. FileNotFoundError: there is none.
    """
    clips = read_table(folder / FILE_NAME, "clips")
    return clips.astype({"manually_verified": "Int8", "slot": "int64"})
