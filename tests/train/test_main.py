import errno
import re
import shutil
import signal
import subprocess
import sys

import pytest

from cache import RawSpecification
from train.__main__ import main, parse
from train.settings import SettingsError, settings_for


@pytest.fixture(scope="module")
def two_rates(tmp_path_factory, make_cache):
    """A work folder whose cache holds the small dataset's waveforms at 4,000 and 5,000 Hz."""
    return make_cache(tmp_path_factory.mktemp("work"), RawSpecification(4000), RawSpecification(5000))


@pytest.fixture
def command(work, tmp_path, monkeypatch, capsys):
    """A function that runs the command line; gives exit code, standard output and standard error."""
    before = signal.getsignal(signal.SIGTERM)

    def run_it(*arguments):
        settings = ["--work", str(tmp_path), "--cache", str(work / "cache")]
        monkeypatch.setattr(sys, "argv", ["train", *settings, *map(str, arguments)])
        try:
            code = main()
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    yield run_it
    signal.signal(signal.SIGTERM, before)


def test_results_are_on_standard_output_and_progress_is_not(command, tmp_path):
    code, out, err = command("conv1d", "--quick")
    assert code == 0
    assert out.splitlines()[0].split() == [
        "fold",
        "clips",
        "epochs",
        "kept",
        "OOF",
        "accuracy",
        "OOF",
        "MAP@3",
    ]
    assert out.splitlines()[-1] == f"predictions: {tmp_path / 'quick' / 'predictions_1d_conv'}"
    assert "fold 1 epoch 1/1" in err
    assert "fold 1 epoch" not in out


def test_the_flags_are_those_of_the_help(command):
    code, out, _ = command("--help")
    assert code == 0
    flags = (
        "--work --cache --name --sr --mfcc --mfcc-sr --folds --fold-column --epochs --batch-size --learning-rate "
        "--seconds --patience --seed --verified-only --fold --crops --quick --limit --force --recipe --features "
        "--logmel --group-by --schedule --warmup --keep --validate-every --windows --mixup --time-mask --band-mask "
        "--gain --polarity --label-smoothing --averaging --standardise --unverified-weight --strata --crop-mean"
    )
    for flag in (*flags.split(), "conv1d", "conv2d", "mobilenet", "(default: 10", "(default: 0.001)"):
        assert flag in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--folds", 1], "train: --folds must be at least 2, one part is held out for validation, got 1"),
        (["--cache", "/no/cache"], "train: /no/cache: no cache here; run `python -m featurize` first"),
        (["--sr", 8000], "must hold raw features for --sr 8000, got mfcc-20-4000.zarr, raw-4000.zarr"),
        (
            ["--seconds", 0.1],
            "train: --seconds must be at least 0.404 for the poolings of conv1d on raw-4000.zarr",
        ),
        (
            ["--folds", 7],
            "train: label 'Hum': clips that take part must be at least 7, one for each fold, got 6",
        ),
        (["--limit", 1], "train: train.csv: labels must be at least 2, got only 'Hum'; add clips of another"),
        (["--folds", 3, "--fold", 3], "train: --fold must be 0 to 2, as there are 3 folds, got 3"),
        (
            ["--fold-column", "no"],
            "train: --fold-column must be a column of train.csv (label, manually_verified, part)",
        ),
    ],
)
def test_wrong_input_is_one_line_and_exits_2(command, arguments, message):
    code, out, err = command("conv1d", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_wrong_usage_exits_2(command):
    assert command("conv3d")[0] == 2
    assert command("conv1d", "--epochs", "many")[0] == 2
    assert command()[0] == 2


def test_an_incomplete_store_is_refused(command, work, tmp_path):
    shutil.copytree(work / "cache", tmp_path / "cache")
    next((tmp_path / "cache" / "raw-4000.receipts").glob("*.json")).unlink()
    code, _, err = command("conv1d", "--cache", tmp_path / "cache")
    assert code == 2
    assert "raw-4000.zarr: incomplete store, 24 of 24 clips are missing" in err


def test_two_stores_that_fit_are_refused_by_the_flag_that_chooses(command, untrained, two_rates):
    code, _, err = command("conv1d", "--cache", two_rates / "cache", "--quick")
    assert code == 2
    assert "one raw store must fit, got raw-4000.zarr and raw-5000.zarr; choose with --sr" in err
    assert command("conv1d", "--cache", two_rates / "cache", "--quick", "--sr", 5000)[0] == 0


def test_changed_settings_are_refused_and_force_helps(command, untrained):
    assert command("conv1d", "--quick", "--fold", 0)[0] == 0
    code, _, err = command("conv1d", "--quick", "--epochs", 2)
    assert code == 2
    assert "epochs must be 1, got 2" in err.splitlines()[-1]
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
        (KeyboardInterrupt(), 130, "train: stopped; the same command goes on with fold 1"),
        (
            OSError(errno.ENOSPC, "No space left on device", "w/model_0.keras"),
            2,
            "train: w/model_0.keras: No space left on device; finished folds and epochs are kept",
        ),
        (
            MemoryError(),
            2,
            "train: not enough memory; give --resident no, or lower --batch-size or --seconds with a new --name; "
            "finished folds and epochs are kept",
        ),
    ],
)
def test_a_run_that_cannot_go_on_ends_with_one_line(command, untrained, error, code, message):
    untrained.errors[1] = error
    found, out, err = command("conv1d", "--quick")
    assert (found, out) == (code, "")
    assert err.splitlines()[-1] == message


def test_runs_are_compared(command, untrained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train", "ls", "--work", str(tmp_path)])
    assert main() == 0
    assert capsys.readouterr().out == f"no runs in {tmp_path}\n"
    command("conv1d", "--quick")
    command("conv1d", "--quick", "--name", "other", "--seed", 7)
    monkeypatch.setattr(sys, "argv", ["train", "ls", "--work", str(tmp_path)])
    assert main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "run",
        "other/predictions_1d_conv",
        "quick/predictions_1d_conv",
    ]
    assert "seed=7" in lines[1] and "seed=1001" in lines[2]


def test_flags_that_are_not_given_have_the_recipes_values():
    default, notebook = parse(["conv1d"]), parse(["conv2d", "--recipe", "notebook", "--crops", "3"])
    assert default == settings_for("conv1d")
    assert notebook == settings_for("conv2d", "notebook", crops=3)
    assert parse(["conv2d", "--recipe=notebook"]).recipe.windows == "once"
    assert parse(["conv1d", "--quick"]).recipe.epochs == 1
    assert parse(["conv1d", "--quick", "--epochs", "3", "--polarity", "False"]) == settings_for(
        "conv1d", quick=True, epochs=3, polarity=False
    )


def test_the_help_shows_the_recipes_values(command):
    assert "(default: 64)" not in command("--help")[1]
    said = " ".join(re.sub("[│╭╰─╮╯]", " ", command("conv1d", "--recipe", "notebook", "--help")[1]).split())
    for flag, value in [
        ("--batch-size", "64"),
        ("--epochs", "50"),
        ("--patience", "5"),
        ("--windows", "each-epoch"),
    ]:
        assert re.search(rf"{flag} .*?\(default: (.*?)\)", said)[1] == value
    said = " ".join(re.sub("[│╭╰─╮╯]", " ", command("conv2d", "--recipe", "notebook", "--help")[1]).split())
    assert re.search(r"--windows .*?\(default: (.*?)\)", said)[1] == "once"


def test_keras_is_not_imported_for_help_and_early_errors():
    code = "import sys, train.__main__; print({'keras', 'tensorflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
