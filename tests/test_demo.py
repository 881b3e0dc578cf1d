"""`make demo` and the guide, whole: what they promise of the demo's dataset."""

import os
import subprocess
import sys
from pathlib import Path

import jupytext
import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from nbclient import NotebookClient

from ensemble import open_predictions
from ensemble.combine import combined_oof
from ensemble.metrics import accuracy

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which the Makefile's demo has run, by this interpreter; once for all workers of xdist."""
    folder = tmp_path_factory.getbasetemp() / "demo"
    if run := os.environ.get("PYTEST_XDIST_TESTRUNUID"):
        folder = tmp_path_factory.getbasetemp().parent / f"demo-{run}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # of make test
    environment["PYTHONPATH"] = str(ROOT)
    command = ["make", "-f", ROOT / "Makefile", "-o", ".venv/ready", f"RUN={sys.executable}", "demo"]
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            folder.mkdir()
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            assert "report.html" in done.stdout.splitlines()[-2] and "suspects.csv" in done.stdout.splitlines()[-1]
    return folder


def test_the_ensemble_is_right_on_85_percent_of_the_labels_as_given(folder):
    runs = [open_predictions(folder / "demo" / "work" / f"predictions_{n}d_conv") for n in (1, 2)]
    score = accuracy(combined_oof(runs, [1, 1]), runs[0].labels_index)
    print(f"out-of-fold accuracy {score:.4f}")
    assert score >= 0.85


def test_the_suspected_labels_hold_most_of_the_wrong_ones(folder):
    suspects = pd.read_csv(folder / "demo" / "work" / "suspects.csv")["fname"]
    wrong = pd.read_csv(folder / "demo" / "data" / "wrong_labels.csv")["fname"]
    n_right = len(np.intersect1d(suspects, wrong))
    print(f"suspects: precision {n_right / len(suspects):.2f}, recall {n_right / len(wrong):.2f}")
    assert n_right > len(wrong) / 2 and n_right > len(suspects) / 2


def test_the_guide_runs_from_top_to_bottom(folder, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    guide = jupytext.read(ROOT / "guide.md")
    NotebookClient(guide, timeout=600, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()
    cells = [cell for cell in guide.cells if cell.cell_type == "code"]
    assert all(output.output_type != "error" for cell in cells for output in cell.outputs)
    printed = "".join(output.get("text", "") for cell in cells for output in cell.outputs)
    assert "equal to the submission: True" in printed and "precision" in printed
