from pathlib import Path

import pytest

from tag.recordings import RecordingsError, find_recordings


def test_folders_give_their_recordings_in_order_and_files_are_taken_as_they_are(tmp_path):
    for name in ("b/2.WAV", "b/1.mp3", "a.flac", "notes.txt", ".hidden.wav", ".git/x.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found, remarks = find_recordings([tmp_path / "notes.txt", tmp_path, tmp_path / "a.flac"])
    assert [str(path.relative_to(tmp_path)) for path in found] == ["notes.txt", "a.flac", "b/1.mp3", "b/2.WAV"]
    assert not remarks


def test_what_could_be_sound_and_is_left_out_is_said(tmp_path):
    for name in ("a.wav", "video.mp4"):
        (tmp_path / name).touch()
    found, remarks = find_recordings([tmp_path])
    assert found == [tmp_path / "a.wav"]
    assert remarks == [f"{tmp_path}: 1 files left out, of no suffix that is decoded: video.mp4"]


def test_a_folder_without_recordings_is_refused(tmp_path):
    with pytest.raises(RecordingsError, match=r"must hold recordings \(.*\.wav.*\), got none; name files to tag"):
        find_recordings([tmp_path])
    (tmp_path / "film.mp4").touch()
    with pytest.raises(RecordingsError, match=r"must hold recordings \(.*\), got only film.mp4; name files to tag"):
        find_recordings([tmp_path])


def test_a_name_that_is_not_utf8_is_refused():
    with pytest.raises(RecordingsError, match=r"must be UTF-8, got 'caf\\udce9.wav'; rename it"):
        find_recordings([Path("caf\udce9.wav")])


def test_nothing_to_tag_is_refused():
    with pytest.raises(RecordingsError, match="^give at least one file or folder to tag"):
        find_recordings([])


def test_a_file_that_is_missing_is_for_the_tagger_to_name():
    assert find_recordings([Path("gone.wav")]) == ([Path("gone.wav")], [])
