import io

import pytest

from train.progress import RunProgress

SCORES = {"loss": 1.5, "accuracy": 0.2, "val_loss": 1.25, "val_accuracy": 0.5, "val_map3": 0.75}


class Terminal(io.StringIO):
    def isatty(self):
        return True


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
        progress.end_fold({"fold": 2, "epochs": 2, "kept_epoch": 1, "accuracy": 0.5, "map3": 0.75, "seconds": 10.4})


def test_without_a_terminal_there_is_a_line_an_epoch(clock):
    stream = io.StringIO()
    _two_epochs(RunProgress(stream), clock)
    scores = "loss 1.5000, validation loss 1.2500, accuracy 0.5000, MAP@3 0.7500"
    assert stream.getvalue().splitlines() == [
        f"train: fold 2 epoch 1/10: {scores}, 32 clips/s, 2 min 25 s left",
        f"train: fold 2 epoch 2/10: {scores}, 32 clips/s, 2 min 20 s left",
        "train: fold 2: finished after 2 epochs, kept 1, accuracy 0.5000, MAP@3 0.7500, 10 s",
    ]


def test_an_epoch_without_validation_has_a_short_line(clock):
    stream = io.StringIO()
    progress = RunProgress(stream)
    with progress:
        progress.begin_fold(0, 1, 10, 128)
        clock[0] += 4
        progress.batch(128, 1.5)
        progress.end_epoch({"loss": 1.5, "accuracy": 0.2})
    assert stream.getvalue() == "train: fold 0 epoch 1/10: loss 1.5000, 32 clips/s, 36 s left\n"


def test_where_the_same_command_would_resume_is_known(clock):
    progress = RunProgress(io.StringIO())
    assert progress.place == "at the beginning"
    progress.begun = True
    assert progress.place == "with the folds that are not finished"
    progress.begin_fold(3, 1, 10, 128)
    assert progress.place == "with fold 3"
    progress.begin_epoch(4)
    assert progress.place == "with fold 3, epoch 5"


def test_until_the_first_batch_the_bar_says_that_the_net_is_compiled(clock, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    stream = Terminal()
    with RunProgress(stream) as progress:
        progress.begin_fold(2, 3, 10, 128)
        progress.begin_epoch(0)
    assert "building and compiling the net" in stream.getvalue() and "clips/s" not in stream.getvalue()


def test_on_a_terminal_there_is_a_bar_with_fold_epoch_rate_and_scores(clock, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    stream = Terminal()
    progress = RunProgress(stream)
    with progress:
        progress.begin_fold(2, 3, 10, 128)
        progress.begin_epoch(0)
        clock[0] += 4
        progress.batch(128, 1.5)
        progress.end_epoch(SCORES)
        progress.begin_epoch(1)
        progress._bar.refresh()
    for text in (
        "fold 2 epoch 1/10",
        "fold 2 epoch 2/10",
        "32 clips/s",
        "loss 1.50, accuracy 0.50",
        "1 min 56 s left",
    ):
        assert text in stream.getvalue()


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_lines_are_said_as_they_are_but_for_what_steers_a_terminal(stream):
    RunProgress(stream).say("a [b] \x1b[2J c.wav: kept")
    assert "train: a [b] \\u001b[2J c.wav: kept" in stream.getvalue()


def test_the_fold_at_work_is_known(clock):
    progress = RunProgress(io.StringIO())
    assert progress.fold is None
    _two_epochs(progress, clock)
    assert progress.fold == 2
