import os
import subprocess
import sys
from pathlib import Path

import pytest

import earmark

ROOT = Path(earmark.__file__).parent


@pytest.mark.parametrize("name", [name for name in earmark.__all__ if name not in ("Tagger", "COMMANDS", "main")])
def test_every_name_stands_for_something_and_imports_no_keras(name):
    code = f"import earmark, sys; assert earmark.{name}; assert 'keras' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_tagger_is_imported_quietly():
    done = subprocess.run([sys.executable, "-c", "import earmark; earmark.Tagger"], capture_output=True, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module earmark has no Tager; it has Tagger, Timeline, load_pred"):
        _ = earmark.Tager


def _run(folder, *arguments, module=False):
    start = ["-m", *arguments] if module else ["-c", "import earmark; earmark.main()", *arguments]
    return subprocess.run(
        [sys.executable, *start],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def folder(tmp_path):
    """A user's folder, with a train.py and a cache.py of the user's own."""
    for name in ("train.py", "cache.py"):
        (tmp_path / name).write_text("raise SystemExit('the user''s own')")
    return tmp_path


def test_the_installed_command_works_beside_a_users_own_files(folder):
    for name in ("train", "cache", "featurize", "ensemble", "report", "tag"):
        done = _run(folder, name, "--help")
        assert done.returncode == 0 and f"usage: python -m {name}" in done.stdout, done.stderr
    done = _run(folder, "cache", "ls")
    assert done.returncode == 2 and "work/cache" in done.stderr


def test_the_command_of_an_editable_install_works_beside_a_users_own_files(folder):
    load = f"spec = util.spec_from_file_location('earmark', {str(ROOT / 'earmark.py')!r})"
    code = f"import sys; from importlib import util; {load}; m = util.module_from_spec(spec); "
    code += "sys.modules['earmark'] = m; spec.loader.exec_module(m); m.main()"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", code, "cache", "ls"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and "work/cache" in done.stderr


def test_a_package_that_a_users_file_hides_is_one_line(folder):
    done = _run(folder, "featurize", "--help", module=True)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert f"{folder / 'cache.py'}: hides a package of earmark's; run the command in another folder" in done.stderr


def test_another_command_is_refused(tmp_path):
    done = _run(tmp_path, "trian")
    assert done.returncode == 2 and "command must be one of featurize, train" in done.stderr
    assert _run(tmp_path).returncode == 2 and _run(tmp_path, "--help").returncode == 0
