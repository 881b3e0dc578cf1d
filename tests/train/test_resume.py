"""Training runs that are interrupted or killed, as processes: they resume to the predictions of one that was not."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from cache import open_cache
from train.input.dataset import open_dataset
from train.run import run, train_fold_of
from train.settings import settings_for
from train.split import assign_folds

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def training(work):
    """A function that starts a training run of one fold into a folder."""

    def start(folder, *more):
        command = [sys.executable, "-m", "train", "conv1d", "--work", folder, "--cache", work / "cache", *more]
        options = ["--folds", "2", "--fold", "0", "--epochs", "60", "--batch-size", "4", "--seconds", "0.5"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_NUM_INTRAOP_THREADS": "1"}
        return subprocess.Popen([*command, *options], env=environment, stderr=subprocess.PIPE, text=True)

    return start


def _read_until(process, words):
    """Read what a run says until it says some words."""
    for line in process.stderr:
        if words in line:
            return
    pytest.fail(f"{words}: was never said")


def _predictions(folder):
    names = "train_predictions_0.npy", "test_predictions_0.npy"
    return [(folder / "predictions_1d_conv" / name).read_bytes() for name in names]


def test_a_run_that_was_interrupted_and_killed_ends_with_the_predictions_of_one_that_was_not(training, tmp_path):
    whole = training(tmp_path / "whole")
    whole.communicate()
    assert whole.returncode == 0
    process = training(tmp_path / "broken")
    _read_until(process, "epoch 5/60")
    process.send_signal(signal.SIGINT)
    said = process.communicate()[1].splitlines()
    assert process.returncode == 130
    assert said[-1].startswith("train: stopped; rerun the same command to resume with fold 0, epoch ")
    process = training(tmp_path / "broken")
    _read_until(process, "fold 0: resumes after epoch")
    _read_until(process, "epoch 20/60")
    process.kill()
    process.communicate()
    assert not (tmp_path / "broken" / "predictions_1d_conv" / "finished_0.json").exists()
    process = training(tmp_path / "broken")
    said = process.communicate()[1]
    assert process.returncode == 0 and "fold 0: resumes after epoch" in said
    assert _predictions(tmp_path / "broken") == _predictions(tmp_path / "whole")
    assert not list((tmp_path / "broken" / "predictions_1d_conv").glob(".earmark-*"))


def test_a_fold_whose_worker_is_killed_resumes_at_another(work, tmp_path, monkeypatch, progress):
    distributed = pytest.importorskip("distributed")
    from train.on_dask import train_on_cluster

    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
    place = tmp_path / "killed"

    def dying(settings, fold, progress, wait_s):
        from train.loop.checkpoint import Checkpoint

        save = Checkpoint.save

        def save_and_die(self, net, state):
            save(self, net, state)
            if state.epochs == 2 and not place.exists():
                place.touch()
                os.kill(os.getpid(), signal.SIGKILL)

        Checkpoint.save = save_and_die
        return train_fold_of(settings, fold, progress, wait_s)

    def trained(name, scheduler, *there):
        values = {"seconds": 0.5, "epochs": 4, "folds": 2, "fold": (0,), "batch_size": 4}
        places = {"work": tmp_path / name, "cache": str(work / "cache"), "scheduler": scheduler}
        dataset = open_dataset(open_cache(work / "cache"), settings_for("conv1d", **values, **places))
        return run(dataset, assign_folds(dataset, dataset.settings), [0], progress, *there)

    whole = trained("whole", None)
    with distributed.LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=None) as cluster:
        broken = trained("broken", cluster.scheduler_address, partial(train_on_cluster, train_fold=dying))
    assert place.exists()
    assert np.allclose(broken.train_predictions(0), whole.train_predictions(0), atol=1e-4)
    assert broken.result(0)["epochs"] == 4
