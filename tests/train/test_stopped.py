"""A training run that is interrupted and killed, as a process: it ends at once, and goes on to the same predictions."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 120  # for what takes a few seconds; longer means that it hangs


@pytest.fixture
def training(work):
    """A function that starts a training run of one fold into a folder."""

    def start(folder):
        command = [sys.executable, "-m", "train", "conv1d", "--work", folder, "--cache", work / "cache"]
        options = ["--folds", "2", "--fold", "0", "--epochs", "120", "--batch-size", "4", "--seconds", "0.5"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_NUM_INTRAOP_THREADS": "1"}
        return subprocess.Popen([*command, *options], env=environment, stderr=subprocess.PIPE, text=True)

    return start


def _wait_for_epochs(folder, n_epochs):
    """Wait until so many epochs have an end in the fold's history."""
    history, limit = folder / "predictions_1d_conv" / "history_0.csv", time.monotonic() + WAIT_S
    while not history.exists() or history.read_text().count("\n") <= n_epochs:
        assert time.monotonic() < limit, "no progress"
        time.sleep(0.01)


def test_a_run_that_was_interrupted_and_killed_ends_with_the_predictions_of_one_that_was_not(training, tmp_path):
    assert training(tmp_path / "whole").wait(WAIT_S) == 0
    process = training(tmp_path / "broken")
    _wait_for_epochs(tmp_path / "broken", 5)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=WAIT_S)[1].splitlines()
    assert process.returncode == 130
    assert said[-1].startswith("train: stopped; the same command goes on with fold 0, epoch ")
    process = training(tmp_path / "broken")
    _wait_for_epochs(tmp_path / "broken", 20)
    process.kill()
    process.wait()
    assert not (tmp_path / "broken" / "predictions_1d_conv" / "finished_0.json").exists()
    process = training(tmp_path / "broken")
    said = process.communicate(timeout=WAIT_S)[1]
    assert process.returncode == 0 and "fold 0: goes on after epoch" in said
    for name in ("train_predictions_0.npy", "test_predictions_0.npy"):
        whole, broken = (
            (tmp_path / run / "predictions_1d_conv" / name).read_bytes() for run in ("whole", "broken")
        )
        assert whole == broken
