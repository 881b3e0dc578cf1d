import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ensemble import PredictionsError
from ensemble import __main__ as command
from ensemble.__main__ import Choice, Settings, planned

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, make_predictions):
    """A working folder with both models' finished predictions; do not write to it."""
    path = tmp_path_factory.mktemp("finished")
    make_predictions(path / "predictions_1d_conv", seed=1)
    make_predictions(path / "predictions_2d_conv", seed=2, config={"model": "conv2d", "n_parameters": 168361})
    return path


@pytest.fixture
def work(tmp_path, monkeypatch, finished):
    """A copy of it as work/ in a folder that is made the current one."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished, "work")
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
    assert lines[0].split() == ["model", "parameters", "folds", "clips", "accuracy", "MAP@3", "predictions"]
    assert max(map(len, lines[:4])) <= 80
    assert [line.split()[:4] for line in lines[1:4]] == [
        ["conv1d", "360,513", "3", "11"],
        ["conv2d", "168,361", "3", "11"],
        ["ensemble", "528,874", "6", "11"],
    ]


def test_scores_on_labelled_test_clips_stand_below_the_table(work, ensemble):
    """In one folder alone, as the other was trained before the labels were known."""
    (work / "predictions_2d_conv" / "clips_test.csv").write_text(
        'fname,label,usage\nt0.wav,Bell,Public\n"t,1.wav",None,Private\nNone,,\nt3.wav,Rain,Private\nt4 é.wav,Rain,Ignored\n'
    )
    code, out, err = ensemble("--both")
    assert (code, err) == (0, "")
    _, on_test, files = out.split("\n\n")
    assert [line.split()[:3] for line in on_test.splitlines()[1:-1]] == [
        [part, model, clips]
        for part, clips in (("all", "3"), ("public", "1"), ("private", "2"))
        for model in ("conv1d", "conv2d", "ensemble")
    ]
    assert on_test.splitlines()[-1] == "test clips that are not scored: 1 ignored, 1 unlabelled"
    assert files.startswith("submission of 5 clips: ")


def test_optimised_weights_stand_beside_equal_ones_and_make_the_submission(work, ensemble):
    code, out, err = ensemble("--both", "--optimise")
    assert (code, err) == (0, "")
    table, found, _ = out.split("\n\n")
    assert [line.split("  ")[-1] for line in table.splitlines()[3:]] == ["all 2, equal", "all 2, optimised"]
    weights, verdict = found.splitlines()
    assert weights.startswith("optimised: --weights ") and "weights score" in verdict
    submitted = _rows(work / "1d_2d_ensembled_submission.csv")
    assert ensemble("--both", *weights.split()[1:])[0] == 0
    assert _rows(work / "1d_2d_ensembled_submission.csv") == submitted
    assert _rows(work / "1d_conv_ensembled_submission.csv") == _product_and_root(work / "predictions_1d_conv")


def test_optimised_weights_are_scored_on_labelled_test_clips_too(work, ensemble):
    clips = 'fname,label,usage\nt0.wav,Bell,\n"t,1.wav",None,\nNone,Bell,\nt3.wav,Rain,\nt4 é.wav,Rain,\n'
    (work / "predictions_1d_conv" / "clips_test.csv").write_text(clips)
    on_test = ensemble("--both", "--optimise")[1].split("\n\n")[1].splitlines()
    assert [line.split("  ")[-1] for line in on_test[3:]] == ["all 2, equal", "all 2, optimised"]


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
    assert err == "ensemble: work/trial: there are no folders predictions_* here; run train first\n"


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
        "ensemble: work/predictions_2d_conv: 1 of 3 folds are not finished (1); "
        "train them, or combine the others with --partial\n"
    )
    assert not list(work.glob("*.csv"))
    code, out, _ = ensemble("--both", "--partial")
    assert code == 0
    assert "2 of 3" in out
    assert (
        "note: the folders score different training clips (11 in work/predictions_1d_conv, "
        "7 in work/predictions_2d_conv); the ensemble's row is over the 7 clips that all of them score\n"
    ) in out
    (work / "predictions_2d_conv" / "test_predictions_1.npy").unlink()
    assert _rows(work / "2d_conv_ensembled_submission.csv") == _product_and_root(work / "predictions_2d_conv")


def test_without_test_clips_there_is_a_table_and_no_submission(work, ensemble, make_predictions):
    nothing = pd.DataFrame({"fname": []})
    make_predictions(Path("other/predictions_1d_conv"), clips_test=nothing)
    code, out, _ = ensemble("--1d", "--work", "other")
    assert code == 0
    assert "conv1d" in out
    assert out.endswith("no submission written: there are no test clips (no sample_submission.csv)\n")
    assert not list(Path("other").glob("*.csv"))


def test_labels_with_spaces_are_said(work, ensemble):
    assert ensemble("--1d")[1].endswith(
        "note: a submission separates labels by spaces, and 'Bark, loud' is not one word\n"
    )


def test_labels_that_differ_in_blanks_alone_are_said(tmp_path, ensemble, make_predictions):
    make_predictions(tmp_path / "p", labels=["Bell", "None", "Bark, loud", "Rain", "Bell\t"])
    code, out, _ = ensemble(tmp_path / "p", "--output", tmp_path / "s.csv")
    assert code == 0 and "and 'Bark, loud' is not one word" in out
    make_predictions(tmp_path / "q", labels=["Bell", "None", "Bell ", "Rain"], clips_train=_clips_without_spaces())
    code, out, _ = ensemble(tmp_path / "q", "--output", tmp_path / "s.csv")
    assert code == 0 and "and 'Bell ' is not one word" in out


def _clips_without_spaces():
    return pd.DataFrame({"fname": [f"{i}.wav" for i in range(12)], "label": ["Bell", "None"] * 6})


CHOICE = "give exactly one of --1d, --2d, --both, --all, DIR"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], f"{CHOICE}, got none; see --help"),
        (["--1d", "x"], f"{CHOICE}, got --1d and DIR; see --help"),
        (["--1d", "--2d"], f"{CHOICE}, got --1d and --2d; see --help"),
        (
            ["--both", "--weights", "1", "2", "3"],
            "--weights must be 2 numbers, one for each folder, got 3 (1 2 3); give them after the folders",
        ),
        (["--both", "--weights", "1", "-0.5"], "--weights must be 0 or more and not all 0, got 1 -0.5; see --help"),
        (["a", "--weights", "0"], "--weights must be 0 or more and not all 0, got 0; see --help"),
        (["a", "--weights", "nan"], "--weights must be 0 or more and not all 0, got nan; see --help"),
        (["a", "b", "./a"], "a: this folder is given twice; use --weights to weigh it"),
        (
            ["--both", "--output", "x"],
            "--output cannot be given with --both, which writes three files; leave it out",
        ),
        (
            ["--1d", "--output", "work"],
            "work: this is a folder or a device, not a file; give --output another name",
        ),
        (
            ["--1d", "--name", "x"],
            "work/x/predictions_1d_conv: there is no predictions folder here; run train first",
        ),
        (
            ["work"],
            "work: this folder holds no predictions; give one in it: predictions_1d_conv, predictions_2d_conv",
        ),
        (
            ["--both", "--optimise", "--weights", "1", "2"],
            "--optimise finds the weights, so give no --weights, got 1 2; leave one out",
        ),
        (["--1d", "--optimise"], "--optimise must be given 2 or more folders, got 1; leave it out"),
        (["--1d", "--name", ".."], "--name must be one plain folder name, got '..'; see --help"),
        (["--1d", "--name", "."], "--name must be one plain folder name, got '.'; see --help"),
        (["--1d", "--name", "a/b"], "--name must be one plain folder name, got 'a/b'; see --help"),
        (["--1d", "--name", "/tmp"], "--name must be one plain folder name, got '/tmp'; see --help"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(work, ensemble, arguments, message):
    assert ensemble(*arguments) == (2, "", f"ensemble: {message}\n")
    assert not list(work.glob("*.csv"))


@pytest.mark.parametrize(
    "name",
    ["data/train.csv", "data/other.csv", "work/predictions_1d_conv/labels.json", "work/predictions_1d_conv/x"],
)
def test_output_overwrites_no_input(work, ensemble, name):
    Path("data").mkdir()
    for table in ("train.csv", "other.csv"):
        Path("data", table).write_text("fname,label\n00.wav,Bell\n")
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    code, out, err = ensemble("--1d", "--output", name)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"ensemble: {name}: ") and "give --output another name" in err
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


def test_output_replaces_an_earlier_submission(work, ensemble):
    assert ensemble("--1d", "--output", "mine.csv")[0] == 0
    assert ensemble("--2d", "--output", "mine.csv")[0] == 0
    assert _rows("mine.csv") == _product_and_root(work / "predictions_2d_conv")


def test_an_odd_file_in_a_folder_is_one_line(work, ensemble):
    path = work / "predictions_1d_conv" / "finished_0.json"
    path.write_text("[" * 10_000)
    code, out, err = ensemble("--1d")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"ensemble: {path}: the file is damaged: ")
    path.unlink()
    os.mkfifo(path)
    assert ensemble("--1d")[2].startswith(f"ensemble: {path}: this is a FIFO or a device, not a file; ")


def test_names_from_outside_cannot_steer_the_terminal(work, ensemble, make_predictions):
    make_predictions(Path("\x1b[2J"), clips_test=pd.DataFrame({"fname": ["\x1b[1m.wav"]}))
    code, _, err = ensemble(work / "predictions_1d_conv", "\x1b[2J")
    assert (
        code == 2 and "\x1b" not in err and err.startswith("ensemble: \\u001b[2J: fname of clips_test.csv, row 0")
    )


@pytest.mark.parametrize("arguments", [["--3d"], ["--1d", "--weights", "heavy"]])
def test_unknown_flags_and_values_exit_2(work, ensemble, arguments):
    assert ensemble(*arguments)[0] == 2


def test_misfit_is_one_line_and_exit_2(work, ensemble, make_predictions):
    make_predictions(Path("other"), labels=["None", "Bell", "Bark, loud", "Rain"])
    code, out, err = ensemble(work / "predictions_1d_conv", "other")
    assert (code, out) == (2, "")
    assert err == (
        "ensemble: other: order of labels.json, row 0, must be 'Bell', got 'None', "
        "unlike work/predictions_1d_conv; combine only predictions of one dataset\n"
    )


def test_bad_array_is_one_line_and_nothing_is_written(work, ensemble):
    path = work / "predictions_2d_conv" / "test_predictions_2.npy"
    path.write_bytes(path.read_bytes()[:-8])
    code, out, err = ensemble("--both")
    assert (code, out) == (2, "")
    assert err.startswith(f"ensemble: {path}: the file is damaged: ")
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

    monkeypatch.setattr(os, "fsync", full)
    code, _, err = ensemble("--1d")
    assert (code, err) == (2, "ensemble: No space left on device\n")
    assert (work / "1d_conv_ensembled_submission.csv").read_bytes() == before
    assert [path.name for path in work.iterdir() if path.is_file()] == ["1d_conv_ensembled_submission.csv"]


def test_ctrl_c_says_how_to_resume(work, ensemble, monkeypatch):
    def stop(settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "run", stop)
    assert ensemble("--1d") == (130, "", "ensemble: stopped; rerun the command\n")


def test_help_names_every_flag_and_default_in_80_columns(ensemble, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = ensemble("--help")
    text = " ".join(out.replace("│", " ").split())
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    for words in (
        "[DIR ...]", "exactly one of these or DIR", "--1d", "--2d", "--both", "--all", "--work WORK", "(default: work)",
        "--name NAME", "--weights W", "(default: all equal)", "--optimise", "check FILE", "--output FILE", "--partial", "--debug",
        "into WORK/ensembled_submission.csv", "WORK/1d_2d_ensembled_submission.csv",
    ):  # fmt: skip
        assert words in text, words


def test_defaults_are_the_projects_own():
    one, two = Path("work/predictions_1d_conv"), Path("work/predictions_2d_conv")
    assert planned(Settings(Choice(both=True))) == {
        Path("work/1d_conv_ensembled_submission.csv"): [one],
        Path("work/2d_conv_ensembled_submission.csv"): [two],
        Path("work/1d_2d_ensembled_submission.csv"): [one, two],
    }
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
    assert done.stderr == "ensemble: missing: there is no predictions folder here; run train first\n"
