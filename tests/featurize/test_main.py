"""The command: its lines, its exit codes, and how it stops."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cache.writer import writing
from featurize.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
QUICK = ["--sr", "100", "--mfcc", "4", "--n-mels", "8", "--mfcc-sr", "2000", "--jobs", "2"]


@pytest.fixture
def command(capsys, tmp_path):
    """A function that runs the command in this process: exit code, standard output, standard error."""

    def command(*arguments, data=None):
        given = ["--data", data or tmp_path / "data", "--work", tmp_path / "work", *QUICK, *arguments]
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            code = main(list(map(str, given)))
        except SystemExit as end:
            code = end.code
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        out, err = capsys.readouterr()
        return code, out, err

    return command


def start(*arguments, **options) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "featurize", *map(str, arguments), *QUICK],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.fixture
def small(tmp_path, write_dataset, noise):
    clips = {f"{i}.wav": noise(1 + i, 2000, seed=i) for i in range(4)}
    return write_dataset(tmp_path / "data", clips, {"t.wav": noise(2, 2000, seed=8)})


def test_plan_on_stderr_and_summary_on_stdout(small, command):
    code, out, err = command()
    assert code == 0
    assert (
        "data, layout kaggle: 4 training clips of 3 labels and 1 test clips, " in err
        and "MB to write" in err
        and "GB free" in err
    )
    assert "raw-100.zarr: 1 chunks to write" in err and "5 new recordings" in err
    assert "5 clips featurized" in out and "clips/s" in out and "times real time" in out
    assert "all 5 clips are whole" in out and "store: " in out


def test_nothing_to_do_is_said(small, command):
    command()
    code, out, err = command()
    assert code == 0 and "nothing to do: every clip is in every store" in out


def test_kinds_of_clips_are_named_with_reasons_and_exit_1(every_kind, command):
    code, out, _ = command()
    assert code == 1
    assert "truncated, used as far as they go: cut.wav" in out
    assert "failed: text.wav: not a recording that libsndfile can decode" in out
    assert "empty: one.wav, zero.wav, empty.wav" in out


def test_on_error_stop_exits_2_with_one_line(every_kind, command):
    code, out, err = command("--on-error", "stop")
    assert code == 2 and "text.wav: not a recording" in err.splitlines()[-1] and out == ""


def test_upsampling_and_equal_recordings_are_said(tmp_path, write_dataset, noise, command):
    same = noise(1, 1000)
    write_dataset(tmp_path / "data", {"a.wav": same, "b.wav": same}, {"t.wav": same}, labels=["x", "x"])
    code, out, err = command()
    assert "3 recordings are upsampled to 2000 Hz, from 1000 Hz at the lowest" in err
    assert "equal recordings in train and test (a leak): a.wav = b.wav = t.wav" in out


def test_equal_recordings_under_two_labels_are_said(tmp_path, write_dataset, noise, command):
    same = noise(1, 2000)
    write_dataset(tmp_path / "data", {"a.wav": same, "b.wav": same, "c.wav": noise(1, 2000, seed=3)})
    assert "equal recordings under two labels (one is wrong): a.wav = b.wav" in command()[1]


def test_dry_run_prints_the_plan_and_writes_nothing(small, command, tmp_path):
    code, out, _ = command("--dry-run")
    assert code == 0 and "raw-100.zarr: 1 chunks to write" in out
    assert not (tmp_path / "work").exists()


def test_demo_overwrites_nothing(small, command):
    code, out, err = command("--demo")
    assert (code, out) == (2, "") and "audio_train: there is something already, which --demo does not" in err


@pytest.mark.slow
def test_demo_makes_a_dataset_once(tmp_path, command):
    code, out, err = command("--demo", "--limit", "3", data=tmp_path / "demo")
    assert code == 0 and "synthesised" in err
    code, out, err = command("--demo", data=tmp_path / "demo")
    assert code == 2 and "demo" in err.splitlines()[-1]


def test_demo_and_dry_run_exclude_each_other(tmp_path, command):
    code, _, err = command("--demo", "--dry-run")
    assert code == 2 and "--demo writes a dataset and --dry-run writes nothing; give one of them" in err
    assert not (tmp_path / "data").exists()


@pytest.mark.slow
def test_stopping_at_an_error_ends_in_order_while_other_jobs_run(tmp_path, write_dataset, noise):
    clips = {f"{i}.wav": noise(200, 8000, seed=i) for i in range(8)}
    data = write_dataset(tmp_path / "data", clips)
    (data / "audio_train" / "1.wav").write_text("no sound")
    process = start("--data", data, "--work", tmp_path / "work", "--on-error", "stop")
    _, err = process.communicate()
    assert process.returncode == 2 and err.splitlines()[-1].endswith("stopped, as --on-error stop asks")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--sr", "0"], "--sr: must be from 1 to 768000, got 0; give one in that range"),
        (["--mfcc", "129"], "--mfcc: must be from 1 to 128, got 129; give one in that range"),
        (["--jobs", "0"], "--jobs: must be from 1 to 4096, got 0; give one in that range"),
        (["--limit", "0"], "--limit: must be from 1 to 1000000000, got 0; give one in that range"),
    ],
)
def test_wrong_numbers_are_one_line_and_exit_2(small, command, arguments, line):
    code, out, err = command(*arguments)
    assert (code, out, err) == (2, "", f"featurize: {line}\n")


def test_no_data_is_one_line_and_exit_2(command):
    code, out, err = command()
    assert code == 2 and err.count("\n") == 1 and "data: dataset folder must exist, got none" in err


def test_a_folder_that_is_no_dataset_is_shown_the_layouts(tmp_path, command):
    (tmp_path / "data").mkdir()
    code, out, err = command()
    assert (code, out, err.count("\n")) == (2, "", 5)
    assert "data: must hold a dataset, got none; name its folder with --data, or lay it out in one" in err
    assert err.splitlines()[1].startswith("featurize:   kaggle         train.csv, audio_train/")


def test_a_layout_is_named_and_remarked_on(small, command):
    (small / "train.csv").unlink()
    (small / "sample_submission.csv").unlink()
    (small / "audio_train" / "5.m4a").write_bytes(b"x")
    (small / "audio_train" / "6.txt").write_bytes(b"x")
    code, _, err = command("--layout", "unlabelled")
    assert code == 0 and "data, layout unlabelled: 5 test clips, " in err
    assert "1 files left out, of no suffix that is decoded: audio_train/5.m4a" in err


def test_a_csv_of_ones_own(small, command):
    (small / "mine.csv").write_text("file,class,split\naudio_train/0.wav,dog,train\naudio_test/t.wav,cat,test\n")
    code, _, err = command("--csv", "mine.csv")
    assert code == 0 and "data, layout csv: 1 training clips of 1 labels and 1 test clips (1 labelled), " in err


def test_a_second_featurize_is_told_who_writes(small, tmp_path, command):
    with writing(tmp_path / "work" / "cache"):
        code, _, err = command()
    assert code == 2 and f"process {os.getpid()}" in err and "wait" in err


def test_a_cache_folder_that_cannot_be_made_is_one_line(small, tmp_path, command):
    (tmp_path / "work").write_text("a file, not a folder")
    code, _, err = command()
    assert (code == 2 and err.count("\n") == 1 and "Not a directory" in err) or "File exists" in err


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_folders_and_files_without_permission(small, tmp_path, command, as_nobody):
    command("--cache", tmp_path / "first")  # imports all that another user may not read
    (small / "audio_train" / "1.wav").chmod(0)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with as_nobody():
        code, _, err = command("--cache", tmp_path / "closed")
        assert code == 2 and "Permission denied" in err.splitlines()[-1]
        code, out, err = command("--cache", tmp_path / "open" / "cache")
        assert code == 1 and "failed: 1.wav: Permission denied" in out and "empty" not in out, err
    (small / "audio_train" / "1.wav").chmod(0o644)
    code, out, _ = command("--cache", tmp_path / "open" / "cache")
    assert code == 0 and "clips are whole" in out


def test_a_full_disk_is_one_line_and_the_next_run_completes(small, tmp_path, command):
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))  # noqa: E731  (chunks are larger)
    process = start("--data", small, "--work", tmp_path / "work", preexec_fn=limit)
    out, err = process.communicate()
    assert (
        process.returncode == 2
        and "File too large" in err.splitlines()[-1]
        and "rerun the command to resume" in err
    )
    assert "Traceback" not in err and not list((tmp_path / "work").rglob(".earmark-*"))
    assert command()[0] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_stops_at_once_and_says_how_to_go_on(tmp_path, write_dataset, number, command):
    samples = np.random.default_rng(0).uniform(-1, 1, 8000 * 200)
    clips = {f"{i}.wav": (np.roll(samples, i), 8000) for i in range(60)}
    data = write_dataset(tmp_path / "data", clips)
    process = start("--data", data, "--work", tmp_path / "work")
    for line in process.stderr:
        if "MB to write" in line:
            break
    process.send_signal(number)
    out, err = process.communicate()
    assert process.returncode == 130 and out == ""
    assert err.splitlines()[-1].endswith("finished work is kept: rerun the command to resume")
    assert command()[0] == 0


@pytest.mark.slow
def test_a_killed_worker_process_is_one_line_and_the_next_run_completes(small, tmp_path, command):
    script = (
        "import os, signal, sys; sys.argv[0] = 'featurize'\n"
        "import featurize.run as run\n"
        "from featurize.__main__ import main\n"
        "run.run_job = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.exit(main())\n"
    )
    arguments = ["--data", small, "--work", tmp_path / "work", *QUICK, "--engine", "processes"]
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "a worker process was killed" in done.stderr.splitlines()[-1]
    assert command()[0] == 0


def test_neither_keras_nor_tensorflow_is_imported():
    code = "import sys, featurize.__main__; print({'keras', 'tensorflow'} & set(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.check_output([sys.executable, "-c", code], env=environment, text=True) == "set()\n"


def test_help_is_complete(command):
    code, out, _ = command("--help")
    assert code == 0
    flags = (
        "data work cache limit demo features sr mfcc n-mels mfcc-sr raw-dtype trim-db "
        "engine jobs scheduler on-error prune force fsync dry-run debug"
    )
    assert all(f"--{flag}" in out for flag in flags.split())


@pytest.mark.parametrize(
    "arguments",
    [["--help"], *(pytest.param(arguments, marks=pytest.mark.slow) for arguments in (["--dry-run"], []))],
)
def test_a_reader_that_is_gone_ends_the_command_quietly(small, tmp_path, arguments):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "featurize", "--data", small, "--work", tmp_path / "work", *QUICK, *arguments]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert done.returncode == 141 and "Traceback" not in done.stderr and "Broken pipe" not in done.stderr


def test_nothing_of_a_name_reaches_the_terminal_raw(tmp_path, write_dataset, noise, command):
    """An escape sequence in a file's name, in its folder's, in a label and in what an argument names."""
    name = "\x1b[2J\x07.wav"
    data = write_dataset(
        tmp_path / "da\x1bta", {name: noise(1, 2000), "b.wav": noise(1, 2000)}, labels=["x\x1b", "y"]
    )
    (data / "audio_train" / name).write_text("no sound")
    code, out, err = command(data=data)
    assert (
        code == 1
        and "failed: \\u001b[2J\\u0007.wav: not a recording" in out
        and "da\\u001bta, layout kaggle: 2 training" in err
    )
    (data / "train.csv").write_text(f"fname,label\n{name},\n")
    _, out_2, err_2 = command(data=data)
    assert "label of \\u001b[2J\\u0007.wav (row 1) must not be empty" in err_2
    (data / "audio_train" / name).unlink()
    (data / "train.csv").write_text("fname,label\nb.wav,y\n")
    _, out_3, err_3 = command("--prune", data=data)
    assert "removed from the clip table: \\u001b[2J\\u0007.wav" in err_3
    assert not {"\x1b", "\x07"} & set(out + err + out_2 + err_2 + out_3 + err_3)


def test_odd_names_fail_alone(small, tmp_path, command, as_nobody):
    """A name of 300 letters, one that is only an ending, and a folder that is closed to us."""
    command("--cache", tmp_path / "first")  # imports all that another user may not read
    names = ["x" * 300 + ".wav", ".raw", "closed/a.wav"]
    (small / "audio_train" / ".raw").write_text("no sound")
    (small / "audio_train" / "closed").mkdir(mode=0)
    (small / "train.csv").write_text(
        "fname,label\n" + "".join(f"{name},y\n" for name in [*names, "0.wav", "1.wav"])
    )
    (tmp_path / "work").mkdir()
    (tmp_path / "work").chmod(0o777)
    if os.geteuid():
        code, out, err = command()
    else:
        with as_nobody():
            code, out, err = command()
    assert code == 1 and "3 failed, each with its reason:" in out, out + err
    assert all(f"failed: {name[:40]}" in out for name in names) and "closed/a.wav: Permission denied" in out


def test_an_older_cache_is_refused_in_one_line(small, tmp_path, command):
    (tmp_path / "work" / "cache" / "copies").mkdir(parents=True)
    (tmp_path / "work" / "cache" / "clips.parquet").write_bytes(b"PAR1")
    code, out, err = command()
    assert (code, out, err.count("\n")) == (
        2,
        "",
        1,
    ) and "made by an older version of earmark; move it away, or" in err


def test_debug_shows_where_an_error_comes_from(tmp_path, command):
    assert "Traceback" in command("--debug")[2] and "Traceback" not in command()[2]


def test_lines_of_the_help_fit_80_columns(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(len, command("--help")[1].splitlines())) <= 80


def test_a_run_is_repeated_by_the_file_in_its_cache(small, tmp_path, command):
    assert command("--features", "raw", "logmel", "--trim-db", "40")[0] == 0
    file = tmp_path / "work" / "cache" / "settings.toml"
    text = file.read_text()
    assert 'features = ["raw", "logmel"]' in text and "trim-db = 40.0" in text
    assert not {"jobs", "engine", "force"} & {line.partition(" ")[0] for line in text.splitlines()}
    code, out, _ = command("--config", file)
    assert (code, out.splitlines()[0]) == (0, "nothing to do: every clip is in every store")
    assert len([*file.parent.glob("*.zarr")]) == 2 and file.read_text() == text


def test_the_command_line_wins_over_a_file(small, tmp_path, command):
    file = tmp_path / "c.toml"
    file.write_text('features = ["raw"]\nraw_dtype = "float32"\nsr = 50\n')
    assert command("--config", file)[0] == 0  # and --sr 100
    assert [path.name[:8] for path in (tmp_path / "work" / "cache").glob("*.zarr")] == ["raw-100-"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n-mel = 3", "featurize: {file}: 'n-mel' must be the name of a flag; did you mean n-mels?"),
        ("prune = true", "featurize: {file}: prune is for one run, on the command line; remove it from the file"),
        ("trim-db = 'x'", 'featurize: {file}: trim-db must be a number or "None", got "x"; correct it'),
    ],
)
def test_a_wrong_file_is_one_line(small, tmp_path, command, text, message):
    file = tmp_path / "c.toml"
    file.write_text(text)
    assert command("--config", file) == (2, "", message.format(file=file) + "\n")
