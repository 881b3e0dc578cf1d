"""Objects in an S3 bucket under the part of `pathlib.Path`'s interface that a cache uses.

A bucket has no folders, only keys: a folder is there while an object lies below it, making one does nothing. A put
is atomic and durable, so an object is its old bytes or its new ones. Nothing is remembered between calls: a listing
or a look is a request, and so says what is there now. boto3 finds endpoint, region and credentials as it always
does: AWS_ENDPOINT_URL, AWS_PROFILE, AWS_ACCESS_KEY_ID, ~/.aws.

S3 API: https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
"""

import errno
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import PurePosixPath
from threading import Lock
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ResponseStreamingError,
)

_CONNECTIONS = 32
_LISTED = 1000  # objects an answer, the most that S3 gives
_TRIES = 4  # of a get whose body breaks off, which boto3 does not try again
_MISSING = {"NoSuchKey", "404", "NotFound", "NoSuchBucket"}
_REFUSED = {"PreconditionFailed", "412", "ConditionalRequestConflict", "409"}
_FORBIDDEN = {"403", "Forbidden", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"}


@dataclass(frozen=True)
class ObjectStat:
    """What a bucket says of an object, in the words of `os.stat`; whole seconds, as not every answer has more.

    now: the bucket's own clock at the answer, seconds since 1970; 0 in a listing.
    """

    st_size: int
    st_mtime_ns: int
    etag: str
    now: float = 0


@dataclass(frozen=True, order=True)
class ObjectPath:
    """An object, or the objects below a prefix; methods that ask the bucket raise OSError as a disk would."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}".rstrip("/")

    def __truediv__(self, name: str) -> "ObjectPath":
        return self._at(PurePosixPath(self.key) / name)

    def _at(self, path: PurePosixPath) -> "ObjectPath":
        return ObjectPath(self.bucket, "" if path == PurePosixPath() else str(path))

    @property
    def name(self) -> str:
        """The last part of the key."""
        return PurePosixPath(self.key).name

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return PurePosixPath(self.key).stem

    @property
    def suffix(self) -> str:
        """The name's last extension, with its dot."""
        return PurePosixPath(self.key).suffix

    @property
    def parent(self) -> "ObjectPath":
        """The folder that it lies in; the bucket's root is its own."""
        return self._at(PurePosixPath(self.key).parent)

    @property
    def parents(self) -> tuple["ObjectPath", ...]:
        """The folders that it lies in, the nearest first."""
        return tuple(self._at(folder) for folder in PurePosixPath(self.key).parents)

    def with_name(self, name: str) -> "ObjectPath":
        """The path beside this one of that name."""
        return self._at(PurePosixPath(self.key).with_name(name))

    def with_suffix(self, suffix: str) -> "ObjectPath":
        """The path with another extension."""
        return self._at(PurePosixPath(self.key).with_suffix(suffix))

    def mkdir(self, *_, **__) -> None:
        """Nothing: a folder is there once an object lies below it."""

    def exists(self) -> bool:
        """Whether there is an object of this key, or one below it."""
        return self.is_file() or self.is_dir()

    def is_file(self) -> bool:
        """Whether there is an object of this key."""
        try:
            self.stat()
        except FileNotFoundError:
            return False
        return True

    def is_dir(self) -> bool:
        """Whether an object lies below."""
        return bool(self._page(MaxKeys=1).get("KeyCount"))

    def stat(self) -> ObjectStat:
        """Size and time, one request."""
        return _stat(self._call("head_object", Key=self.key))

    def iterdir(self) -> Iterator["ObjectPath"]:
        """What lies directly in this folder, objects and folders."""
        for page in self._pages(Delimiter="/"):
            names = [each["Key"] for each in page.get("Contents", [])]
            names += [each["Prefix"] for each in page.get("CommonPrefixes", [])]
            yield from (ObjectPath(self.bucket, name.rstrip("/")) for name in names if name != self._prefix)

    def glob(self, pattern: str) -> Iterator["ObjectPath"]:
        """What lies directly in this folder under a name of that pattern."""
        return (path for path in self.iterdir() if fnmatchcase(path.name, pattern))

    def rglob(self, pattern: str) -> Iterator["ObjectPath"]:
        """Every object below under a name of that pattern."""
        return (path for path, _ in self.objects() if fnmatchcase(path.name, pattern))

    def objects(self) -> Iterator[tuple["ObjectPath", ObjectStat]]:
        """Every object below, a request for a thousand."""
        for page in self._pages():
            for each in page.get("Contents", []):
                if not each["Key"].endswith("/"):  # what consoles make to show an empty folder
                    stat = ObjectStat(each["Size"], _whole_seconds_ns(each["LastModified"]), each["ETag"])
                    yield ObjectPath(self.bucket, each["Key"]), stat

    def read_bytes(self) -> bytes:
        """All of the object."""
        return self.read()[0]

    def read(self, n_bytes: int | None = None) -> tuple[bytes, ObjectStat]:
        """The object, or its first n_bytes, with what the bucket says of the whole."""
        part = {} if n_bytes is None else {"Range": f"bytes=0-{n_bytes - 1}"}
        try:
            return _translated(self, lambda: _read(self.bucket, self.key, part))
        except OSError as error:
            if part and _code(error) == "InvalidRange":  # of an empty object no range can be had
                return b"", self.stat()
            raise

    def write_bytes(self, data: bytes | memoryview, **condition: str) -> str:
        """Put the object whole; returns its ETag.

        Args:
            condition: IfNoneMatch="*", only if there is none; IfMatch=ETAG, only in place of that one.
        Raises:
            FileExistsError: the condition does not hold.
        """
        return self._call("put_object", Key=self.key, Body=bytes(data), **condition)["ETag"]

    def unlink(self, missing_ok: bool = False, **condition: str) -> None:
        """Delete the object; condition: as in `write_bytes`."""
        if not missing_ok:
            self.stat()
        self._call("delete_object", Key=self.key, **condition)

    @property
    def _prefix(self) -> str:
        return f"{self.key}/" if self.key else ""

    def _pages(self, **options) -> Iterator[dict]:
        page: dict = {"NextContinuationToken": None}
        while "NextContinuationToken" in page:
            token = page["NextContinuationToken"]
            page = self._page(MaxKeys=_LISTED, **options, **({"ContinuationToken": token} if token else {}))
            yield page

    def _page(self, **options) -> dict:
        return self._call("list_objects_v2", Prefix=self._prefix, **options)

    def _call(self, operation: str, **arguments) -> dict:
        return _translated(self, lambda: getattr(_client(), operation)(Bucket=self.bucket, **arguments))


def _read(bucket: str, key: str, part: dict) -> tuple[bytes, ObjectStat]:
    for left in reversed(range(_TRIES)):
        answer = _client().get_object(Bucket=bucket, Key=key, **part)
        try:
            with answer["Body"] as body:
                return body.read(), _stat(answer)
        except (HTTPClientError, ResponseStreamingError, ConnectionError):
            if not left:
                raise
    raise AssertionError("unreachable")


def _stat(answer: dict) -> ObjectStat:
    whole = answer.get("ContentRange", "").rpartition("/")[2]  # bytes 0-9/SIZE
    size = int(whole) if whole.isdecimal() else answer["ContentLength"]
    return ObjectStat(size, _whole_seconds_ns(answer["LastModified"]), answer["ETag"], _server_time(answer))


def _server_time(answer: dict) -> float:
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return parsedate_to_datetime(date).timestamp() if date else time.time()


def _whole_seconds_ns(time: datetime) -> int:
    return int(time.timestamp()) * 1_000_000_000


def _translated(path: ObjectPath, ask: Callable[[], Any]) -> Any:
    """What ask answers; the libraries' errors as the OSErrors that a disk would raise."""
    try:
        return ask()
    except (ClientError, BotoCoreError) as error:
        raise _os_error(error, str(path)) from error


def _os_error(error: Exception, where: str) -> OSError:
    if isinstance(error, ClientError):
        code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        reason = " ".join(f"the bucket answers {code}: {message}".split())
        number = errno.EIO
        for codes, meaning in ((_MISSING, errno.ENOENT), (_REFUSED, errno.EEXIST), (_FORBIDDEN, errno.EACCES)):
            number = meaning if code in codes else number
        return OSError(number, reason, where)
    no_key = isinstance(error, NoCredentialsError | PartialCredentialsError)
    return OSError(errno.EACCES if no_key else errno.EIO, " ".join(str(error).split()), where)


def _code(error: OSError) -> str:
    cause = error.__cause__
    return cause.response["Error"]["Code"] if isinstance(cause, ClientError) else ""


def _client() -> Any:
    """This process's client; threads may share one, but a fork may not."""
    with _MAKING:
        return _client_of(os.getpid())


@lru_cache(maxsize=1)
def _client_of(process: int) -> Any:
    return boto3.session.Session().client("s3", config=Config(max_pool_connections=_CONNECTIONS))


def forget_client() -> None:
    """Let the next request find endpoint, region and credentials anew."""
    _client_of.cache_clear()


_MAKING = Lock()
