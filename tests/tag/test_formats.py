import io
import json

import numpy as np
import pandas as pd
import pytest

from tag.formats import audacity, csv, jsonl, raven, text_table


@pytest.fixture
def tags():
    return pd.DataFrame(
        {
            "recording": ["a, b.wav", "bad.wav"], "seconds": [1.25, 0.0], "label_1": ["Rain drops", ""],
            "probability_1": [0.81, np.nan], "label_2": ["None", ""], "probability_2": [0.19, np.nan],
            "right": [0.75, np.nan], "problem": ["", "not a recording"],
        }
    )  # fmt: skip


@pytest.fixture
def segments():
    rows = [(0.0, 2.5, "Rain\tdrops", 0.9), (3661.0, 3662.5, "Bell", 0.55)]
    return pd.DataFrame(rows, columns=["begin", "end", "label", "probability"])


def test_a_table_shows_the_best_labels_or_what_is_wrong(tags):
    header, first, second = text_table(tags).splitlines()
    assert header.split() == ["recording", "seconds", "best", "labels", "right"]
    assert first.split("  ")[0] == "a, b.wav" and "Rain drops 0.81, None 0.19" in first and first.endswith("75%")
    assert "not a recording" in second


def test_csv_reads_back(tags):
    back = pd.read_csv(io.StringIO(csv(tags)), keep_default_na=False)
    assert back["recording"].tolist() == tags["recording"].tolist()
    assert back["label_2"].tolist() == ["None", ""] and back["probability_1"].tolist() == ["0.8100", ""]


def test_json_lines_have_null_where_there_is_no_number(tags):
    first, second = map(json.loads, jsonl(tags).splitlines())
    assert first["probability_1"] == 0.81 and second["probability_1"] is None and second["label_1"] == ""


def test_audacity_reads_begin_end_and_label_between_tabs(segments):
    rows = [line.split("\t") for line in audacity(segments).splitlines()]
    assert rows == [["0.000000", "2.500000", "Rain drops"], ["3661.000000", "3662.500000", "Bell"]]


def test_raven_has_its_column_names_and_numbers_selections(segments):
    header, *rows = [line.split("\t") for line in raven(segments).splitlines()]
    assert header[:5] == ["Selection", "View", "Channel", "Begin Time (s)", "End Time (s)"]
    assert [row[0] for row in rows] == ["1", "2"] and {len(row) for row in rows} == {len(header)}
    assert rows[0][-2:] == ["Rain drops", "0.9000"]


def test_a_timeline_shows_times_as_a_clock_does(segments):
    lines = text_table(segments).splitlines()
    assert lines[2].split() == ["1:01:01.0", "1:01:02.5", "Bell", "0.55"]
