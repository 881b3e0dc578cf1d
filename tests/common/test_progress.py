import re

import pytest

from common.progress import progress


@pytest.fixture
def terminal(monkeypatch):
    """Makes standard error a terminal, for rich."""
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)


def test_a_bar_ends_at_100_percent_also_where_the_total_was_an_estimate(terminal, capsys):
    with progress("pack", 7e6, "MB", 1e6) as steps:
        steps.advance(6e6)
    assert re.findall(r"\d+%", capsys.readouterr().err)[-1] == "100%"


def test_a_bar_that_an_error_ends_stays_where_it_was(terminal, capsys):
    with pytest.raises(OSError), progress("pack", 8) as steps:
        steps.advance(4)
        raise OSError
    assert re.findall(r"\d+%", capsys.readouterr().err)[-1] == "50%"
