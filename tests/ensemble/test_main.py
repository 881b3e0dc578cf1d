import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ensemble import __main__ as command
from ensemble.__main__ import Settings, planned
from ensemble.errors import PredictionsError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def work(tmp_path, monkeypatch, make_predictions):
    """A working folder, made the current one, with both models' finished predictions in work/."""
    monkeypatch.chdir(tmp_path)
    make_predictions(Path("work/predictions_1d_conv"), seed=1)
    make_predictions(Path("work/predictions_2d_conv"), seed=2, config={"model": "conv2d", "n_parameters": 168361})
    return Path("work")


@pytest.fixture
def ensemble(monkeypatch, capsys):
    """A function that runs the command in this process: arguments -> (exit code, stdout, stderr)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["ensemble", *map(str, arguments)])
        try:
            code = command.main()
        except SystemExit as stop:
            code = stop.code
        return (code, *capsys.readouterr())

    return run


def _rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def _product_and_root(*folders):
    """The notebook's way, by plain NumPy and Python: the rows of a submission."""
    arrays = [np.load(path) for folder in folders for path in sorted(Path(folder).glob("test_predictions_*.npy"))]
    mean = np.prod(arrays, axis=0) ** (1 / len(arrays))
    labels = ["Bell", "None", "Bark, loud", "Rain"]
    fnames = ["t0.wav", "t,1.wav", "None", "t3.wav", "t4 é.wav"]
    best = [sorted(range(4), key=lambda label, row=row: -row[label])[:3] for row in mean]
    rows = [[fname, " ".join(labels[i] for i in row)] for fname, row in zip(fnames, best, strict=True)]
    return [["fname", "label"], *rows]


def test_both_writes_the_notebooks_three_files(work, ensemble):
    code, out, err = ensemble("--both")
    one, two = work / "predictions_1d_conv", work / "predictions_2d_conv"
    assert (code, err) == (0, "")
    assert _rows(work / "1d_conv_ensembled_submission.csv") == _product_and_root(one)
    assert _rows(work / "2d_conv_ensembled_submission.csv") == _product_and_root(two)
    assert _rows(work / "1d_2d_ensembled_submission.csv") == _product_and_root(one, two)
    for name in ("1d_conv", "2d_conv", "1d_2d"):
        assert f"submission of 5 clips: work/{name}_ensembled_submission.csv\n" in out


def test_table_has_a_row_for_each_folder_and_the_ensemble(work, ensemble):
    lines = ensemble("--both")[1].splitlines()
    columns = "model", "trainable parameters", "folds", "clips", "OOF accuracy", "OOF MAP@3", "predictions"
    assert " ".join(lines[0].split()) == " ".join(columns)
    assert [line.split()[:4] for line in lines[1:4]] == [
        ["conv1d", "360,513", "3", "11"],
        ["conv2d", "168,361", "3", "11"],
        ["ensemble", "528,874", "6", "11"],
    ]


@pytest.mark.parametrize("model", ["1d", "2d"])
def test_one_model_writes_its_own_file_alone(work, ensemble, model):
    code, out, _ = ensemble(f"--{model}")
    assert code == 0
    assert [path.name for path in work.glob("*.csv")] == [f"{model}_conv_ensembled_submission.csv"]
    assert len(out.split("\n\n")[0].splitlines()) == 2


def test_any_mix_of_folders_writes_its_own_file(work, ensemble, make_predictions):
    make_predictions(Path("third"), seed=3)
    folders = ["third", work / "predictions_2d_conv", work / "predictions_1d_conv"]
    assert ensemble(*folders)[0] == 0
    assert _rows(work / "ensembled_submission.csv") == _product_and_root(*folders)


def test_all_combines_every_folder_but_those_moved_aside(work, ensemble, make_predictions):
    for name in ("predictions_mobilenet", "predictions_2d_conv.old-1"):
        make_predictions(work / name, seed=len(name))
    folders = [work / f"predictions_{name}" for name in ("1d_conv", "2d_conv", "mobilenet")]
    assert ensemble("--all")[0] == 0
    assert _rows(work / "ensembled_submission.csv") == _product_and_root(*folders)
    assert [path.name for path in work.glob("*.csv")] == ["ensembled_submission.csv"]


def test_all_of_nothing_is_refused(work, ensemble):
    code, out, err = ensemble("--all", "--name", "trial")
    assert (code, out) == (2, "")
    assert err == "ensemble: work/trial: folder must hold predictions_*, got none; run train first\n"


