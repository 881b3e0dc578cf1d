import errno
import os
import pickle
import subprocess
import sys
from pathlib import Path
from threading import Barrier

import pytest

from cache.storage import BucketStorage, CacheError, LocalStorage, each, open_storage

ROOT = Path(__file__).parents[2]
BUCKET = BucketStorage("s3://nowhere", "folder")
ODD = "a#b %41 ü :: ?versionId=1.wav"


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.slow)])
def storage(request, tmp_path):
    """An empty storage of each kind."""
    return LocalStorage(tmp_path / "top") if request.param == "folder" else request.getfixturevalue("bucket")


@pytest.mark.parametrize("key", ["plain", ODD, "deep/er/name"])
def test_bytes_come_back(storage, key):
    storage.write(key, memoryview(b"some bytes"))
    assert storage.read(key) == b"some bytes" and storage.read(key, 4) == b"some"
    assert storage.holds(key, b"some bytes") and not storage.holds(key, b"some") and not storage.holds("x", b"")
    assert [(file.key, file.size) for file in storage.files()] == [(key, 10)]
    assert storage.look(key) == next(storage.files()) == storage.read_with_look(key, 1)[1]


def test_the_head_of_an_empty_file_is_empty(storage):
    storage.write("empty", b"")
    assert storage.read("empty", 10) == b"" and storage.look("empty").size == 0


def test_what_is_missing_is_a_missing_file(storage):
    with pytest.raises(FileNotFoundError) as raised:
        storage.read("none")
    assert raised.value.filename == str(storage / "none") and raised.value.errno == errno.ENOENT
    assert storage.look("none") is None and list(storage.files("none")) == storage.names("none") == []
    storage.remove("none")
    (storage / "none").remove_all()


def test_files_and_names_are_sorted_and_lie_below_a_folder(storage):
    for key in ("top", "f/b.json", "f/a.json", "f/sub/c", "f2/d"):
        storage.write(key, b"1")
    assert [file.key for file in storage.files()] == ["f/a.json", "f/b.json", "f/sub/c", "f2/d", "top"]
    assert [file.key for file in storage.files("f")] == ["f/a.json", "f/b.json", "f/sub/c"]
    assert [file.key for file in (storage / "f").files()] == ["a.json", "b.json", "sub/c"]
    assert storage.names() == ["f", "f2", "top"] and storage.names("f") == ["a.json", "b.json", "sub"]
    assert (storage / "f").exists() and not (storage / "fol").exists()
    (storage / "f").remove_all()
    assert [file.key for file in storage.files()] == ["f2/d", "top"] and not (storage / "f").exists()


def test_storages_are_joined_and_compared_by_what_they_name(storage):
    below = storage / "a" / "b.zarr"
    assert str(below) == f"{storage}/a/b.zarr" and below.name == "b.zarr" and below.parent == storage / "a"
    assert pickle.loads(pickle.dumps(below)) == below and len({below, storage / "a/b.zarr"}) == 1


def test_what_is_staged_takes_its_name_when_it_is_published(storage):
    storage.write("c/0", b"old")
    staged = storage.stage("c/0", b"new")
    assert storage.read("c/0") == b"old"
    storage.publish(staged, "c/0", durable=True)
    assert storage.read("c/0") == b"new" and storage.names("c") == ["0"]


def test_sweeping_removes_only_our_temporary_names(storage):
    storage.stage("c/0", b"left by a killed writer")
    for key in ("c/mine.partial", "c/.earmark-notes", ".hidden"):
        storage.write(key, b"a user's")
    storage.sweep()
    assert [file.key for file in storage.files()] == [".hidden", "c/.earmark-notes", "c/mine.partial"]


