"""Text for a terminal."""

import io

import pytest

from common.text import escaped, listed, table


def test_letters_of_every_script_stay_as_they_are():
    assert escaped("Glöckchen 雨 дождь 🎵") == "Glöckchen 雨 дождь 🎵"


@pytest.mark.parametrize("name", ["\x1b]0;x\x07", "a\rb", "\x9b2J", "a\u202eb", "a\u2028b", "a\udcffb"])
def test_nothing_that_steers_a_terminal_is_left(name):
    assert escaped(name).isprintable()


def test_few_names_are_all_given():
    assert listed(["a.wav", "b.wav"]) == "a.wav, b.wav"


def test_a_line_end_in_a_cell_does_not_break_the_table():
    assert len(table(["name"], [["a\nb"], ["c"]])) == 3


ROW = ["conv1d", 10, "work/" + "x" * 90 + "/predictions_1d_conv"]


def test_a_table_shortens_its_widest_column_in_the_middle_to_keep_a_width():
    lines = table(["net", "clips", "predictions"], [ROW, ["conv2d", 9, "b"]], right=[1], width=80)
    assert max(map(len, lines)) == 80 and len(lines) == 3
    assert lines[1].startswith("conv1d     10  work/x") and lines[1].endswith("x/predictions_1d_conv")
    assert "x…x" in lines[1] and lines[2] == "conv2d      9  b"


def test_numbers_are_never_shortened():
    assert table(["n", "m"], [["1" * 60, "2" * 60]], right=[0, 1], width=80)[1] == "1" * 60 + "  " + "2" * 60


def test_a_table_is_as_wide_as_the_terminal_and_whole_in_a_file(monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    assert ROW[2] in table(["net", "clips", "predictions"], [ROW])[1]
    monkeypatch.setattr("common.text.sys.stdout", Terminal())
    assert max(map(len, table(["net", "clips", "predictions"], [ROW]))) == 70


class Terminal(io.StringIO):
    def isatty(self):
        return True
