import io

import pytest
from rich.console import Console

from cache import progress
from cache.progress import reading_progress


def test_nothing_is_printed_where_there_is_no_terminal(capfd):
    with reading_progress("raw-100.zarr", 1000) as advance_to:
        advance_to(500)
        advance_to(1000)
    assert capfd.readouterr() == ("", "")


def test_a_terminal_shows_name_and_size_on_standard_error(monkeypatch, capfd):
    shown = io.StringIO()
    monkeypatch.setattr(progress, "Console", lambda stderr: Console(file=shown, force_terminal=True, width=100))
    with reading_progress("raw-100.zarr", 1000) as advance_to:
        advance_to(1000)
    assert "raw-100.zarr" in shown.getvalue() and "1.0/1.0 kB" in shown.getvalue()
    assert capfd.readouterr().out == ""


def test_an_error_inside_passes_through():
    with pytest.raises(KeyError), reading_progress("raw-100.zarr", 1000):
        raise KeyError("inside")
