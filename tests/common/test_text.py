"""Text for a terminal."""

import doctest

import pytest

import common.text
from common.text import escaped, listed, table


def test_the_examples_hold():
    assert doctest.testmod(common.text).failed == 0


def test_letters_of_every_script_stay_as_they_are():
    assert escaped("Glöckchen 雨 дождь 🎵") == "Glöckchen 雨 дождь 🎵"


@pytest.mark.parametrize("name", ["\x1b]0;x\x07", "a\rb", "\x9b2J", "a\u202eb", "a\u2028b", "a\udcffb"])
def test_nothing_that_steers_a_terminal_is_left(name):
    assert escaped(name).isprintable()


def test_few_names_are_all_given():
    assert listed(["a.wav", "b.wav"]) == "a.wav, b.wav"


def test_a_line_end_in_a_cell_does_not_break_the_table():
    assert len(table(["name"], [["a\nb"], ["c"]])) == 3
