import json
import subprocess
import sys
from shutil import copytree

import pandas as pd
import pytest

from tag.__main__ import main


@pytest.fixture
def command(trained, capsys):
    """A function that runs the command here; exit code, standard output, standard error."""

    def run(*arguments):
        code = main([*map(str, arguments), "--work", str(trained)])
        return code, *capsys.readouterr()

    return run


def test_a_table_of_the_best_labels_goes_to_standard_output(command, sound):
    code, out, err = command(sound)
    assert code == 0 and out.splitlines()[0].startswith("recording") and str(sound) in out
    assert "1 recordings by 4 folds of" in err


def test_a_recording_that_fails_is_named_and_makes_the_exit_code_1(command, sound, tmp_path):
    (tmp_path / "bad.wav").write_text("no sound")
    code, out, err = command(sound, tmp_path / "bad.wav", "--csv", "-")
    assert code == 1 and len(out.splitlines()) == 3
    assert "bad.wav: failed: not a recording" in err


def test_tags_are_written_to_a_file_in_the_format_that_is_asked_for(command, sound, tmp_path):
    assert command(sound, "--csv", tmp_path / "tags.csv")[:2] == (0, "")
    assert pd.read_csv(tmp_path / "tags.csv")["recording"].tolist() == [str(sound)]
    assert command(sound, "--output", tmp_path / "tags.jsonl")[0] == 0
    assert json.loads((tmp_path / "tags.jsonl").read_text())["recording"] == str(sound)


def test_a_timeline_is_written_for_audio_editors(command, sound, tmp_path):
    code, out, _ = command(sound, "--timeline", "--threshold", "0", "--raven", "-")
    assert code == 0 and out.startswith("Selection\tView\tChannel\tBegin Time (s)")
    assert command(sound, "--timeline", "--threshold", "0", "--audacity", tmp_path / "labels.txt")[0] == 0
    assert len((tmp_path / "labels.txt").read_text().splitlines()) == 3


def test_several_recordings_have_a_column_that_names_them(command, sound, tmp_path):
    code, out, err = command(sound, tmp_path / "gone.wav", "--timeline", "--threshold", "0", "--csv", "-")
    assert (
        code == 1 and out.startswith("recording,begin,end,label,probability") and "gone.wav: failed: No such" in err
    )


def test_a_timeline_without_segments_says_so(command, sound):
    code, out, err = command(sound, "--timeline", "--threshold", "1")
    assert code == 0 and len(out.splitlines()) == 1
    assert "no label has a probability of 1 or more; try a lower --threshold" in err


def test_nets_without_a_finished_fold_are_left_out_and_named(trained, sound, tmp_path, capsys):
    for name, fold in (("predictions_1d_conv", 0), ("predictions_1d_conv", 1), ("predictions_2d_conv", 1)):
        if not (tmp_path / name).exists():
            copytree(trained / name, tmp_path / name)
        (tmp_path / name / f"finished_{fold}.json").unlink()
    assert main([str(sound), "--work", str(tmp_path)]) == 0
    err = capsys.readouterr().err
    assert f"{tmp_path / 'predictions_1d_conv'} is left out: no fold is finished yet" in err
    assert f"1 recordings by 1 of 2 folds of {tmp_path / 'predictions_2d_conv'}" in err
    (tmp_path / "predictions_2d_conv" / "finished_0.json").unlink()
    assert main([str(sound), "--work", str(tmp_path)]) == 2
    assert "predictions_1d_conv: no fold is finished yet; run train to its end" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give at least one file or folder to tag"),
        (["x.wav", "--raven", "-"], "--raven needs --timeline, which gives segments; give both"),
        (["x.wav", "--window", "2"], "--window needs --timeline, which gives segments; give both"),
        (["x.wav", "--csv", "a", "--jsonl", "b"], "give one of --csv, --jsonl, got 2"),
        (["x.wav", "--timeline", "--threshold", "2"], "--threshold must be 0 to 1, got 2.0"),
        (["x.wav", "--timeline", "--window", "1", "--hop", "2"], "--hop must be at most --window, 1 s, or parts"),
        (
            ["x.wav", "--timeline", "--hop", "3.5"],
            "--hop must be at most --window, 3 s, or parts are never heard, got 3.5",
        ),
        (["x.wav", "--name", ".."], "--name must be one plain folder name, got '..'"),
        (["x.wav", "y.wav", "--timeline", "--raven", "-"], "--raven must be given one recording, got 2"),
        (["x.wav", "--csv", "."], ".: output must be a file, got a folder"),
        (["x.wav", "--runs", "nowhere"], "nowhere: there is no predictions folder here; run train first"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(command, arguments, message):
    code, out, err = command(*arguments)
    assert (code, out) == (2, "") and message in err.splitlines()[-1]


def test_help_needs_no_keras():
    code = "import sys; sys.argv = ['tag', '--help']; import runpy\n"
    code += "try: runpy.run_module('tag', run_name='__main__')\nfinally: assert 'keras' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and "--timeline" in done.stdout and "--threshold P" in done.stdout
