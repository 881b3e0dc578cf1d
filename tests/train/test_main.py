import errno
import re
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from cache import RawSpecification
from train.__main__ import main, parse
from train.settings import SettingsError, config_of, settings_for


@pytest.fixture(scope="module")
def two_rates(tmp_path_factory, make_cache):
    """A work folder whose cache holds the small dataset's waveforms at 4,000 and 5,000 Hz."""
    return make_cache(tmp_path_factory.mktemp("work"), RawSpecification(4000), RawSpecification(5000))


@pytest.fixture
def command(work, tmp_path, capsys):
    """A function that runs the command line; gives exit code, standard output and standard error."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def run_it(*arguments):
        try:
            code = main(["--work", str(tmp_path), "--cache", str(work / "cache"), *map(str, arguments)])
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    yield run_it
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_results_are_on_standard_output_and_progress_is_not(command, untrained, tmp_path):
    code, out, err = command("conv1d", "--quick")
    assert code == 0
    assert out.splitlines()[0] == "fold  clips  epochs  kept  OOF accuracy  OOF MAP@3"
    assert out.splitlines()[-1] == f"predictions: {tmp_path / 'quick' / 'predictions_1d_conv'}"
    assert "train: training on cpu:0 from raw-4000.zarr" in err
    assert "fold 1: 2 epochs, kept 1, accuracy" in err and "fold 1: " not in out


@pytest.mark.slow
def test_the_quick_net_is_trained(command):
    code, out, err = command("conv1d", "--quick")
    assert code == 0 and "fold 1 epoch 1/1: validation loss" in err and out.splitlines()[3].startswith("all")


GROUPS = ("data", "folds", "net and features", "schedule", "augmentation", "prediction", "hardware")


def test_the_help_has_every_flag_in_its_group_within_80_columns(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = command("--help")
    assert code == 0
    assert [title for title in GROUPS if f" {title} options " in out] == list(GROUPS)
    assert out.splitlines()[0] == "usage: python -m train [-h] [OPTIONS] {conv1d,conv2d,mobilenet,FILE.py:NAME,ls}"
    assert max(map(len, out.splitlines())) <= 80
    settings = settings_for("conv1d")
    flags = vars(settings).keys() - {"model", "recipe", "preset", "source"}
    said = " ".join(re.sub("[│╭╰─╮╯]", " ", out).split())
    for name in flags:
        assert re.search(rf"--{name.replace('_', '-')}[ ,].*?\(default: ", said)
    assert not {"--order", "--logmel"} & set(said.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--folds", 1], "train: --folds must be 2 to 10,000, got 1"),
        (["--crops", 100000000], "train: --crops must be 1 to 1,000, got 100000000"),
        (["--cache", "/no/cache"], "/no/cache: no cache here"),
        (["--sr", 8000], "--sr 8000"),
        (["--store", "mfcc-20-4000.zarr"], "train: --store must name a store of raw features for conv1d"),
        (
            ["--seconds", 0.1],
            "train: --seconds must be at least 0.404 for the poolings of conv1d on raw-4000.zarr",
        ),
        (["--folds", 7], "must be at least 7, one for each fold, got 6; lower --folds, or add clips of it"),
        (["--quick", "--limit", 1], "labels must be at least 2, got only 'Hum'; raise or leave out --limit, or"),
        (["--quick", "--limit", 4], "must be at least 2, one for each fold, got 1; raise or leave out --limit, or"),
        (["--folds", 3, "--fold", 3], "train: --fold must be 0 to 2, as there are 3 folds, got 3"),
        (["--fold-column", "no"], "--fold-column must be a column of the dataset (label, manually_verified, part)"),
    ],
)
def test_wrong_input_is_one_line_and_exits_2(command, arguments, message):
    code, out, err = command("conv1d", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_an_unknown_backend_is_one_line_before_keras_is_imported(command, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    code, _, err = command("conv1d", "--quick")
    assert code == 2
    assert err == "train: KERAS_BACKEND must be tensorflow, jax or torch, got 'theano'; unset it\n"


def test_wrong_usage_exits_2(command):
    assert command("conv3d")[0] == 2
    assert command("conv1d", "--epochs", "many")[0] == 2
    assert command()[0] == 2


def test_two_stores_that_fit_are_refused_by_the_flag_that_chooses(command, untrained, two_rates):
    code, _, err = command("conv1d", "--cache", two_rates / "cache", "--quick")
    assert code == 2
    assert "one raw store must fit, got raw-4000.zarr and raw-5000.zarr; choose with" in err
    assert command("conv1d", "--cache", two_rates / "cache", "--quick", "--sr", 5000)[0] == 0


def test_changed_settings_are_refused_and_force_helps(command, untrained):
    assert command("conv1d", "--quick", "--fold", 0)[0] == 0
    code, _, err = command("conv1d", "--quick", "--epochs", 2)
    assert code == 2
    assert "epochs must be 1, got 2" in err.splitlines()[-1] and "--force" in err.splitlines()[-1]
    code, _, err = command("conv1d", "--quick", "--epochs", 2, "--force")
    assert code == 0
    assert "predictions_1d_conv.old-1" in err


def test_several_folds_can_be_named(command, untrained):
    code, out, _ = command("conv1d", "--quick", "--folds", 4, "--fold", 3, 1)
    assert (code, untrained) == (0, [1, 3])
    assert "2 of 4" in out


def test_a_loss_that_is_no_number_exits_2_and_keeps_earlier_folds(command, untrained, tmp_path):
    untrained.errors[1] = SettingsError("fold 1: loss must stay finite, got nan")
    code, out, err = command("conv1d", "--quick")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1] == "train: fold 1: loss must stay finite, got nan"
    folder = tmp_path / "quick" / "predictions_1d_conv"
    assert sorted(path.name for path in folder.glob("finished_*")) == ["finished_0.json"]


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "train: stopped; rerun the same command to resume with fold 1"),
        (
            OSError(errno.ENOSPC, "No space left on device", "w/model_0.keras"),
            2,
            "train: w/model_0.keras: No space left on device; finished folds and epochs are kept",
        ),
        (
            MemoryError(),
            2,
            "train: not enough memory; lower --batch-size or --seconds with a new --name; "
            "finished folds and epochs are kept",
        ),
    ],
)
def test_a_run_that_cannot_continue_ends_with_one_line(command, untrained, error, code, message):
    untrained.errors[1] = error
    found, out, err = command("conv1d", "--quick")
    assert (found, out) == (code, "")
    assert err.splitlines()[-1] == message


def test_stopping_after_force_advises_the_command_without_it(command, untrained):
    command("conv1d", "--quick")
    untrained.errors[0] = KeyboardInterrupt()
    assert command("conv1d", "--quick", "--force")[2].splitlines()[-1] == (
        "train: stopped; rerun the same command without --force to resume with fold 0"
    )


def test_runs_are_compared(command, untrained, tmp_path, capsys):
    assert main(["ls", "--work", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"no runs in {tmp_path}\n"
    command("conv1d", "--quick")
    command("conv1d", "--quick", "--name", "other", "--seed", 7)
    assert main(["ls", "--work", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "run",
        "other",
        "store=raw-4000.zarr",
        "quick",
        "store=raw-4000.zarr",
    ]
    assert [line.split()[1:] for line in lines if line.startswith(" ")] == [["quick=yes", "seed=7"], ["quick=yes"]]


def test_flags_that_are_not_given_have_the_recipes_values():
    default, notebook = parse(["conv1d"]), parse(["conv2d", "--recipe", "notebook", "--crops", "3"])
    assert default == settings_for("conv1d")
    assert notebook == settings_for("conv2d", "notebook", crops=3)
    assert parse(["conv2d", "--recipe=notebook"]).windows == "once"
    assert parse(["conv1d", "--quick"]).epochs == 1
    assert parse(["conv1d", "--quick", "--epochs", "3", "--no-polarity"]) == settings_for(
        "conv1d", quick=True, epochs=3, polarity=False
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["conv1d"],
        ["conv1d", "--quick", "--epochs", "None", "--features", "raw"],
        ["conv2d", "--recipe", "notebook", "--patience", "None", "--group-by", 'a "b"', "--mfcc", "20"],
        ["mobilenet", "--fold", "0", "1", "--limit", "9", "--no-polarity", "--seed", "7", "--fold-column", "part"],
        ["my_nets.py:my_net", "--features", "mfcc", "--work", "my work", "--name", "x", "--precision", "bfloat16"],
        ["conv2d", "--schedule", "constant", "--learning-rate", "1e-7", "--force", "--scheduler", "tcp://h:1"],
    ],
)
def test_settings_are_repeated_from_their_file_but_for_what_is_of_one_run(arguments, tmp_path):
    settings, file = parse(arguments), tmp_path / "settings.toml"
    file.write_text(config_of(settings))
    again = parse(["--config", str(file)])
    assert again.binding() == settings.binding()
    assert again == replace(settings, config=file, fold=(), scheduler=None, force=False)


def test_the_command_line_wins_over_the_file_and_the_file_over_the_recipe(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text('net = "conv2d"\nrecipe = "notebook"\ncrops = 3\nfold = [0, 1]\npolarity = true\n')
    settings = parse(["--config", str(file)])
    assert settings == settings_for("conv2d", "notebook", crops=3, fold=(0, 1), polarity=True, config=file)
    assert settings.windows == "once"
    settings = parse(["conv1d", f"--config={file}", "--crops", "5", "--fold", "2", "--no-polarity"])
    assert (settings.model, settings.windows, settings.crops) == ("conv1d", "each-epoch", 5)
    assert (settings.fold, settings.polarity, settings.batch_size) == ((2,), False, 64)
    assert parse([f"--config={file}", "--recipe", "default"]).batch_size == 16


def test_a_run_is_repeated_by_the_file_beside_it(command, untrained, tmp_path):
    assert command("conv2d", "--mfcc", 20, "--folds", 2, "--group-by", "part", "--fold", 0)[0] == 0
    file = tmp_path / "predictions_2d_conv" / "settings.toml"
    assert main(["--config", str(file)]) == 0
    assert untrained == [0, 1]
    assert 'store = "mfcc-20-4000.zarr"' in file.read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", "c.toml: 'epoch' must be the name of a flag; did you mean epochs?"),
        ("force = true", "c.toml: force is for one run, on the command line; remove it from the file"),
        ("net = 'conv3d'", "the net must be conv1d, conv2d, mobilenet or FILE.py:FUNCTION, got 'conv3d'"),
        ("crops = 0", "--crops must be 1 to 1,000, got 0"),
    ],
)
def test_a_wrong_file_is_one_line_and_exits_2(command, tmp_path, text, message):
    (tmp_path / "c.toml").write_text(text)
    code, out, err = command("--config", tmp_path / "c.toml", *([] if "net" in text else ["conv1d"]))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_the_help_shows_the_recipes_values(command):
    assert "(default: 64)" not in command("--help")[1]
    assert "(default: )" not in command("--help")[1]
    said = " ".join(re.sub("[│╭╰─╮╯]", " ", command("conv1d", "--recipe", "notebook", "--help")[1]).split())
    for flag, value in [
        ("--batch-size INT", "64"),
        ("--epochs INT", "50"),
        ("--patience INT", "5"),
        ("--windows", "each-epoch"),
    ]:
        assert re.search(rf"{flag} .*?\(default: (.*?)\)", said)[1] == value
    said = " ".join(re.sub("[│╭╰─╮╯]", " ", command("conv2d", "--recipe", "notebook", "--help")[1]).split())
    assert re.search(r"--windows .*?\(default: (.*?)\)", said)[1] == "once"


def test_keras_is_not_imported_for_help_and_early_errors():
    code = "import sys, train.__main__; print({'keras', 'tensorflow', 'sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
