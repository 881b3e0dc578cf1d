"""Folders that are there whole or not at all, and caches that are switched to a new form."""

import os
import shutil
from pathlib import Path

import pytest

from cache.switch import finish_switch, is_switching, new_folder, require_space, switching
from common import EarmarkError

NEW = {"manifest.json": "new", "table": "new", "store/a": "new", "store/c": "new", "writer.lock": "old"}


def _texts(folder) -> dict:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def old(tmp_path):
    """A folder with files, and a folder of files, of the old form."""
    (tmp_path / "store").mkdir()
    for name in ("manifest.json", "table", "store/a", "store/b", "writer.lock"):
        (tmp_path / name).write_text("old")
    return tmp_path


def _build(folder) -> None:
    (folder / "store").mkdir()
    for name in ("manifest.json", "table", "store/a", "store/c"):
        (folder / name).write_text("new")


def test_the_new_form_replaces_the_old(old):
    with switching(old) as built:
        _build(built)
        assert not is_switching(old)
    assert _texts(old) == NEW and not is_switching(old)


def test_where_building_fails_the_old_form_stays(old):
    before = _texts(old)
    with pytest.raises(ZeroDivisionError), switching(old) as built:
        _build(built)
        raise ZeroDivisionError
    assert _texts(old) == before


@pytest.mark.parametrize("step", range(4))
def test_an_interrupted_switch_is_finished(old, step):
    done = old / ".earmark-compacted"
    done.mkdir()
    _build(done)
    if step >= 1:
        (old / "manifest.json").unlink()
    if step >= 2:
        (old / "store").rename(old / ".earmark-0123abcd-compact-store")
    if step >= 3:
        (done / "store").rename(old / "store")
    assert is_switching(old)
    finish_switch(old)
    assert _texts(old) == NEW and not is_switching(old)


def test_only_our_temporary_names_are_removed(old):
    names = {
        "x.partial",
        "compact.partial",
        ".earmark",
        ".earmark-0123abcg-x",
        "earmark-0123abcd-x",
        ".earmark-0123abcd-packed",
    }
    for name in names:
        (old / name).mkdir()
    (old / ".earmark-0123abcd-compact").mkdir()
    finish_switch(old)
    assert {path.name for path in old.iterdir()} == {"manifest.json", "table", "store", "writer.lock", *names}


def test_a_new_folder_is_there_whole_or_not_at_all(tmp_path):
    with new_folder(tmp_path / "a" / "new") as folder:
        (folder / "x").write_text("1")
        assert not (tmp_path / "a" / "new").exists()
    assert _texts(tmp_path) == {"a/new/x": "1"}
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "b") as folder:
        raise ZeroDivisionError
    assert {path.name for path in tmp_path.iterdir()} == {"a"}


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "empty").mkdir()
    inode = (tmp_path / "empty").stat().st_ino
    with new_folder(tmp_path / "empty") as folder:
        (folder / "x").write_text("1")
    assert _texts(tmp_path) == {"empty/x": "1"} and (tmp_path / "empty").stat().st_ino == inode
    (tmp_path / "other").mkdir()
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "other"):
        raise ZeroDivisionError
    assert list((tmp_path / "other").iterdir()) == []


@pytest.mark.parametrize("name", [".", "missing/..", "here/"])
def test_the_current_folder_can_be_filled(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with new_folder(Path(name)) as folder:
        (folder / "x").write_text("1")
    assert (tmp_path / name / "x").read_text() == "1" if name != "missing/.." else (tmp_path / "x").exists()


def test_users_files_beside_the_target_stay(tmp_path):
    for name in ("new.partial", ".new.partial", ".earmark-new", "new~"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine").write_text("mine")
    with new_folder(tmp_path / "new"):
        pass
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "failed"):
        raise ZeroDivisionError
    assert set(_texts(tmp_path).values()) == {"mine"} and len(_texts(tmp_path)) == 4


@pytest.mark.parametrize(
    "make", [lambda path: path.write_text("x"), lambda path: path.symlink_to("nowhere"), os.mkfifo]
)
def test_what_is_no_empty_folder_is_refused(tmp_path, make):
    make(tmp_path / "target")
    with (
        pytest.raises(EarmarkError, match="target: must be a new or an empty folder, but something is there; give"),
        new_folder(tmp_path / "target"),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_too_small_a_disk_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 100_000))
    require_space(tmp_path / "x", 100_000, "free some")
    with pytest.raises(EarmarkError, match=r"x: free disk space must be at least 5\.0 MB, got 0\.1 MB; free some"):
        require_space(tmp_path / "x", 5_000_000, "free some")