def _fifo(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_fifo, "not a regular file"),
        (Path.mkdir, "not a regular file"),
        (lambda path: path.symlink_to(path), "Too many levels"),
        (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
    ],
    ids=["pipe", "folder", "endless link", "device"],
)
def test_what_is_no_file_is_refused_at_once(tmp_path, make, reason):
    make(tmp_path / "chunk")
    storage = LocalStorage(tmp_path)
    for ask in (storage.read, storage.open, storage.hold().read):
        with pytest.raises(OSError, match=rf"{reason}.*/chunk"):
            ask("chunk")
    assert storage.look("chunk") is None and list(storage.files()) == [] and storage.names() == ["chunk"]


@pytest.mark.parametrize("name", ["a\0b", "\udc80\ud800.wav", "x" * 300])
def test_a_name_that_no_file_can_have_is_an_error_of_a_disk(tmp_path, name):
    with pytest.raises(OSError):
        LocalStorage(tmp_path).read(name)
    assert LocalStorage(tmp_path).look(name) is None


def test_a_folder_that_is_held_is_read_after_another_took_its_place(tmp_path):
    storage = LocalStorage(tmp_path / "a")
    storage.write("f/x", b"old")
    held = storage.hold()
    assert held.is_current()
    (tmp_path / "a").rename(tmp_path / "b")
    assert not held.is_current()
    storage.write("f/x", b"new")
    assert held.read("f/x") == b"old" and [file.key for file in held.files("f")] == ["f/x"]
    assert not held.is_current() and storage.read("f/x") == b"new"


@pytest.mark.parametrize("text", ["data", "/tmp/a b", "../x", "s3", "a:b"])
def test_a_text_is_a_folder(text):
    assert open_storage(text) == open_storage(Path(text)) and open_storage(text).path("k") == Path(text) / "k"


def test_a_storage_stays_what_it_is(tmp_path):
    assert open_storage(BUCKET) is BUCKET and not BUCKET.is_local


@pytest.mark.parametrize(
    "text", ["s3:/b/x", "s3://", "s3:///x", "http://b/x", "s3://b/../x", "s3://b/./x", "s3://b//x", "ftp://x"]
)
def test_what_is_neither_folder_nor_bucket_is_refused(text):
    with pytest.raises(CacheError, match=rf"^{text}: must be a folder, or s3://BUCKET/PREFIX, gs://"):
        open_storage(text)


def test_a_bucket_has_no_paths():
    with pytest.raises(CacheError, match=r"^s3://nowhere/folder: must be on a disk, got a place in a bucket; name"):
        BUCKET.path("x")


def test_a_missing_obstore_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(
        CacheError, match=r'^s3://b/x: a bucket needs obstore, .*; pip install "earmark\[buckets\]"'
    ):
        open_storage("s3://b/x")


def test_a_profile_without_boto3_is_said(s3):
    s3.setenv("AWS_PROFILE", "mine")
    s3.setitem(sys.modules, "boto3", None)
    s3.delitem(sys.modules, "obstore.auth.boto3", raising=False)
    with pytest.raises(CacheError, match=r"^s3://b/x: a bucket needs boto3, .*; pip install boto3$"):
        open_storage("s3://b/x")


def test_obstore_and_zarr_are_not_imported_to_read_a_folder():
    code = "import cache.writer, sys; print({'obstore', 'zarr', 'boto3', 'moto'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_bucket_is_opened_with_and_without_a_prefix(bucket):
    assert open_storage(f"{bucket}/") == bucket
    assert str(open_storage(f"{bucket}/a/b/")) == f"{bucket}/a/b"


def test_a_bucket_that_is_not_there_is_said(s3):
    with pytest.raises(CacheError, match=r"^s3://no-such-bucket/x: there is no such bucket; make it, or correct"):
        open_storage("s3://no-such-bucket/x")


def test_missing_credentials_are_said(bucket, s3):
    s3.delenv("AWS_ACCESS_KEY_ID")
    s3.delenv("AWS_SECRET_ACCESS_KEY")
    message = r"the bucket cannot be listed \(no credentials were found\); set the credentials, for S3 AWS_PROFILE"
    with pytest.raises(CacheError, match=message):
        open_storage(str(bucket))


