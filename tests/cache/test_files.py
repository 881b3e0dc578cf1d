import builtins
import errno
import os
import re
from pathlib import Path

import numpy as np
import pytest

from cache import files
from cache.files import (
    PARTIAL,
    folder_bytes,
    holds,
    make_folder,
    remove_folder,
    sweep_partials,
    write_atomic,
    write_changed,
    write_if_changed,
)


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


@pytest.fixture
def calls(monkeypatch):
    """What is made, synced and renamed, in order: (what, path)."""
    calls = []
    fsync, replace, mkdir = os.fsync, os.replace, os.mkdir

    def note_fsync(descriptor):
        calls.append(("sync", _path_of(descriptor)))
        fsync(descriptor)

    def note_replace(source, target):
        calls.append(("rename", target))
        replace(source, target)

    def note_mkdir(path, *options):
        mkdir(path, *options)
        calls.append(("make", path))

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    monkeypatch.setattr(os, "mkdir", note_mkdir)
    return calls


def _path_of(descriptor):
    """The path of an open file or folder, among those below the current folder."""
    found = os.fstat(descriptor)
    for root, folders, names in os.walk("."):
        for name in (".", *folders, *names):
            if os.path.samestat(os.stat(os.path.join(root, name)), found):
                return Path(root, re.sub(r"\.[0-9a-f]+\.partial$", PARTIAL, name))
    raise AssertionError("synced a file elsewhere")


def test_a_durable_write_syncs_the_file_then_names_it_then_syncs_the_name(tmp_path, monkeypatch, calls):
    monkeypatch.chdir(tmp_path)
    write_atomic(Path("file"), b"bytes", durable=True)
    assert calls == [("sync", Path("file" + PARTIAL)), ("rename", Path("file")), ("sync", Path("."))]
    assert Path("file").read_bytes() == b"bytes"


def test_a_durable_write_syncs_the_names_of_the_folders_that_it_makes(tmp_path, monkeypatch, calls):
    monkeypatch.chdir(tmp_path)
    write_atomic(Path("a/b/file"), b"bytes", durable=True)
    assert [call for call in calls if call[0] == "make"] == [("make", Path("a")), ("make", Path("a/b"))]
    assert [path for what, path in calls if what == "sync"] == [
        Path("."),
        Path("a"),
        Path("a/b/file" + PARTIAL),
        Path("a/b"),
    ]
    assert calls.index(("sync", Path("a"))) < calls.index(("rename", Path("a/b/file")))


def test_a_folder_is_made_durably(tmp_path, monkeypatch, calls):
    monkeypatch.chdir(tmp_path)
    make_folder(Path("a/b"), durable=True)
    assert [path for what, path in calls if what == "sync"] == [Path("."), Path("a")]
    calls.clear()
    make_folder(Path("a/b"), durable=True)
    assert calls == []


def test_a_write_that_need_not_be_durable_syncs_nothing(tmp_path, calls):
    write_atomic(tmp_path / "a" / "file", b"bytes")
    write_changed(tmp_path / "a", {"file": b"other", "b/c": b"1"})
    assert "sync" not in [what for what, _ in calls]


def test_a_sync_that_fails_leaves_the_old_bytes_and_nothing_else(tmp_path, monkeypatch):
    write_atomic(tmp_path / "file", b"old")

    def fail(descriptor):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output error"):
        write_atomic(tmp_path / "file", b"new", durable=True)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


@pytest.mark.parametrize("place", ["disk", "bucket"])
def test_of_many_files_those_that_differ_are_written_in_their_order(tmp_path, bucket, monkeypatch, place):
    folder = tmp_path if place == "disk" else bucket
    write_changed(folder, {"a": b"1", "d/b": b"2", "c": b"3"})
    written = []
    monkeypatch.setattr(files, "write_atomic", lambda path, data, durable: written.append((path, data, durable)))
    write_changed(folder, {"z": b"0", "a": b"1", "d/b": b"22", "c": b"4"}, durable=True)
    assert written == [(folder / "z", b"0", True), (folder / "d/b", b"22", True), (folder / "c", b"4", True)]


def test_in_a_bucket_a_write_is_one_put_and_leaves_nothing_else(bucket):
    write_atomic(bucket / "a" / "file", b"old", durable=True)
    write_atomic(bucket / "a" / "file", memoryview(np.arange(3, dtype="<i4")))
    assert [path for path, _ in bucket.objects()] == [bucket / "a" / "file"]
    assert (bucket / "a" / "file").read_bytes() == np.arange(3, dtype="<i4").tobytes()


def test_in_a_bucket_equal_bytes_are_not_put_again(bucket, monkeypatch):
    write_if_changed(bucket / "file", b"bytes")
    puts = []
    monkeypatch.setattr(type(bucket), "write_bytes", lambda path, data: puts.append(data))
    write_if_changed(bucket / "file", b"bytes")
    assert puts == []
    write_if_changed(bucket / "file", b"other")
    write_if_changed(bucket / "none", b"")
    assert puts == [b"other", b""]


@pytest.mark.parametrize("place", ["disk", "bucket"])
def test_a_folder_is_measured_swept_and_removed_wherever_it_lies(tmp_path, bucket, place):
    folder = tmp_path if place == "disk" else bucket
    for name in ("a/b", "a/c/d", "ab"):
        write_atomic(folder / name, name.encode())
    assert folder_bytes(folder) == 10 and folder_bytes(folder / "a") == 8
    sweep_partials(folder)
    remove_folder(folder / "a")
    assert not (folder / "a").exists() and (folder / "ab").read_bytes() == b"ab"


def test_two_writers_of_one_file_do_not_meet(tmp_path, monkeypatch):
    """One writes the whole file while the other is about to rename its own."""
    replace, late = os.replace, []

    def held_up(source, target):
        if not late:
            late.append(source)
            write_atomic(tmp_path / "file", b"by the other")
            assert (tmp_path / "file").read_bytes() == b"by the other"
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", held_up)
    write_atomic(tmp_path / "file", b"by the one")
    assert (tmp_path / "file").read_bytes() == b"by the one"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
