"""What tags are written as: a table for people, CSV and JSON lines for programs, label files for audio editors.

A format is a function from a table (of `Tagger.files` or `Tagger.timeline`) to text.
"""

import json
from collections.abc import Callable

import pandas as pd

from common.text import table


def text_table(tags: pd.DataFrame) -> str:
    """Columns for a terminal; probabilities to two digits, seconds to a tenth."""
    if "begin" in tags:
        names = ["recording"] if "recording" in tags else []
        header, right = (
            [*names, "begin", "end", "label", "probability"],
            (len(names), len(names) + 1, len(names) + 3),
        )
        rows = [
            [
                *(row[name] for name in names),
                clock(row["begin"]),
                clock(row["end"]),
                row["label"],
                f"{row['probability']:.2f}",
            ]
            for row in tags.to_dict("records")
        ]
    else:
        header, right = ["recording", "seconds", "best labels", "right"], (1, 3)
        rows = [
            [
                row["recording"],
                f"{row['seconds']:.1f}",
                _best(row),
                "" if pd.isna(row["right"]) else f"{row['right']:.0%}",
            ]
            for row in tags.to_dict("records")
        ]
    return "\n".join(table(header, rows, right)) + "\n"


def csv(tags: pd.DataFrame) -> str:
    """Comma-separated values with a header; probabilities to four digits."""
    return tags.to_csv(index=False, float_format="%.4f", lineterminator="\n")


def jsonl(tags: pd.DataFrame) -> str:
    """A JSON object a line; null where there is no number."""
    records = tags.astype(object).where(tags.notna(), None).to_dict("records")
    return "".join(f"{json.dumps(record, ensure_ascii=False)}\n" for record in records)


def audacity(segments: pd.DataFrame) -> str:
    """Audacity's label track: begin, end and label with tabs between; File, Import, Labels reads it.

    Source: https://manual.audacityteam.org/man/importing_and_exporting_labels.html
    """
    return "".join(f"{row.begin:.6f}\t{row.end:.6f}\t{_one_line(row.label)}\n" for row in segments.itertuples())


def raven(segments: pd.DataFrame) -> str:
    """Raven's selection table, with the label as Annotation and the probability as Score; no bounds of frequency.

    Source: Raven Pro User's Manual, chapter on selection tables, https://www.ravensoundsoftware.com
    """
    header = ["Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)"]
    lines = ["\t".join([*header, "Annotation", "Score"])]
    for number, row in enumerate(segments.itertuples(), start=1):
        place = f"{number}\tSpectrogram 1\t1\t{row.begin:.6f}\t{row.end:.6f}\t0.0\t22050.0"
        lines.append(f"{place}\t{_one_line(row.label)}\t{row.probability:.4f}")
    return "\n".join(lines) + "\n"


FORMATS: dict[str, Callable[[pd.DataFrame], str]] = {
    "table": text_table,
    "csv": csv,
    "jsonl": jsonl,
    "audacity": audacity,
    "raven": raven,
}


def clock(seconds: float) -> str:
    """Seconds as on a clock, to a tenth.

    >>> clock(75.25), clock(3725)
    ('1:15.2', '1:02:05.0')
    """
    tenths = round(seconds * 10)
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{tenths / 10:04.1f}" if hours else f"{minutes}:{tenths / 10:04.1f}"


def _best(row: dict) -> str:
    ranks = (rank for rank in range(1, 4) if row.get(f"label_{rank}"))
    best = ", ".join(f"{row[f'label_{rank}']} {row[f'probability_{rank}']:.2f}" for rank in ranks)
    return best or row["problem"]


def _one_line(label: str) -> str:
    return " ".join(label.split())
