"""A run that was killed, at any write or moment, and run again ends with an unbroken run's bytes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("killed_runs.py")
ROOT = Path(__file__).resolve().parents[2]


def kills(*arguments) -> int:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return int(done.stdout)


@pytest.fixture
def three_clips(tmp_path, write_dataset, noise):
    """A long clip between a short one and one that is no sound."""
    clips = {"a.wav": noise(1, 2000), "long.wav": noise(300, 200), "b.wav": noise(2, 2000)}
    write_dataset(tmp_path / "data", clips)
    (tmp_path / "data" / "audio_train" / "b.wav").write_text("no sound")
    return tmp_path / "data"


def test_killed_at_some_writes(three_clips, tmp_path):
    assert kills("writes", three_clips, tmp_path, 13) > 3


@pytest.mark.slow
def test_killed_at_every_write(three_clips, tmp_path):
    assert kills("writes", three_clips, tmp_path, 1) > 40


@pytest.mark.slow
@pytest.mark.long
def test_killed_at_every_write_of_every_kind(every_kind, tmp_path):
    assert kills("writes", every_kind, tmp_path, 1) > 80


@pytest.mark.slow
@pytest.mark.long
def test_killed_at_fifty_random_moments(every_kind, tmp_path):
    kills("moments", every_kind, tmp_path, 50, 1)