def test_output_goes_where_it_is_told(work, ensemble):
    code, out, _ = ensemble("--1d", "--output", "elsewhere/mine.csv")
    assert code == 0
    assert "submission of 5 clips: elsewhere/mine.csv\n" in out
    assert _rows("elsewhere/mine.csv") == _product_and_root(work / "predictions_1d_conv")
    assert not list(work.glob("*.csv"))


def test_name_and_work_move_everything(tmp_path, ensemble, make_predictions):
    for folder in ("predictions_1d_conv", "predictions_2d_conv"):
        make_predictions(tmp_path / "w" / "quick" / folder, seed=len(folder))
    assert ensemble("--both", "--work", tmp_path / "w", "--name", "quick")[0] == 0
    assert len(list((tmp_path / "w" / "quick").glob("*.csv"))) == 3
    assert not list((tmp_path / "w").glob("*.csv"))


def test_weights_weigh_folders_in_their_order(work, ensemble):
    one = work / "predictions_1d_conv"
    assert ensemble("--both", "--weights", "1", "0")[0] == 0
    assert _rows(work / "1d_2d_ensembled_submission.csv") == _product_and_root(one)
    assert _rows(work / "2d_conv_ensembled_submission.csv") == _product_and_root(work / "predictions_2d_conv")
    assert ensemble(work / "predictions_2d_conv", one, "--weights", "0", "1")[0] == 0
    assert _rows(work / "ensembled_submission.csv") == _product_and_root(one)


def test_submission_is_right_where_the_product_underflows(work, ensemble):
    """Each fold gives 1e-150 or less: six of them multiply to zero in every label."""
    for folder in ("predictions_1d_conv", "predictions_2d_conv"):
        for fold in range(3):
            np.save(work / folder / f"test_predictions_{fold}.npy", np.tile([1e-151, 1e-150, 0.0, 1e-152], (5, 1)))
    assert ensemble("--both")[0] == 0
    rows = _rows(work / "1d_2d_ensembled_submission.csv")[1:]
    assert [row[1] for row in rows] == ["None Bell Rain"] * 5


def test_missing_fold_is_named_and_combined_with_a_flag(work, ensemble):
    (work / "predictions_2d_conv" / "finished_1.json").unlink()
    code, out, err = ensemble("--both")
    assert (code, out) == (2, "")
    assert err == (
        "ensemble: work/predictions_2d_conv: finished folds must be all 3, got 2 (missing: 1); "
        "train the rest, or combine what is there (--partial)\n"
    )
    assert not list(work.glob("*.csv"))
    code, out, _ = ensemble("--both", "--partial")
    assert code == 0
    assert "2 of 3" in out
    (work / "predictions_2d_conv" / "test_predictions_1.npy").unlink()
    assert _rows(work / "2d_conv_ensembled_submission.csv") == _product_and_root(work / "predictions_2d_conv")


def test_without_test_clips_there_is_a_table_and_no_submission(work, ensemble, make_predictions):
    nothing = pd.DataFrame({"fname": []})
    make_predictions(Path("other/predictions_1d_conv"), clips_test=nothing)
    code, out, _ = ensemble("--1d", "--work", "other")
    assert code == 0
    assert "conv1d" in out
    assert out.endswith("no submission written: the predictions are for no test clips (no sample_submission.csv)\n")
    assert not list(Path("other").glob("*.csv"))


