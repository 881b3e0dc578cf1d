import platform
import subprocess

import keras

from train.provenance import git_revision, versions


def test_versions_name_python_keras_and_its_backend():
    found = versions("tensorflow")
    assert found["python"] == platform.python_version()
    assert found["keras"] == keras.__version__
    assert {"tensorflow", "numpy", "numba", "zarr", "scikit-learn", "pandas"} <= found.keys()


def test_a_library_that_is_not_installed_has_no_version():
    assert versions("no-such-backend")["no-such-backend"] is None


def test_the_revision_is_that_of_the_working_directory(tmp_path, monkeypatch):
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "First"], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    monkeypatch.chdir(tmp_path)
    assert git_revision() == head


def test_without_a_checkout_there_is_no_revision(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    assert git_revision() is None


def test_without_git_there_is_no_revision(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert git_revision() is None
