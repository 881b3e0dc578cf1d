"""Tables of text as CSV and back, a million rows in a moment.

A value is quoted where it holds a comma, a quote or the end of a line, and where a line would else be empty: the
bytes are those of pandas's `to_csv` with "\\n" at the ends of lines (which leaves a lone "\\r" without quotes, so
that it does not come back).
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

_TEXT = pa.large_string()
_ROWS = 1 << 17  # rows that are in memory twice
_BOM = b"\xef\xbb\xbf"  # which PyArrow skips, and `csv` takes for a part of the first column's name
_SPECIAL = (b",", b'"', b"\n", b"\r")


def encode(table: pd.DataFrame) -> Iterator[memoryview]:
    """The CSV of a table of text, piece by piece, its header first; a missing value is empty text."""
    yield _lines([pa.array([name], _TEXT) for name in table])
    schema = pa.schema([(name, _TEXT) for name in table])
    for batch in pa.Table.from_pandas(table, schema, preserve_index=False).to_batches(_ROWS):
        yield _lines(batch.columns)
    pa.default_memory_pool().release_unused()  # tens of megabytes after a million rows


def decode(content: bytes, columns: Sequence[str]) -> pd.DataFrame | None:
    """The table of text in some CSV; no value is taken for a number or for a missing one.

    Returns:
        None where it is broken, has other columns, or has quotes that `encode` would not have written: PyArrow
        puts up with some that mean nothing.
    """
    convert = pa_csv.ConvertOptions(column_types=dict.fromkeys(columns, _TEXT))
    parse = pa_csv.ParseOptions(newlines_in_values=True)
    try:
        read = pa_csv.read_csv(pa.BufferReader(content), parse_options=parse, convert_options=convert)
        if content.startswith(_BOM) or read.column_names != list(columns):
            return None
    except (pa.ArrowInvalid, UnicodeDecodeError):
        return None
    table = read.to_pandas(split_blocks=True, self_destruct=True)
    return None if b'"' in content and b"".join(encode(table)) != content else table


def _lines(columns: Sequence[pa.Array]) -> memoryview:
    """Rows as lines, end to end."""
    values = [_quoted(column, alone=len(columns) == 1) for column in columns]
    values[-1] = pc.binary_join_element_wise(values[-1], _text(""), _text("\n"), null_handling="replace")
    return _end_to_end(pc.binary_join_element_wise(*values, _text(","), null_handling="replace"))


def _quoted(values: pa.Array, alone: bool) -> pa.Array:
    """Values as they stand in a line; alone: in a table of one column."""
    values, text = values.fill_null(""), bytes(_end_to_end(values))
    if not alone and not any(special in text for special in _SPECIAL):
        return values
    doubled = pc.replace_substring(values, '"', '""')
    quoted = pc.binary_join_element_wise(_text(""), doubled, _text(""), _text('"'))
    return pc.if_else(pc.match_substring_regex(values, '[,"\r\n]' + "|^$" * alone), quoted, values)


def _end_to_end(values: pa.Array) -> memoryview:
    """The text of some values, which lies in one piece."""
    if not len(values):
        return memoryview(b"")
    _, offsets, data = values.buffers()
    first, end = np.frombuffer(offsets, np.int64)[[values.offset, values.offset + len(values)]]
    return memoryview(data)[first:end]


def _text(value: str) -> pa.Scalar:
    return pa.scalar(value, _TEXT)
