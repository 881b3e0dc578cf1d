import builtins
import errno
import os

import numpy as np
import pytest

from cache import files
from cache.files import PARTIAL, folder_bytes, holds, sweep_partials, write_atomic, write_if_changed


def _identity(path):
    return path.stat().st_ino, path.stat().st_mtime_ns


def test_bytes_are_written_and_folders_made(tmp_path):
    write_atomic(tmp_path / "a" / "b" / "file", b"bytes")
    assert (tmp_path / "a" / "b" / "file").read_bytes() == b"bytes"
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["file"]


def test_an_array_is_written_as_its_bytes(tmp_path):
    array = np.arange(12, dtype="<f4").reshape(3, 4)
    write_atomic(tmp_path / "file", memoryview(array))
    assert (tmp_path / "file").read_bytes() == array.tobytes()


def test_no_bytes_make_an_empty_file(tmp_path):
    write_atomic(tmp_path / "file", b"")
    assert (tmp_path / "file").stat().st_size == 0


def test_a_new_file_replaces_the_old_one_whole(tmp_path):
    write_atomic(tmp_path / "file", b"long old bytes")
    before = open(tmp_path / "file", "rb")
    write_atomic(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    with before:
        assert before.read() == b"long old bytes"


def test_a_write_that_stops_short_goes_on(tmp_path, monkeypatch):
    _patch_write(monkeypatch, lambda file, data: file.write(data[: max(1, len(data) // 2)]))
    write_atomic(tmp_path / "file", bytes(range(256)))
    assert (tmp_path / "file").read_bytes() == bytes(range(256))


def test_a_failing_write_leaves_the_old_bytes_and_nothing_else(tmp_path, monkeypatch):
    write_atomic(tmp_path / "file", b"old")
    n_written = []

    def fill_the_disk(file, data):
        if n_written:
            raise OSError(errno.ENOSPC, "No space left on device")
        n_written.append(file.write(data[:2]))
        return n_written[0]

    _patch_write(monkeypatch, fill_the_disk)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(tmp_path / "file", b"new bytes")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_failing_rename_leaves_the_old_bytes_and_nothing_else(tmp_path, monkeypatch):
    write_atomic(tmp_path / "file", b"old")

    def refuse(source, target):
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(files.os, "replace", refuse)
    with pytest.raises(OSError, match="Permission denied"):
        write_atomic(tmp_path / "file", b"new")
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_writer_that_is_stopped_leaves_the_old_bytes(tmp_path, monkeypatch):
    write_atomic(tmp_path / "file", b"old")

    def stop(file, data):
        raise KeyboardInterrupt

    _patch_write(monkeypatch, stop)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
    sweep_partials(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def _patch_write(monkeypatch, write):
    """Let every file that is opened for writing write through a function of (file, data)."""

    class Slow:
        def __init__(self, file):
            self._file = file

        def write(self, data):
            return write(self._file, data)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self._file.close()

    def opened(path, mode="r", **options):
        file = builtins.open(path, mode, **options)
        return Slow(file) if mode == "wb" else file

    monkeypatch.setattr(files, "open", opened, raising=False)


def test_equal_bytes_are_not_written_again(tmp_path):
    write_if_changed(tmp_path / "file", b"bytes")
    before = _identity(tmp_path / "file")
    write_if_changed(tmp_path / "file", b"bytes")
    assert _identity(tmp_path / "file") == before
    write_if_changed(tmp_path / "file", b"other")
    assert (tmp_path / "file").read_bytes() == b"other"


def test_holds_compares_every_byte(tmp_path):
    (tmp_path / "file").write_bytes(b"bytes")
    assert holds(tmp_path / "file", b"bytes")
    assert not holds(tmp_path / "file", b"bytez")
    assert not holds(tmp_path / "file", b"bytes ")
    assert not holds(tmp_path / "none", b"")
    assert not holds(tmp_path, b"")


def test_sweeping_takes_what_writers_left_and_nothing_else(tmp_path):
    (tmp_path / "a" / ("folder" + PARTIAL)).mkdir(parents=True)
    (tmp_path / "a" / ("folder" + PARTIAL) / "file").write_bytes(b"1")
    (tmp_path / "a" / ("file" + PARTIAL)).write_bytes(b"1")
    (tmp_path / "a" / "partial").write_bytes(b"1")
    (tmp_path / ("0" + PARTIAL)).write_bytes(b"1")
    sweep_partials(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "partial"]


def test_sweeping_a_folder_that_is_not_there_does_nothing(tmp_path):
    sweep_partials(tmp_path / "none")
    assert not os.listdir(tmp_path)


def test_folder_bytes_counts_all_files_below(tmp_path):
    write_atomic(tmp_path / "a" / "b", b"123")
    write_atomic(tmp_path / "c", b"4567")
    assert folder_bytes(tmp_path) == 7
    assert folder_bytes(tmp_path / "none") == 0


def test_folder_bytes_passes_over_files_that_vanish_meanwhile(tmp_path, monkeypatch):
    write_atomic(tmp_path / "c", b"4567")
    monkeypatch.setattr(files.os, "walk", lambda folder: [(str(tmp_path), [], ["c", "gone" + PARTIAL])])
    assert folder_bytes(tmp_path) == 4