def test_labels_with_spaces_are_said(work, ensemble):
    assert ensemble("--1d")[1].endswith(
        "note: labels in a submission are separated by spaces, and 'Bark, loud' has one itself\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "usage: choice must be one of --1d, --2d, --both, --all, DIR, got none; see --help"),
        (
            ["--1d", "x"],
            "usage: choice must be one of --1d, --2d, --both, --all, DIR, got --1d and DIR; see --help",
        ),
        (
            ["--1d", "--2d"],
            "usage: choice must be one of --1d, --2d, --both, --all, DIR, got --1d and --2d; see --help",
        ),
        (
            ["--both", "--weights", "1", "2", "3"],
            "--weights: number of weights must be 2, one for each folder, got 3 (1 2 3); "
            "give them after the folders",
        ),
        (
            ["--both", "--weights", "1", "-0.5"],
            "--weights: weights must be 0 or more and not all 0, got 1 -0.5; change them",
        ),
        (["a", "--weights", "0"], "--weights: weights must be 0 or more and not all 0, got 0; change them"),
        (
            ["a", "--weights", "nan"],
            "--weights: weights must be 0 or more and not all 0, got nan; change them",
        ),
        (["a", "b", "./a"], "a: folder must be given once, got it again; use --weights to weigh it"),
        (
            ["--both", "--output", "x.csv"],
            "x.csv: output must not be given with --both, which writes three; leave it out",
        ),
        (["--1d", "--output", "work"], "work: output must be a file, got a folder or device; name a file"),
        (
            ["--1d", "--name", "x"],
            "work/x/predictions_1d_conv: predictions folder must be there, got nothing; run train first",
        ),
        (["work"], "work: folder must hold predictions, got none; run train first"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(work, ensemble, arguments, message):
    assert ensemble(*arguments) == (2, "", f"ensemble: {message}\n")
    assert not list(work.glob("*.csv"))


@pytest.mark.parametrize("arguments", [["--3d"], ["--1d", "--weights", "heavy"]])
def test_unknown_flags_and_values_exit_2(work, ensemble, arguments):
    assert ensemble(*arguments)[0] == 2


def test_misfit_is_one_line_and_exit_2(work, ensemble, make_predictions):
    make_predictions(Path("other"), labels=["None", "Bell", "Bark, loud", "Rain"])
    code, out, err = ensemble(work / "predictions_1d_conv", "other")
    assert (code, out) == (2, "")
    assert err == (
        "ensemble: other: order of labels.json, row 0, must be 'Bell' as in work/predictions_1d_conv, "
        "got 'None'; combine only predictions of one dataset\n"
    )


def test_bad_array_is_one_line_and_nothing_is_written(work, ensemble):
    path = work / "predictions_2d_conv" / "test_predictions_2.npy"
    path.write_bytes(path.read_bytes()[:-8])
    code, out, err = ensemble("--both")
    assert (code, out) == (2, "")
    assert err.startswith(f"ensemble: {path}: file must be an unpickled .npy array, got a broken one (")
    assert err.count("\n") == 1
    assert not list(work.glob("*.csv"))


def test_output_that_cannot_be_written_is_one_line(work, ensemble):
    Path("file").write_text("")
    code, _, err = ensemble("--1d", "--output", "file/mine.csv")
    assert code == 2
    assert err.startswith("ensemble: file")
    assert err.count("\n") == 1


def test_full_disk_is_one_line_and_keeps_the_old_file(work, ensemble, monkeypatch):
    assert ensemble("--1d")[0] == 0
    before = (work / "1d_conv_ensembled_submission.csv").read_bytes()

    def full(descriptor):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("ensemble.files.os.fsync", full)
    code, _, err = ensemble("--1d")
    assert (code, err) == (2, "ensemble: output: No space left on device\n")
    assert (work / "1d_conv_ensembled_submission.csv").read_bytes() == before
    assert not list(work.glob("*.partial"))


def test_ctrl_c_says_how_to_go_on(work, ensemble, monkeypatch):
    def stop(settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "run", stop)
    assert ensemble("--1d") == (130, "", "ensemble: stopped; run the same command again\n")


def test_help_names_every_flag_and_default(ensemble):
    code, out, _ = ensemble("--help")
    text = " ".join(out.replace("│", " ").split())
    assert code == 0
    for words in (
        "[DIR ...]", "--1d", "--2d", "--both", "--all", "--work WORK", "(default: work)", "--name NAME",
        "--weights W", "(default: all equal)", "--output FILE", "--partial",
        "(default with --all and DIR: WORK/ensembled_submission.csv)", "WORK/1d_2d_ensembled_submission.csv",
    ):  # fmt: skip
        assert words in text


def test_defaults_are_the_projects_own():
    plan = planned(Settings(both=True))
    assert plan.paths == [Path("work/predictions_1d_conv"), Path("work/predictions_2d_conv")]
    assert plan.weights == [1, 1]
    with pytest.raises(PredictionsError):
        planned(Settings())


def test_command_starts_without_keras_and_our_other_packages():
    """In a process of its own, as this one may have imported them for other tests."""
    code = (
        "import sys, ensemble.__main__\n"
        "print([n for n in ('keras', 'tensorflow', 'cache', 'featurize', 'train') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_command_runs_as_a_module(work):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, "-m", "ensemble", "--both"]
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    arguments[-1] = "missing"
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "ensemble: missing: predictions folder must be there, got nothing; run train first\n"
