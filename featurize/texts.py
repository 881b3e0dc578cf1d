"""Columns of text as Arrow arrays: a million names are looked up and numbered without a million objects."""

import pandas as pd
import pyarrow as pa


def text_array(column: pd.Series) -> pa.Array:
    """A column of text as one array; a table that has grown holds it in pieces."""
    texts = pa.array(column, pa.large_string())
    return texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
