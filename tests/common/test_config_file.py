"""Flags from a TOML file: keys, types, the command line's --config, and the text that gives the values back."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
from tyro.conf import Positional, arg

from common.config_file import ConfigError, config_text, filled, flags_of, read_config


@dataclass(frozen=True)
class Net:
    """What is trained."""

    model: Positional[Annotated[str, arg(name="net", metavar="NET")]] = "conv1d"
    epochs: int | None = None
    batch_size: int = 16
    gain: float = 6.0
    kinds: Annotated[tuple[Literal["raw", "mfcc"], ...], arg(name="features")] = ()


@dataclass(frozen=True)
class Place:
    """Where things lie. Besides folders,
    buckets too."""

    work: Path | None = None
    schedule: Literal["cosine", "constant"] = "cosine"
    quick: bool = False
    force: bool = False


FLAGS = flags_of(Net, Place)


@pytest.fixture
def read(tmp_path):
    """A function that reads a file of some text, named on a command line."""

    def read_it(text, *arguments):
        path = tmp_path / "c.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_config(arguments or ["--config", str(path)], FLAGS, once=["force"])

    return read_it


def test_keys_are_the_flags_names_and_values_the_fields(read):
    text = (
        'net = "conv2d"\nbatch_size = 8\nfeatures = ["raw"]\ngain = 3\nwork = "w"\nquick = true\nepochs = "None"\n'
    )
    values = read(text)
    assert filled(Net, values) == Net("conv2d", None, 8, 3.0, ("raw",))
    assert filled(Place, values) == Place(Path("w"), quick=True)
    assert read("batch-size = 8") == {"batch_size": 8}


def test_without_the_flag_there_is_no_file_and_the_last_of_several_counts(read, tmp_path):
    other = tmp_path / "other.toml"
    other.write_text("epochs = 7")
    assert read("epochs = 3", "conv1d", "--epochs", "4") == {}
    assert read("", "--config", "nowhere.toml", f"--config={other}") == {"epochs": 7}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", "c.toml: 'epoch' must be the name of a flag; did you mean epochs?"),
        ("xyz = 3", "c.toml: 'xyz' must be the name of a flag; see --help for the flags"),
        ("force = true", "c.toml: force is for one run, on the command line; remove it from the file"),
        ("epochs = '3'", 'c.toml: epochs must be a whole number or "None", got "3"; correct it'),
        ("batch_size = 2.5", "c.toml: batch_size must be a whole number, got 2.5; correct it"),
        ("gain = true", "c.toml: gain must be a number, got true; correct it"),
        ("quick = 1", "c.toml: quick must be true or false, got 1; correct it"),
        ("net = 2", "c.toml: net must be a text, got 2; correct it"),
        ("work = []", 'c.toml: work must be a path in quotes or "None", got \\[\\]; correct it'),
        ("schedule = 'x'", 'c.toml: schedule must be "cosine" or "constant", got "x"; correct it'),
        (
            "features = 'raw'",
            'c.toml: features must be a list, in which each is "raw" or "mfcc", got "raw"; correct',
        ),
        ("[epochs]\na = 1", "c.toml: epochs must be a whole number .*, got a table; correct it"),
        ("batch_size = 1\nbatch-size = 2", "c.toml: batch-size must be there once, got it twice; remove one"),
        ("epochs = ", "c.toml: must be TOML, lines such as epochs = 40, got an error: Invalid value"),
        (b"\xff", "c.toml: must be TOML, .* got an error: 'utf-8' codec can't decode byte 0xff"),
        ("a = " + "[" * 5000, "c.toml: must be TOML, .* got an error:"),
    ],
)
def test_what_is_wrong_is_one_line_with_file_and_key(read, text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        read(text)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(read, tmp_path):
    with pytest.raises(
        ConfigError, match=r"no.toml: cannot be read \(No such file or directory\); give a TOML file"
    ):
        read("", "--config", str(tmp_path / "no.toml"))
    with pytest.raises(ConfigError, match=r"cannot be read \(Is a directory\)"):
        read("", "--config", str(tmp_path))


def test_what_is_written_is_read_back_as_it_was(read):
    net, place = Net('a "b"\\\n\x7fü😀', 3, 10**12, 1e-7, ("raw", "mfcc")), Place(Path("w é"), quick=True)
    values = {**asdict(net), **asdict(place)}
    del values["force"]
    text = config_text("Repeats it", (Net, Place), values)
    assert text.startswith('# Repeats it\n\n# What is trained.\nnet = "a \\"b')
    assert "\n\n# Where things lie. Besides folders,\nwork = " in text
    assert read(text) == values
    assert config_text("t", (Net, Place), {"epochs": None}) == '# t\n\n# What is trained.\nepochs = "None"\n'
