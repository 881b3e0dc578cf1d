import io
import re

import pytest

from train.progress import RunProgress

SCORES = {"loss": 1.5, "accuracy": 0.2, "val_loss": 1.25, "val_accuracy": 0.5, "val_map3": 0.75}


class Terminal(io.StringIO):
    """A terminal in memory."""

    def isatty(self):
        return True

    def shown(self):
        """All that was ever shown, without colours."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.getvalue())

    def lines(self):
        """What was shown, line by line; a bar is a line each time that it is drawn."""
        return [line for line in re.split(r"[\r\n]+", self.shown()) if line.strip()]

    def codes(self):
        """The colours that were asked for, as ANSI codes."""
        found = re.findall(r"\x1b\[([0-9;]*)m", self.getvalue())
        return {code for codes in found for code in codes.split(";")}


@pytest.fixture
def clock(monkeypatch):
    """The display's clock: set clock[0], in seconds."""
    now = [100.0]
    monkeypatch.setattr("train.progress.time.monotonic", lambda: now[0])
    return now


def _two_epochs(progress, clock):
    with progress:
        progress.begin_fold(fold=2, n_folds_left=3, n_epochs=10, n_clips=128)
        for epoch in range(2):
            progress.begin_epoch(epoch)
            clock[0] += 2
            progress.batch(64, 1.75)
            clock[0] += 2
            progress.batch(128, 1.5)
            clock[0] += 1
            progress.end_epoch(SCORES)
            progress.refresh()
        progress.end_fold({"fold": 2, "epochs": 2, "kept_epoch": 1, "accuracy": 0.5, "map3": 0.75, "seconds": 10.4})


def test_without_a_terminal_there_is_a_line_an_epoch(clock):
    stream = io.StringIO()
    _two_epochs(RunProgress(stream), clock)
    scores = "validation loss 1.250, accuracy 0.500, MAP@3 0.750"
    assert stream.getvalue().splitlines() == [
        f"train: fold 2 epoch 1/10: {scores}, 32 clips/s, 2 min 25 s left",
        f"train: fold 2 epoch 2/10: {scores}, 32 clips/s, 2 min 20 s left",
        "train: fold 2: 2 epochs, kept 1, accuracy 0.500, MAP@3 0.750, 10 s",
    ]


def test_an_epoch_without_validation_has_a_short_line(clock):
    stream = io.StringIO()
    progress = RunProgress(stream)
    with progress:
        progress.begin_fold(0, 1, 10, 128)
        clock[0] += 4
        progress.batch(128, 1.5)
        progress.end_epoch({"loss": 1.5, "accuracy": 0.2})
    assert stream.getvalue() == "train: fold 0 epoch 1/10: loss 1.500, 32 clips/s, 36 s left\n"


def test_where_the_same_command_would_resume_is_known(clock):
    progress = RunProgress(io.StringIO())
    assert progress.place == "at the beginning"
    progress.begun = True
    assert progress.place == "with the folds that are not finished"
    progress.begin_fold(3, 1, 10, 128)
    assert progress.place == "with fold 3"
    progress.begin_epoch(4)
    assert progress.place == "with fold 3, epoch 5"


@pytest.fixture
def terminal(monkeypatch):
    """A terminal of 80 columns."""
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}.items():
        monkeypatch.setenv(name, value)
    return Terminal()


def test_until_the_first_batch_the_bar_says_that_the_net_is_compiled(clock, terminal):
    with RunProgress(terminal) as progress:
        progress.begin_fold(2, 3, 10, 128)
        progress.begin_epoch(0)
        progress.refresh()
        assert "building and compiling the net" in terminal.shown() and "clips/s" not in terminal.shown()


def test_on_a_terminal_each_validation_keeps_a_line_and_other_epochs_none(clock, terminal):
    with RunProgress(terminal) as progress:
        progress.begin_fold(2, 3, 10, 128)
        for epoch in range(2):
            progress.begin_epoch(epoch)
            clock[0] += 4
            progress.batch(128, 1.5)
            progress.end_epoch(SCORES if epoch else {"loss": 1.5})
    kept = [line for line in terminal.lines() if line.startswith("train: ")]
    assert kept == ["train: fold 2 epoch 2: validation loss 1.250, accuracy 0.500, MAP@3 0.750"]


def test_one_bar_shows_fold_i_of_n_the_share_of_the_run_and_the_time_left(clock, terminal):
    with RunProgress(terminal) as progress:
        for number, fold in enumerate((4, 7)):
            progress.begin_fold(fold, 2 - number, 10, 128)
            for epoch in range(10):
                progress.begin_epoch(epoch)
                clock[0] += 4
                progress.batch(128, 1.5)
                progress.end_epoch({"loss": 1.5})
                if (fold, epoch) == (7, 4):
                    progress.refresh()
    bar = next(line for line in terminal.lines() if "fold 7 (2 of 2) epoch 5/10" in line and "left" in line)
    assert " 75% 32 clips/s, 20 s left" in bar


def test_the_bar_of_a_finished_run_ends_at_100_percent_also_after_an_early_stop(clock, terminal):
    _two_epochs(RunProgress(terminal), clock)
    assert terminal.lines()[-1].rstrip().endswith("100% done in 10 s")


def test_the_bar_of_a_stopped_run_stays_where_it_was(clock, terminal):
    with pytest.raises(KeyboardInterrupt), RunProgress(terminal) as progress:
        progress.begin_fold(0, 1, 2, 128)
        progress.begin_epoch(1)
        raise KeyboardInterrupt
    assert " 50% " in terminal.lines()[-1] and "100%" not in terminal.getvalue()


def test_no_line_is_wider_than_80_columns(clock, terminal):
    with RunProgress(terminal) as progress:
        progress.begin_fold(9, 10, 100, 128)
        progress.begin_epoch(98)
        clock[0] += 3.0
        progress.batch(128, 1.5)
        progress.end_epoch(SCORES)
        progress.begin_epoch(99)
        progress.refresh()
        progress.end_fold(
            {"fold": 9, "epochs": 100, "kept_epoch": 90, "accuracy": 0.5, "map3": 0.5, "seconds": 3599}
        )
    lines = terminal.lines()
    assert any("fold 9 (1 of 10) epoch 100/100" in line and line.rstrip().endswith(" left") for line in lines)
    assert max(map(len, lines)) <= 80


def test_bars_are_cyan_at_work_and_green_when_done_and_no_color_is_heard(clock, terminal, monkeypatch):
    _two_epochs(RunProgress(terminal), clock)
    assert {code for code in terminal.codes() if code} >= {"36", "32"} and "31" not in terminal.codes()
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    _two_epochs(RunProgress(plain), clock)
    assert not plain.codes() & {"32", "36"}


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["file", "terminal"])
def test_lines_are_said_as_they_are_but_for_what_steers_a_terminal(stream):
    RunProgress(stream).say("a [b] \x1b[2J c.wav: kept")
    assert "train: a [b] \\u001b[2J c.wav: kept" in stream.getvalue()


def test_the_fold_at_work_is_known(clock):
    progress = RunProgress(io.StringIO())
    assert progress.fold is None
    _two_epochs(progress, clock)
    assert progress.fold == 2
