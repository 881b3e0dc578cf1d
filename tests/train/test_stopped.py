"""Training runs that are interrupted or killed, as processes: they go on to the predictions of one that was not."""

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

    def start(folder, *more):
        command = [sys.executable, "-m", "train", "conv1d", "--work", folder, "--cache", work / "cache", *more]
        options = ["--folds", "2", "--fold", "0", "--epochs", "120", "--batch-size", "4", "--seconds", "0.5"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_NUM_INTRAOP_THREADS": "1"}
        return subprocess.Popen([*command, *options], env=environment, stderr=subprocess.PIPE, text=True)

    return start


def _history(folder):
    return folder / "predictions_1d_conv" / "history_0.csv"


def _wait_for_epochs(folder, n_epochs):
    """Wait until so many epochs have an end in the fold's history."""
    history, limit = _history(folder), time.monotonic() + WAIT_S
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
    assert _predictions(tmp_path / "broken") == _predictions(tmp_path / "whole")


@pytest.mark.slow
def test_a_fold_whose_worker_is_killed_goes_on_at_another(training, tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "1")
    assert training(tmp_path / "whole").wait(WAIT_S) == 0
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        process = training(tmp_path / "broken", "--scheduler", cluster.scheduler_address)
        _wait_for_epochs(tmp_path / "broken", 20)
        before = _history(tmp_path / "broken").read_text().splitlines()
        (worker,) = (address for address, tasks in client.processing().items() if tasks)
        os.kill(client.run(os.getpid)[worker], signal.SIGKILL)
        said = process.communicate(timeout=WAIT_S)[1]
        assert process.returncode == 0, said
    after = _history(tmp_path / "broken").read_text().splitlines()
    assert len(after) == 121
    assert after[: len(before) - 1] == before[:-1]  # their seconds too: at most the last was trained again
    assert _predictions(tmp_path / "broken") == _predictions(tmp_path / "whole")


def _predictions(folder):
    """What the fold's predictions files hold."""
    names = "train_predictions_0.npy", "test_predictions_0.npy"
    return [(folder / "predictions_1d_conv" / name).read_bytes() for name in names]
