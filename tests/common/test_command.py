"""How a command ends: exit codes, one line for every error, escaped names."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
import tyro

from common import EarmarkError
from common.command import Command

ROOT = Path(__file__).resolve().parents[2]


def _raising(error: BaseException):
    def act(arguments: list[str]) -> int:
        raise error

    return act


def test_what_a_user_can_mend_is_one_line_and_exit_code_2(capsys):
    assert Command("cache").run(_raising(EarmarkError("a.wav: must be x, got y")), []) == 2
    assert capsys.readouterr().err == "cache: a.wav: must be x, got y\n"


def test_lines_below_an_error_are_escaped_as_well(capsys):
    error = EarmarkError("a")
    error.more = ["  b", "c\n"]
    assert Command("cache").run(_raising(error), []) == 2
    assert capsys.readouterr().err == "cache: a\ncache:   b\ncache: c\\u000a\n"


def test_an_unexpected_error_is_one_line_that_names_debug(capsys):
    assert Command("train").run(_raising(KeyError("x")), []) == 2
    assert capsys.readouterr().err == "train: unexpected KeyError: 'x'; give --debug for the traceback\n"


def test_debug_shows_the_traceback_and_is_not_an_argument_of_the_command(capsys):
    seen = []

    def act(arguments: list[str]) -> int:
        seen.extend(arguments)
        raise KeyError("x")

    assert Command("train").run(act, ["--debug", "conv1d"]) == 2
    assert seen == ["conv1d"] and "Traceback" in capsys.readouterr().err


def test_an_error_of_the_system_names_the_file(capsys):
    assert Command("cache").run(_raising(FileNotFoundError(2, "No such file", "a\nb")), []) == 2
    assert capsys.readouterr().err == "cache: a\\u000ab: No such file\n"


def test_ctrl_c_says_how_to_resume(capsys):
    assert Command("featurize", "rerun the command to resume").run(_raising(KeyboardInterrupt()), []) == 130
    assert capsys.readouterr().err == "featurize: stopped; rerun the command to resume\n"


@pytest.mark.parametrize("write", [Command("x").say, Command.result])
def test_an_escape_sequence_in_a_name_is_printed_as_text(write, capsys):
    write("bad\x1b[2J\u202e.wav")
    out, err = capsys.readouterr()
    assert "bad\\u001b[2J\\u202e.wav" in out + err


def _child(code: str, **options) -> subprocess.Popen:
    environment = {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": options.pop("encoding", "utf-8")}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, **options)


def test_a_closed_pipe_ends_the_command_quietly():
    code = "from common.command import Command; c = Command('x'); exit(c.run(lambda a: [c.result('x' * 99) for _ in range(9999)] and 0, []))"
    child = _child(code, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    child.stdout.read(10)
    child.stdout.close()
    assert child.wait() == 141 and child.stderr.read() == b""
    child.stderr.close()


def test_a_terminal_without_utf_8_gets_escapes():
    code = "from common.command import Command; c = Command('x'); exit(c.run(lambda a: c.result('Glöckchen ✓') or 0, []))"
    done = _child(code, stdout=subprocess.PIPE, encoding="ascii")
    assert done.communicate()[0] == b"Gl\\xf6ckchen \\u2713\n" and done.returncode == 0


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("no_color", ["", "1"])
def test_the_help_has_colours_on_a_terminal_unless_none_are_wanted(no_color, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setitem(tyro._experimental_options, "ansi_codes", True)

    def act(epochs: int = 1) -> int:
        return epochs

    with pytest.raises(SystemExit):
        Command("train").run(lambda arguments: tyro.cli(act, args=arguments), ["--help"])
    assert "epochs" in terminal.getvalue() and ("\x1b[" in terminal.getvalue()) is not bool(no_color)
