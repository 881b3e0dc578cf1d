import errno
import pickle
from datetime import UTC, datetime

import pytest
from botocore.exceptions import ReadTimeoutError

from cache.bucket import objects
from cache.bucket.objects import ObjectPath

ODD = "a#b %41 ü :: ?versionId=1.wav"


def test_paths_are_joined_and_taken_apart_like_those_of_a_disk():
    path = ObjectPath("bucket", "") / "a" / "./b//c.zarr"
    assert str(path) == "s3://bucket/a/b/c.zarr"
    assert (path.name, path.stem, path.suffix) == ("c.zarr", "c", ".zarr")
    assert path.parent == ObjectPath("bucket", "a/b") and path.parent.parent.parent.parent == ObjectPath(
        "bucket", ""
    )
    assert path.parents == tuple(ObjectPath("bucket", key) for key in ("a/b", "a", ""))
    assert path.with_suffix(".receipts") == ObjectPath("bucket", "a/b/c.receipts")
    assert path.with_name("d") == ObjectPath("bucket", "a/b/d")
    assert sorted([path, path.parent]) == [path.parent, path] and len({path, path.parent / "c.zarr"}) == 1
    assert pickle.loads(pickle.dumps(path)) == path


@pytest.mark.parametrize("name", ["plain", ODD, "deep/er/name"])
def test_bytes_come_back(bucket, name):
    path = bucket / "folder" / name
    path.write_bytes(memoryview(b"some bytes"))
    assert path.read_bytes() == b"some bytes"
    assert path.stat().st_size == 10 and path.is_file() and path.exists() and not path.is_dir()
    assert [found for found, _ in bucket.objects()] == [path]


def test_the_head_of_an_object_comes_with_what_the_bucket_says_of_all_of_it(bucket):
    etag = (bucket / "a").write_bytes(bytes(range(100)))
    data, stat = (bucket / "a").read(10)
    assert data == bytes(range(10)) and (stat.st_size, stat.etag) == (100, etag)
    assert (bucket / "a").read(1000)[0] == bytes(range(100))
    (bucket / "empty").write_bytes(b"")
    data, stat = (bucket / "empty").read(10)
    assert data == b"" and stat.st_size == 0


def test_every_answer_gives_the_same_time_in_whole_seconds(bucket):
    (bucket / "a").write_bytes(b"1")
    times = {(bucket / "a").stat().st_mtime_ns, (bucket / "a").read()[1].st_mtime_ns}
    times |= {stat.st_mtime_ns for _, stat in bucket.objects()}
    assert len(times) == 1 and times.pop() % 1_000_000_000 == 0
    assert objects._whole_seconds_ns(datetime(2020, 1, 1, 0, 0, 0, 999_999, UTC)) == 1_577_836_800_000_000_000


def test_a_folder_is_there_while_something_lies_below(bucket):
    folder = bucket / "folder"
    folder.mkdir(parents=True, exist_ok=True)
    assert not folder.exists() and not folder.is_dir()
    (folder / "a").write_bytes(b"1")
    (bucket / "folder2").write_bytes(b"1")
    assert folder.exists() and folder.is_dir() and not folder.is_file() and not (bucket / "fol").is_dir()
    (folder / "a").unlink()
    assert not folder.exists()


def test_a_folder_lists_what_is_directly_in_it(bucket):
    for name in ("top", "f/a.json", "f/b.json", "f/c.txt", "f/sub.json/d.json", "g/e.json"):
        (bucket / name).write_bytes(b"1")
    assert sorted(path.key for path in (bucket / "f").iterdir()) == [
        "f/a.json",
        "f/b.json",
        "f/c.txt",
        "f/sub.json",
    ]
    assert sorted(path.name for path in (bucket / "f").glob("*.json")) == ["a.json", "b.json", "sub.json"]
    assert sorted(path.name for path in (bucket / "f").rglob("*.json")) == ["a.json", "b.json", "d.json"]
    assert sorted(path.key for path in bucket.iterdir()) == ["f", "g", "top"]
    assert list((bucket / "none").iterdir()) == []


@pytest.mark.parametrize("n_objects", [5, 6, 7])
def test_a_listing_goes_on_where_an_answer_ends(bucket, monkeypatch, n_objects):
    monkeypatch.setattr(objects, "_LISTED", 3)
    names = [f"f/{n}" for n in range(n_objects)]
    for name in names:
        (bucket / name).write_bytes(b"")
    assert [path.key for path, _ in (bucket / "f").objects()] == names
    assert sorted(path.key for path in (bucket / "f").iterdir()) == names


def test_what_consoles_put_for_an_empty_folder_is_no_file(bucket):
    objects._client().put_object(Bucket=bucket.bucket, Key="f/", Body=b"")
    assert list((bucket / "f").objects()) == [] and list((bucket / "f").iterdir()) == []


def test_nothing_is_remembered_between_calls(bucket):
    assert list(bucket.iterdir()) == [] and not (bucket / "a").exists()
    objects._client().put_object(Bucket=bucket.bucket, Key="a", Body=b"from elsewhere")
    assert list(bucket.iterdir()) == [bucket / "a"] and (bucket / "a").read_bytes() == b"from elsewhere"


def test_a_put_may_be_on_the_condition_that_there_is_none(bucket):
    (bucket / "a").write_bytes(b"first", IfNoneMatch="*")
    with pytest.raises(FileExistsError, match="PreconditionFailed"):
        (bucket / "a").write_bytes(b"second", IfNoneMatch="*")
    assert (bucket / "a").read_bytes() == b"first"


def test_a_put_may_be_on_the_condition_that_it_replaces_one(bucket):
    etag = (bucket / "a").write_bytes(b"first")
    later = (bucket / "a").write_bytes(b"second", IfMatch=etag)
    with pytest.raises(FileExistsError, match="PreconditionFailed"):
        (bucket / "a").write_bytes(b"third", IfMatch=etag)
    with pytest.raises(FileExistsError, match="PreconditionFailed"):
        (bucket / "a").unlink(IfMatch=etag)
    assert (bucket / "a").read_bytes() == b"second"
    (bucket / "a").unlink(IfMatch=later)
    assert not (bucket / "a").exists()


def test_what_is_not_there_is_an_error_of_a_disk(bucket):
    for ask in (lambda path: path.read_bytes(), lambda path: path.stat(), lambda path: path.unlink()):
        with pytest.raises(FileNotFoundError) as raised:
            ask(bucket / "none")
        assert raised.value.filename == str(bucket / "none") and raised.value.errno == errno.ENOENT
    (bucket / "none").unlink(missing_ok=True)


def test_other_answers_are_errors_of_a_disk_too(s3):
    with pytest.raises(FileNotFoundError, match="the bucket answers NoSuchBucket: "):
        ObjectPath("no-such-bucket", "a").write_bytes(b"")
    with pytest.raises(OSError, match="Invalid bucket name") as raised:
        ObjectPath("no such bucket", "a").read_bytes()
    assert raised.value.errno == errno.EIO


def test_a_get_that_breaks_off_is_tried_again(bucket, monkeypatch):
    (bucket / "a").write_bytes(b"bytes")
    left = [2]
    stat = objects._stat

    def break_off(answer):
        if left[0]:
            left[0] -= 1
            raise ReadTimeoutError(endpoint_url="http://there")
        return stat(answer)

    monkeypatch.setattr(objects, "_stat", break_off)
    assert (bucket / "a").read_bytes() == b"bytes" and left == [0]
    left[0] = 100
    with pytest.raises(OSError, match="Read timeout"):
        (bucket / "a").read_bytes()
    assert left == [96]
