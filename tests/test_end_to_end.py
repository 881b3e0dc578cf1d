"""From wav to submission: the four commands, on the real command line, over a dataset of every kind of clip."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[1]


def command(*arguments: str, cwd: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_NUM_INTRAOP_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode in (0, 1) and "Traceback" not in done.stderr, done.stderr
    return done.stdout


@pytest.mark.slow
def test_from_wav_to_submission(tmp_path, write_dataset):
    rate = 4000
    rng = np.random.default_rng(0)
    train = {
        f"{i}.wav": (
            0.5 * np.sin(2 * np.pi * (300, 1500, 700)[i % 3] * np.arange(rng.integers(900, 9000)) / rate),
            rate,
        )
        for i in range(18)
    }
    train |= {"empty.wav": (np.empty(0), rate), "silent.wav": (np.zeros(5000), rate)}
    test = {"t0.wav": train["0.wav"], "t 1.wav": (np.empty(0), rate), "t2.wav": train["2.wav"]}
    write_dataset(tmp_path / "data", train, test)
    (tmp_path / "data" / "audio_train" / "17.wav").write_text("no sound")
    (tmp_path / "data" / "sample_submission.csv").write_text("fname\nt0.wav\nt 1.wav\nt2.wav\n")

    assert "1 failed" in command("featurize", "--sr", "2000", "--mfcc", "20", "--mfcc-sr", "4000", cwd=tmp_path)
    quick = ["--folds", "2", "--epochs", "2", "--batch-size", "8"]
    assert "MAP@3" in command("train", "conv1d", *quick, cwd=tmp_path)
    assert "MAP@3" in command("train", "conv2d", "--mfcc", "20", *quick, cwd=tmp_path)
    table = command("ensemble", "--both", cwd=tmp_path)
    assert "MAP@3" in table and "1d_2d_ensembled_submission.csv" in table

    for name in ("1d_conv_ensembled", "2d_conv_ensembled", "1d_2d_ensembled"):
        submission = pd.read_csv(tmp_path / "work" / f"{name}_submission.csv", keep_default_na=False)
        assert submission["fname"].tolist() == ["t0.wav", "t 1.wav", "t2.wav"]
    folder = tmp_path / "work" / "predictions_2d_conv"
    product = np.prod([np.load(folder / f"test_predictions_{i}.npy") for i in range(2)], axis=0)
    assert product.shape == (3, 3) and np.isfinite(product).all()
    assert np.load(folder / "train_predictions_0.npy").shape == (20, 3)
