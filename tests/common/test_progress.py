import re

import pytest

from common.progress import progress


@pytest.fixture
def terminal(monkeypatch):
    """Makes standard error a terminal, for rich."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)


def _codes(text):
    """The colours in what a terminal was sent, as ANSI codes."""
    return {code for codes in re.findall(r"\x1b\[([0-9;]*)m", text) for code in codes.split(";")}


def test_a_bar_ends_at_100_percent_also_where_the_total_was_an_estimate(terminal, capsys):
    with progress("pack", 7e6, "MB", 1e6) as steps:
        steps.advance(6e6)
    assert re.findall(r"\d+%", capsys.readouterr().err)[-1] == "100%"


def test_a_bar_that_an_error_ends_stays_where_it_was(terminal, capsys):
    with pytest.raises(OSError), progress("pack", 8) as steps:
        steps.advance(4)
        raise OSError
    assert re.findall(r"\d+%", capsys.readouterr().err)[-1] == "50%"


def test_a_finished_bar_says_its_mean_rate_and_its_time_within_80_columns(terminal, capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("common.progress.time.monotonic", lambda: now[0])
    with progress("featurize", 1000) as steps:
        now[0] = 100.0
        steps.advance(1000, "1,210 times real time")
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err))
    last = [line.rstrip() for line in lines if line.strip()][-1]
    assert last.endswith("100% 10 clips/s, 1 min 40 s") and len(last) <= 80


def test_a_bar_is_never_red_and_has_no_colour_where_none_is_wanted(terminal, capsys, monkeypatch):
    with progress("pack", 8) as steps:
        steps.advance(4)
    codes = _codes(capsys.readouterr().err)
    assert "32" in codes and not codes & {"31", "35", "91", "95"}
    monkeypatch.setenv("NO_COLOR", "1")
    with progress("pack", 8) as steps:
        steps.advance(4)
    assert not _codes(capsys.readouterr().err) & {"32", "36"}
