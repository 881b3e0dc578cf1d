"""One folder a class: labels are the names of folders, clips the paths of recordings."""

import os

import pytest

from featurize.datasets.folders import are_labels, could_be_labels


@pytest.fixture
def folder(kaggle, lay_out, tmp_path):
    return lay_out("folders", kaggle, tmp_path / "data")


@pytest.fixture
def split_folder(kaggle, lay_out, tmp_path):
    return lay_out("split folders", kaggle, tmp_path / "data")


@pytest.fixture
def write():
    """A function that writes files of a few bytes, and the folders that they lie in."""

    def write(folder, *names):
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(b"RIFF")
        return folder

    return write


def test_folders_are_labels_and_clips_are_sorted_paths(folder, read):
    dataset = read(folder)
    clips = dataset.clips
    assert dataset.layout == "folders" and dataset.remarks == ()
    names = ["Bell/0.wav", "Bell/3.wav", "None/1.wav", "None/4.wav", "Rain drops/2.wav", "Rain drops/5.wav"]
    assert clips["clip"].tolist() == clips["file"].tolist() == names
    assert clips["label"].tolist() == [name.split("/")[0] for name in names]
    assert (clips["split"] == "train").all() and clips["manually_verified"].isna().all() and "part" not in clips


def test_test_clips_may_have_no_label(split_folder, read):
    clips = read(split_folder).clips
    assert clips["split"].tolist() == ["train"] * 6 + ["test"] * 2
    assert clips["clip"].tolist()[::7] == ["train/Bell/0.wav", "test/t1.wav"]
    assert clips["label"].tolist()[5:] == ["Rain drops", "", ""]


def test_test_clips_in_folders_of_labels_have_them(write, tmp_path, read):
    names = ["Train/Bell/1.wav", "Train/Rain/2.wav", "Test/Rain/3.wav", "Test/4.wav"]
    clips = read(write(tmp_path, *names)).clips
    assert clips[["split", "label"]].to_numpy().tolist()[2:] == [["test", ""], ["test", "Rain"]]


def test_validation_clips_are_for_training_and_say_what_they_were(write, tmp_path, read):
    clips = read(write(tmp_path, "train/Bell/1.wav", "val/Rain/2.wav", "test/Rain/3.wav")).clips
    assert clips["split"].tolist() == ["train", "train", "test"]
    assert clips["part"].tolist() == ["train", "val", "test"]


def test_every_kind_of_recording_is_found_at_any_depth(write, tmp_path, read):
    write(tmp_path, "Bell/a.WAV", "Bell/b.flac", "Rain/c.mp3", "Rain/june/d.ogg")
    clips = read(tmp_path, layout="folders").clips
    assert clips["clip"].tolist() == ["Bell/a.WAV", "Bell/b.flac", "Rain/c.mp3", "Rain/june/d.ogg"]
    assert clips["label"].tolist() == ["Bell", "Bell", "Rain", "Rain"]


def test_files_that_could_be_recordings_and_bare_folders_are_named(folder, write, read):
    write(folder, "Bell/7.m4a", "Rain drops/8", "Bell/.hidden.wav", "README", "Bell/notes.txt", ".git/x.wav")
    (folder / "Whistle" / "loud").mkdir(parents=True)
    dataset = read(folder)
    assert len(dataset.clips) == 6
    assert dataset.remarks == (
        "2 files left out, of no suffix that is decoded: Bell/7.m4a, Rain drops/8",
        "1 folders left out, without a recording: Whistle",
    )


def test_a_limit_takes_clips_of_every_label(folder, read):
    clips = read(folder, limit=4).clips
    assert clips["clip"].tolist() == ["Bell/0.wav", "Bell/3.wav", "None/1.wav", "Rain drops/2.wav"]


def test_links_to_folders_elsewhere_are_followed(folder, write, tmp_path, read):
    write(tmp_path / "elsewhere", "1.wav")
    (folder / "Whistle").symlink_to(tmp_path / "elsewhere")
    (folder / "Bell" / "again").symlink_to(folder)
    clips = read(folder).clips
    assert clips["clip"].tolist()[6:] == ["Whistle/1.wav"]


def test_links_that_lead_round_end(tmp_path, write, read):
    write(tmp_path, "Bell/1.wav", "Rain/2.wav")
    (tmp_path / "Bell" / "x").symlink_to(tmp_path / "Rain")
    (tmp_path / "Rain" / "y").symlink_to(tmp_path / "Bell")
    clips = read(tmp_path, layout="folders").clips["clip"].tolist()
    assert clips == ["Bell/1.wav", "Bell/x/2.wav", "Rain/2.wav", "Rain/y/1.wav"]


def test_a_link_that_leads_nowhere_is_a_clip_that_will_fail(folder, read):
    (folder / "Bell" / "9.wav").symlink_to("none.wav")
    assert "Bell/9.wav" in read(folder).clips["clip"].tolist()


def test_a_training_clip_without_a_folder_is_refused(split_folder, write, refusal):
    write(split_folder, "train/1.wav")
    line = refusal(split_folder, layout="folders")
    assert "data: train/1.wav must lie in a folder named as its label, got none; move it into one, or" in line


def test_labels_that_differ_in_blanks_alone_are_refused(folder, write, refusal):
    write(folder, "Rain  drops/1.wav")
    assert "labels must differ in more than blanks, got 'Rain  drops' and 'Rain drops'" in refusal(folder)


@pytest.mark.parametrize("name", ["a\nb.wav", "a\udcff.wav"])
def test_a_name_that_is_no_line_of_text_is_refused(folder, write, refusal, name):
    write(folder, f"Bell/{name}")
    line = refusal(folder)
    assert f"data: names of recordings must be one line of UTF-8, got {f'Bell/{name}'!r}; rename it" in line


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_a_folder_that_cannot_be_read_is_refused(folder, refusal, as_nobody):
    (folder / "Bell").chmod(0)
    with as_nobody():
        assert "Bell: must be a folder that can be read, got Permission denied; allow it" in refusal(folder)


@pytest.mark.parametrize(
    ("recordings", "could_be", "are"),
    [
        (["Bell/1.wav", "Rain/2.wav"], True, True),
        (["Bell/1.wav", "Rain/2.wav", "3.wav"], True, False),
        (["Bell/1.wav", "Rain/low/2.wav"], True, False),
        (["train/Bell/1.wav", "train/Rain/2.wav", "test/3.wav"], True, True),
        (["train/Bell/1.wav", "train/2.wav"], False, False),
        (["train/1.wav", "test/2.wav"], False, False),
        (["sounds/1.wav", "sounds/2.wav"], False, False),
        (["1.wav"], False, False),
    ],
)
def test_what_folders_say(recordings, could_be, are):
    assert (could_be_labels(recordings), are_labels(recordings)) == (could_be, are)


def test_a_bucket_is_looked_through_as_a_disk_is(folder, bucket, upload, read):
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.wav"))
    for name in [*files, ".hidden/x.wav", "Bell/notes.txt"]:
        bucket.write(f"deep/{name}", b"RIFF")
    assert read(str(bucket / "deep")).clips.equals(read(folder).clips)


def test_labels_that_differ_in_case_alone_are_named(kaggle, lay_out, tmp_path, read):
    folder = lay_out("folders", kaggle, tmp_path / "data")
    assert not read(folder).remarks
    (folder / "bell").mkdir()
    (folder / "Bell" / "0.wav").rename(folder / "bell" / "0.wav")
    line = "different labels that differ in case alone: Bell and bell; write them the same if they are one"
    assert read(folder).remarks == (line,)
