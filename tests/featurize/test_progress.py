"""A bar on a terminal, a line now and then elsewhere."""

import io

from rich.console import Console

from featurize import progress
from featurize.progress import FeaturizeProgress


def test_lines_where_there_is_no_terminal(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_LINE_EVERY_S", -1)
    with FeaturizeProgress(Console(file=io.StringIO())) as bar:
        bar.begin(100)
        bar.advance(50, 250.0)
    assert capsys.readouterr().err.startswith("featurize: 50 of 100 clips, ")


def test_no_line_before_its_time(capsys):
    with FeaturizeProgress(Console(file=io.StringIO())) as bar:
        bar.begin(100)
        bar.advance(50, 250.0)
    assert capsys.readouterr().err == ""


def test_a_bar_with_rates_on_a_terminal(capsys):
    terminal = Console(file=io.StringIO(), force_terminal=True, width=120)
    with FeaturizeProgress(terminal) as bar:
        bar.begin(100)
        bar.advance(50, 250.0)
    assert "50/100" in terminal.file.getvalue() and "clips/s" in terminal.file.getvalue()
    assert capsys.readouterr().err == ""


def test_nothing_to_do_shows_nothing():
    terminal = Console(file=io.StringIO(), force_terminal=True, width=120)
    with FeaturizeProgress(terminal) as bar:
        bar.begin(0)
    assert terminal.file.getvalue() == ""