@pytest.mark.slow
def test_an_endpoint_that_does_not_answer_is_said(bucket, s3):
    s3.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    message = (
        r"the bucket cannot be reached \(the endpoint does not answer\); check the network and AWS_ENDPOINT_URL"
    )
    with pytest.raises(CacheError, match=message):
        open_storage(str(bucket))


def test_a_profile_gives_the_credentials(bucket, s3, tmp_path):
    s3.delenv("AWS_ACCESS_KEY_ID")
    s3.delenv("AWS_SECRET_ACCESS_KEY")
    (tmp_path / "credentials").write_text("[mine]\naws_access_key_id = a\naws_secret_access_key = b\n")
    s3.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    s3.setenv("AWS_PROFILE", "mine")
    bucket.write("a", b"1")
    assert bucket.read("a") == b"1"


def test_an_object_is_put_only_where_there_is_none(bucket):
    bucket.write_if("a", b"first", None)
    with pytest.raises(FileExistsError, match="another object has taken its place"):
        bucket.write_if("a", b"second", None)
    assert bucket.read("a") == b"first"


def test_an_object_is_put_only_in_place_of_the_one_that_was_seen(bucket):
    first = bucket.write_if("a", b"first", None)
    bucket.write_if("a", b"second", first)
    for etag, key in ((first, "a"), (first, "missing")):
        with pytest.raises(FileExistsError):
            bucket.write_if(key, b"third", etag)
    assert bucket.read("a") == b"second" and bucket.look("missing") is None


def test_a_conditional_put_whose_answer_was_lost_counts(bucket):
    etag = bucket.write_if("a", b"mine", None)
    assert bucket.write_if("a", b"mine", None) == etag


def test_times_in_a_bucket_are_whole_seconds_in_every_answer(bucket):
    bucket.write("a", b"1")
    times = {bucket.look("a").mtime_ns, bucket.read_with_look("a")[1].mtime_ns, next(bucket.files()).mtime_ns}
    assert len(times) == 1 and times.pop() % 1_000_000_000 == 0


@pytest.mark.slow
def test_a_listing_gives_more_than_one_answer_holds(bucket):
    for _ in each(lambda n: bucket.write(f"f/{n:04d}", b""), range(1001), bucket):
        pass
    assert [file.key for file in bucket.files("f")] == [f"f/{n:04d}" for n in range(1001)]


@pytest.mark.parametrize("place", [LocalStorage("folder"), BUCKET], ids=str)
def test_results_come_in_order(place):
    assert list(each(lambda n: n * n, range(100), place)) == [n * n for n in range(100)]
    assert list(each(lambda n: n, [], place)) == []


def test_on_a_disk_nothing_is_done_before_it_is_asked_for():
    done = []
    results = each(lambda n: done.append(n) or n, range(10), LocalStorage("folder"))
    assert next(results) == 0 and done == [0]


def test_for_a_bucket_threads_work_at_the_same_time():
    together = Barrier(4, timeout=30)
    assert list(each(lambda n: together.wait() >= 0, range(4), BUCKET, threads=4)) == [True] * 4


def test_no_more_than_so_many_results_wait():
    begun = []

    def items():
        for n in range(20):
            begun.append(n)
            yield n

    results = each(lambda n: n, items(), BUCKET, threads=3)
    assert next(results) == 0 and begun == [0, 1, 2]
    assert next(results) == 1 and begun == [0, 1, 2, 3]
    assert list(results) == list(range(2, 20))


def test_an_error_comes_in_its_turn_and_ends_the_rest():
    def work(n):
        if n == 2:
            raise OSError("no answer")
        return n

    results = each(work, range(10**6), BUCKET, threads=4)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(OSError, match="no answer"):
        next(results)
    assert list(results) == []
