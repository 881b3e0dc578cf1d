import gc
import os
import platform
import shutil
import subprocess
from pathlib import Path

import keras
import pytest

import train
from train.environment import (
    check_backend,
    device,
    git_revision,
    held_back_stderr,
    in_plain_words,
    started_keras,
    versions,
)
from train.settings import SettingsError

FULL = "not enough memory; lower --batch-size or --seconds with a new --name; finished folds and epochs are kept"


@pytest.mark.parametrize("name", ["theano", "TensorFlow", "../jax"])
def test_an_unknown_backend_is_refused_by_the_names_of_the_three(monkeypatch, name):
    monkeypatch.setenv("KERAS_BACKEND", name)
    with pytest.raises(
        SettingsError, match=rf"KERAS_BACKEND must be tensorflow, jax or torch, got '{name}'; unset it"
    ):
        check_backend()


def test_a_backend_that_is_not_installed_is_refused(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr("train.environment.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match="KERAS_BACKEND is jax, which is not installed; install it, or choose"):
        check_backend()


def test_the_default_backend_passes(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "")
    check_backend()


def test_the_device_is_named_as_keras_names_it():
    kind, _, number = device().partition(":")
    assert kind in ("cpu", "gpu", "cuda", "mps", "tpu")
    assert number == "" or number.isdigit()


def test_a_backend_that_lists_no_devices_is_asked_where_its_tensors_are(monkeypatch):
    class Tensor:
        device = "cuda:0"

    def none():
        raise AttributeError

    monkeypatch.setattr(keras.distribution, "list_devices", none)
    monkeypatch.setattr(keras.ops, "zeros", lambda shape: Tensor)
    assert device() == "cuda:0"


def test_lines_are_held_back_and_then_come_through_again(capfd):
    with held_back_stderr():
        os.write(2, b"chatter\n")
    os.write(2, b"wanted\n")
    assert capfd.readouterr().err == "wanted\n"


def test_lines_are_shown_when_the_block_fails(capfd):
    with pytest.raises(ImportError), held_back_stderr():
        os.write(2, b"the cause\n")
        raise ImportError
    assert capfd.readouterr().err == "the cause\n"


def test_keras_is_started_with_the_garbage_collector_at_rest_and_on_again(monkeypatch):
    seen = []
    monkeypatch.setattr("train.environment.device", lambda: seen.append(gc.isenabled()) or "cpu:0")
    assert started_keras() == "cpu:0"
    gc.unfreeze()
    assert seen == [False] and gc.isenabled()


def test_versions_name_the_package_python_keras_and_its_backend():
    found = versions("tensorflow")
    assert found["python"] == platform.python_version()
    assert found["keras"] == keras.__version__
    assert {"earmark", "tensorflow", "numpy", "numba", "scikit-learn", "pandas"} <= found.keys()
    assert versions("no-such-backend")["no-such-backend"] is None


@pytest.fixture
def git(tmp_path):
    """A function that runs git in a new repository below the test's folder."""
    (tmp_path / "checkout").mkdir()

    def git(*arguments):
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-C", tmp_path / "checkout", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    return git


def test_the_revision_is_that_of_the_checkout_that_tracks_the_package(tmp_path, git):
    package = tmp_path / "checkout" / "train"
    package.mkdir()
    shutil.copy(train.__file__, package)
    git("add", ".")
    git("commit", "-q", "-m", "First")
    assert git_revision(package) == git("rev-parse", "HEAD")


def test_the_revision_of_the_folder_that_the_user_stands_in_is_not_noted(tmp_path, git, monkeypatch):
    git("commit", "-q", "--allow-empty", "-m", "First")
    monkeypatch.chdir(tmp_path / "checkout")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "checkout" / ".git"))
    assert git_revision() != git("rev-parse", "HEAD")


def test_a_package_installed_inside_a_checkout_that_does_not_track_it_has_no_revision(tmp_path, git):
    git("commit", "-q", "--allow-empty", "-m", "First")
    installed = tmp_path / "checkout" / ".venv" / "train"
    installed.mkdir(parents=True)
    shutil.copy(train.__file__, installed)
    assert git_revision(installed) is None


def test_without_git_there_is_no_revision(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert git_revision() is None


class ResourceExhaustedError(Exception):
    """Has TensorFlow's name."""


class OutOfMemoryError(RuntimeError):
    """Has PyTorch's name."""


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            OSError(28, "No space left on device", "f"),
            "f: No space left on device; finished folds and epochs are kept",
        ),
        (OSError("gone"), "w: gone; finished folds and epochs are kept"),
        (
            ResourceExhaustedError("w/logs/events.v2; No space left on device"),
            "w: No space left on device; finished folds and epochs are kept",
        ),
        (MemoryError(), FULL),
        (ResourceExhaustedError("OOM when allocating tensor with shape[4096,48000,16]"), FULL),
        (OutOfMemoryError("CUDA: tried to allocate 20.00 GiB"), FULL),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8 bytes"), FULL),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), FULL),
    ],
)
def test_a_full_disk_or_memory_is_one_line(error, line):
    with pytest.raises(SettingsError) as raised, in_plain_words(Path("w")):
        raise error
    assert str(raised.value) == line


@pytest.mark.parametrize(
    "error", [SettingsError("--sr"), RuntimeError("shapes differ"), BrokenPipeError(32, "pipe")]
)
def test_other_errors_stay_as_they_are(error):
    with pytest.raises(type(error)) as raised, in_plain_words(Path("w")):
        raise error
    assert raised.value is error
