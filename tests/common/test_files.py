"""Whole files: what a reader and a killed writer leave each other."""

import pytest

from common.files import is_temporary, replacing, sweep, write_atomic


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"old")
    with replacing(path) as temporary:
        temporary.write_bytes(b"half")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"half" and [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="disk"), replacing(path) as temporary:
        temporary.write_bytes(b"half")
        raise OSError("disk")
    assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("durable", [False, True])
def test_folders_are_made_and_every_byte_arrives(tmp_path, durable):
    write_atomic(tmp_path / "a" / "b" / "c.bin", memoryview(bytes(range(256)) * 100), durable)
    assert (tmp_path / "a" / "b" / "c.bin").read_bytes() == bytes(range(256)) * 100


def test_the_temporary_name_keeps_its_suffix(tmp_path):
    with replacing(tmp_path / "model.keras") as temporary:
        temporary.write_bytes(b"")
        assert temporary.suffix == ".keras" and is_temporary(temporary.name)


def test_sweeping_removes_our_own_temporary_files_and_nothing_of_the_user(tmp_path):
    ours = tmp_path / "features" / "c" / ".earmark-0123abcd-7"
    theirs = [tmp_path / "notes.partial", tmp_path / "x.partial" / "thesis.txt", tmp_path / ".earmark-old"]
    for path in (ours, *theirs):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("text")
    (tmp_path / "elsewhere").symlink_to(tmp_path / "x.partial")
    sweep(tmp_path)
    assert not ours.exists() and all(path.exists() for path in theirs)
