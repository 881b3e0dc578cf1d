import subprocess
import sys
from pathlib import Path

import pytest

from cache.bucket.objects import ObjectPath
from cache.places import PlaceError, on_disk, place, require_disk

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("text", ["data", "/tmp/a b", "../x", "s3", "a:b"])
def test_a_text_is_a_folder(text):
    assert place(text) == Path(text)
    assert on_disk(place(text))


def test_a_place_stays_what_it_is(tmp_path):
    assert place(tmp_path) is tmp_path
    path = ObjectPath("bucket", "key")
    assert place(path) is path and not on_disk(path)


def test_a_bucket_with_and_without_a_prefix(bucket):
    assert place(f"s3://{bucket.bucket}") == bucket
    assert place(f"s3://{bucket.bucket}/") == bucket
    assert place(f"s3://{bucket.bucket}/a//b/") == ObjectPath(bucket.bucket, "a/b")
    assert str(place(f"s3://{bucket.bucket}/a/b")) == f"s3://{bucket.bucket}/a/b"


@pytest.mark.parametrize("text", ["s3:/b/x", "s3://", "s3:///x", "gs://b/x", "http://b/x", "s3://b/../x"])
def test_what_is_neither_is_refused(text):
    with pytest.raises(
        PlaceError, match=rf"^{text}: place must be a folder or s3://BUCKET/PREFIX, got neither; mend"
    ):
        place(text)


def test_a_bucket_that_is_not_there_is_said(s3):
    with pytest.raises(
        PlaceError, match=r"^s3://no-such-bucket/x: bucket must exist, got none \(.*NoSuchBucket.*\); "
    ):
        place("s3://no-such-bucket/x")


def test_missing_credentials_are_said(bucket, new_client):
    new_client.delenv("AWS_ACCESS_KEY_ID")
    new_client.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(
        PlaceError,
        match=r"credentials must allow to list the bucket, got Unable to locate credentials; set AWS_PROFILE",
    ):
        place(str(bucket))


def test_an_endpoint_that_does_not_answer_is_said(bucket, new_client):
    new_client.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(
        PlaceError, match=r"endpoint must answer, got Could not connect .*127\.0\.0\.1:9.*; check AWS_ENDPOINT_URL"
    ):
        place(str(bucket))


def test_a_missing_boto3_is_said(monkeypatch):
    monkeypatch.delitem(sys.modules, "cache.bucket.objects")
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(
        PlaceError, match=r's3://b/x: a place in a bucket needs boto3, got none .* "earmark\[s3\]"$'
    ):
        place("s3://b/x")


def test_what_needs_a_disk_says_so(tmp_path):
    require_disk(tmp_path, "be mapped")
    with pytest.raises(
        PlaceError, match=r"^s3://b/x: must be on a disk to be mapped, got a place in a bucket; name"
    ):
        require_disk(ObjectPath("b", "x"), "be mapped")


def test_boto3_is_imported_for_buckets_only():
    code = "import cache.__main__, featurize.__main__, sys; print('boto3' in sys.modules, 'moto' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
