"""Where a cache or a dataset lies: a folder on a disk, or `s3://`, `gs://` or `az://BUCKET/PREFIX`.

Both kinds of storage have the same methods; keys are paths below them, with `/`. A write is atomic: a reader sees
the old bytes or the new ones. Buckets are reached through obstore, which is imported only for them. It finds
credentials and endpoints in the environment (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, GOOGLE_APPLICATION_CREDENTIALS,
AZURE_STORAGE_ACCOUNT_NAME, ...); where AWS_PROFILE is set, boto3 reads them from ~/.aws.

obstore: https://developmentseed.org/obstore/latest/
"""

import errno
import os
import re
import secrets
import shutil
import stat
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TypeVar

from common import EarmarkError
from common.files import is_temporary, sync, write_atomic

Item, Result = TypeVar("Item"), TypeVar("Result")
_NO_FILE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL}
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_ENVIRONMENT = ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_ACCESS_KEY_ID")  # on which a client depends
_FORBIDDEN = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}


class CacheError(EarmarkError):
    """A cache, table or store that is missing, foreign, newer, incomplete, damaged or held by another process."""


class DamagedError(CacheError):
    """A file of the cache that does not hold what was written to it."""


@dataclass(frozen=True)
class File:
    """A file or an object: its key, its bytes, the time of its last change; in a bucket whole seconds, and ETag."""

    key: str
    size: int
    mtime_ns: int
    etag: str = ""


class Storage:
    """What both kinds of storage share; two that name the same place are equal."""

    is_local: bool
    name: str

    def read(self, key: str, n_bytes: int | None = None) -> bytes:
        """The bytes of a file, or its first n_bytes.

        Raises:
            FileNotFoundError: there is none. OSError: it cannot be read, or is a folder, a pipe or a device.
        """
        return self.read_with_look(key, n_bytes)[0]

    def holds(self, key: str, data: bytes) -> bool:
        """Whether a file is there and holds just these bytes."""
        with suppress(OSError):
            return self.read(key, len(data) + 1) == data
        return False

    def stage(self, key: str, data: bytes | memoryview, durable: bool = False) -> str:
        """Write data under a temporary name of ours; returns that key, for `publish`."""
        staged = str(PurePosixPath(key).with_name(f".earmark-{secrets.token_hex(4)}-{PurePosixPath(key).name}"))
        self.write(staged, data, durable)
        return staged

    def hold(self) -> "Storage":
        """On a disk, the folder that is there now; a bucket has no folders that could be replaced as a whole."""
        return self

    def is_current(self) -> bool:
        """Whether what `hold` gave is still what lies at this place."""
        return True

    def sweep(self) -> None:
        """Remove our temporary files, which killed writers left."""
        for file in self.files():
            if is_temporary(PurePosixPath(file.key).name):
                self.remove(file.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Storage) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class LocalStorage(Storage):
    """A folder on a disk; it need not be there yet."""

    is_local = True
    _held: int | None = None  # the descriptor of the folder that is held

    def __init__(self, path: str | Path):
        self._path = Path(path)
        self.name = self._path.name or self._path.absolute().name

    def __str__(self) -> str:
        return str(self._path)

    def __truediv__(self, name: str) -> "LocalStorage":
        return LocalStorage(self._path / name)

    def __reduce__(self):
        return LocalStorage, (str(self._path),)

    @property
    def parent(self) -> "LocalStorage":
        """The folder that this one lies in."""
        return LocalStorage(self._path.parent)

    def path(self, key: str = "") -> Path:
        """The path of a file."""
        return self._path / key

    def hold(self) -> "LocalStorage":
        """The folder that is there now, read through a descriptor: another one put in its place is not seen.

        Raises:
            OSError: there is no folder.
        """
        held = LocalStorage(self._path)
        held._held = os.open(self._path, _FOLDER)
        weakref.finalize(held, os.close, held._held)
        return held

    def is_current(self) -> bool:
        """Whether the folder that `hold` opened is still the one of this path."""
        try:
            return self._held is None or os.path.samestat(os.fstat(self._held), os.stat(self._path))
        except OSError:
            return False

    def open(self, key: str) -> int:
        """A descriptor of a file, to read. Anything else, a pipe say, is refused at once.

        Raises:
            OSError: there is none, or it is not a regular file.
        """
        with self._errors(key):
            descriptor = os.open(self._at(key), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._held)
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                return descriptor
            os.close(descriptor)
            raise OSError(errno.EINVAL, "not a regular file")

    def read_with_look(self, key: str, n_bytes: int | None = None) -> tuple[bytes, File]:
        """The bytes of a file, or its first n_bytes, and what `look` says of the whole; errors as of `read`."""
        with open(self.open(key), "rb") as file, self._errors(key):
            return file.read(-1 if n_bytes is None else n_bytes), _file(key, os.fstat(file.fileno()))

    def write(self, key: str, data: bytes | memoryview, durable: bool = False) -> None:
        """Write a file, whole or not at all; folders are made as needed. durable: return when it is on the disk."""
        write_atomic(self.path(key), data, durable)

    def publish(self, staged: str, key: str, durable: bool = False) -> None:
        """Give what was staged its name, in place of what has it."""
        os.replace(self.path(staged), self.path(key))
        if durable:
            sync(self.path(key).parent)

    def remove(self, key: str) -> None:
        """Remove a file; that it is missing is fine."""
        self.path(key).unlink(missing_ok=True)

    def remove_all(self) -> None:
        """Remove the folder and all that lies below it; that it is missing is fine."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self._path)

    def look(self, key: str) -> File | None:
        """Size and time of a file; None where there is none, or something that is not a regular file.

        Raises:
            OSError: it cannot be seen, for want of permission say.
        """
        try:
            with self._errors(key):
                found = os.stat(self._at(key), dir_fd=self._held)
        except OSError as error:
            if error.errno in _NO_FILE:
                return None
            raise
        return _file(key, found) if stat.S_ISREG(found.st_mode) else None

    def files(self, prefix: str = "") -> Iterator[File]:
        """Every regular file below, or below a folder of it, sorted by key; links to folders are not followed."""
        top, files = os.path.join(self._at(prefix), "."), []  # the dot: a link at the top is followed
        with suppress(FileNotFoundError, NotADirectoryError):
            for root, _, names, folder in os.fwalk(top, dir_fd=self._held):
                below = os.path.normpath(os.path.join(prefix, root[len(top) :].lstrip("/")))
                for name in names:
                    with suppress(OSError):  # a link that leads nowhere, or a file that was removed just now
                        found = os.stat(name, dir_fd=folder)
                        if stat.S_ISREG(found.st_mode):
                            files.append(_file(name if below == "." else f"{below}/{name}", found))
        return iter(sorted(files, key=lambda file: file.key))

    def names(self, prefix: str = "") -> list[str]:
        """The names of what lies directly in it, or in a folder of it, sorted."""
        try:
            return sorted(os.listdir(self.path(prefix)))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def exists(self) -> bool:
        """Whether the folder is there."""
        return self._path.is_dir()

    def _at(self, key: str) -> Path | str:
        return self.path(key) if self._held is None else key or "."

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OSError(error.errno or errno.EIO, error.strerror or str(error), str(self.path(key))) from error
        except ValueError as error:  # a name with a NUL or a lone surrogate
            raise OSError(errno.EINVAL, "not a name that a file can have", str(self.path(key))) from error


def _file(key: str, found: os.stat_result) -> File:
    return File(key, found.st_size, found.st_mtime_ns)


class BucketStorage(Storage):
    """The objects of a bucket below a prefix. A put is atomic and durable; a folder is only the start of keys."""

    is_local = False

    def __init__(self, bucket: str, prefix: str = ""):
        """bucket: with its scheme, as in s3://BUCKET."""
        self._bucket, self._prefix = bucket, prefix
        self.name = PurePosixPath(prefix).name

    def __str__(self) -> str:
        return f"{self._bucket}/{self._prefix}".rstrip("/")

    def __truediv__(self, name: str) -> "BucketStorage":
        return BucketStorage(self._bucket, self._key(name))

    @property
    def parent(self) -> "BucketStorage":
        """The prefix one name shorter."""
        return BucketStorage(self._bucket, self._prefix.rpartition("/")[0])

    def path(self, key: str = "") -> Path:
        """Refused: objects have no path.

        Raises:
            CacheError: always.
        """
        raise CacheError(f"{self}: must be on a disk, got a place in a bucket; name a folder")

    def read_with_look(self, key: str, n_bytes: int | None = None) -> tuple[bytes, File]:
        """The bytes of an object, or its first n_bytes, and what `look` says of the whole; errors as of `read`."""
        options = {} if n_bytes is None else {"range": (0, n_bytes)}
        try:
            with self._errors(key) as (obstore, client):
                found = obstore.get(client, self._key(key), options=options)
                return bytes(found.bytes()), _object(key, found.meta)
        except OSError as error:
            if "InvalidRange" in str(error) and (file := self.look(key)):  # an empty object has no range
                return b"", file
            raise

    def write(self, key: str, data: bytes | memoryview, durable: bool = False) -> None:
        """Put an object."""
        with self._errors(key) as (obstore, client):
            obstore.put(client, self._key(key), memoryview(data).cast("B"), use_multipart=False)

    def write_if(self, key: str, data: bytes, etag: str | None) -> str:
        """Put an object only where there is none (etag None), or only in place of the one with that ETag.

        Returns:
            the new ETag.
        Raises:
            FileExistsError: the condition does not hold.
        """
        mode = "create" if etag is None else {"e_tag": etag}
        try:
            with self._errors(key) as (obstore, client):
                return obstore.put(client, self._key(key), data, mode=mode)["e_tag"]
        except FileExistsError:
            with suppress(OSError):  # ours, where the answer to a first try was lost
                found, file = self.read_with_look(key)
                if found == data:
                    return file.etag
            raise

    def publish(self, staged: str, key: str, durable: bool = False) -> None:
        """Give what was staged its key; the bucket copies it."""
        with self._errors(key) as (obstore, client):
            obstore.rename(client, self._key(staged), self._key(key))

    def remove(self, key: str) -> None:
        """Delete an object; that it is missing is fine."""
        with suppress(FileNotFoundError), self._errors(key) as (obstore, client):
            obstore.delete(client, self._key(key))

    def remove_all(self) -> None:
        """Delete every object below."""
        if keys := [self._key(file.key) for file in self.files()]:
            with self._errors("") as (obstore, client):
                obstore.delete(client, keys)

    def look(self, key: str) -> File | None:
        """Size, time and ETag of an object; None where there is none."""
        with suppress(FileNotFoundError), self._errors(key) as (obstore, client):
            return _object(key, obstore.head(client, self._key(key)))
        return None

    def files(self, prefix: str = "") -> Iterator[File]:
        """Every object below, or below a prefix, sorted by key; a request for each thousand."""
        skipped = len(self._prefix) + 1 if self._prefix else 0
        with self._errors(prefix) as (obstore, client):
            found = obstore.list(client, self._key(prefix) or None, chunk_size=1000).collect()
        files = (_object(each["path"][skipped:], each) for each in found)
        return iter(sorted((file for file in files if file.key), key=lambda file: file.key))

    def names(self, prefix: str = "") -> list[str]:
        """The names of what lies directly below it, or below a prefix, sorted."""
        with self._errors(prefix) as (obstore, client):
            found = obstore.list_with_delimiter(client, self._key(prefix) or None)
        keys = [*found["common_prefixes"], *(each["path"] for each in found["objects"])]
        return sorted({PurePosixPath(key).name for key in keys if key != self._key(prefix)})

    def exists(self) -> bool:
        """Whether an object lies below."""
        with self._errors("") as (obstore, client):
            return next(iter(obstore.list(client, self._prefix or None, chunk_size=1)), None) is not None

    def _key(self, key: str) -> str:
        return "/".join(part for part in (self._prefix, key.rstrip("/")) if part)

    @contextmanager
    def _errors(self, key: str) -> Iterator[tuple]:
        """obstore and this process's client; what they raise becomes the OSError that a disk would raise."""
        import obstore  # here, as only buckets need it: it is an extra

        try:
            yield obstore, _client(self._bucket, os.getpid(), *map(os.environ.get, _ENVIRONMENT))
        except (obstore.exceptions.BaseError, OSError, ValueError) as error:
            raise _os_error(error, str(self / key if key else self)) from error


@lru_cache(maxsize=8)
def _client(bucket: str, process: int, endpoint: str | None, profile: str | None, key: str | None):
    """A client for a bucket, made anew in a forked process, where threads may not share that of its parent."""
    from obstore.store import from_url

    options: dict = {"client_options": {"timeout": "10min", "read_timeout": "1min", "connect_timeout": "5s"}}
    options["client_options"]["allow_http"] = bool(re.match(r"http://(localhost|127\.|\[::1\])", endpoint or ""))
    if bucket.startswith("s3:") and profile:
        from obstore.auth.boto3 import Boto3CredentialProvider

        options["credential_provider"] = Boto3CredentialProvider()
    return from_url(bucket, **options)


def _object(key: str, found: dict) -> File:
    seconds = int(found["last_modified"].timestamp())  # not every answer has more
    return File(key, found["size"], seconds * 1_000_000_000, found["e_tag"] or "")


def _os_error(error: Exception, where: str) -> OSError:
    text, kind = str(error).partition("\n\nDebug source")[0], type(error).__name__
    code = (re.findall(r"<Code>(\w+)</Code>", text) or [""])[0]
    reason = (re.findall(r"<Message>([^<]*)</Message>", text) or [text])[0]
    reason = " ".join([*([f"{code}:"] if code else []), *reason.split()])[:300]
    forbidden = kind in {"PermissionDeniedError", "UnauthenticatedError"} or code in _FORBIDDEN
    no_credentials = re.search(r"169\.254\.\d|token request|Account must be specified|[Cc]redential", text)
    for is_so, number, what in (
        (code == "NoSuchBucket", errno.ENOENT, "there is no such bucket"),
        (isinstance(error, FileNotFoundError), errno.ENOENT, "there is no such object"),
        (kind in {"AlreadyExistsError", "PreconditionError"}, errno.EEXIST, "another object has taken its place"),
        (no_credentials, errno.EACCES, "no credentials were found"),
        (forbidden, errno.EACCES, reason),
        ("error sending request" in text, errno.EHOSTUNREACH, "the endpoint does not answer"),
    ):
        if is_so:
            return OSError(number, what, where)
    if isinstance(error, OSError):
        return error
    return OSError(errno.EINVAL if isinstance(error, ValueError) else errno.EIO, reason, where)


def open_storage(place: "str | Path | Storage") -> LocalStorage | BucketStorage:
    """The storage that a text names; a bucket is asked once whether it can be listed.

    Raises:
        CacheError: neither a folder nor a bucket, obstore is missing, or the bucket cannot be listed.
    """
    if isinstance(place, Storage):
        return place
    if isinstance(place, Path) or not re.match(r"(s3|gs|az):|\w+://", place):
        return LocalStorage(place)
    found = re.fullmatch(r"((?:s3|gs|az)://[^/]+)((?:/[^/]+)*)/*", place)
    if not found or {".", ".."} & set(found[2].split("/")):
        what = "must be a folder, or s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX"
        raise CacheError(f"{place}: {what}")
    storage = BucketStorage(found[1], found[2].lstrip("/"))
    try:
        storage.exists()
        return storage
    except ImportError as error:
        install = "boto3" if error.name == "boto3" else '"earmark[buckets]"'
        what, cause = f"a bucket needs {error.name}, which is not installed; pip install {install}", error
    except FileNotFoundError as error:
        what, cause = "there is no such bucket; make it, or correct the name", error
    except PermissionError as error:
        keys = "for S3 AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        what, cause = f"the bucket cannot be listed ({error.strerror}); set the credentials, {keys}", error
    except OSError as error:
        advice = "check the network and AWS_ENDPOINT_URL"
        what, cause = f"the bucket cannot be reached ({error.strerror}); {advice}", error
    raise CacheError(f"{place}: {what}") from cause


def each(
    function: Callable[[Item], Result], items: Iterable[Item], storage: Storage, threads: int = 16
) -> Iterator[Result]:
    """What function gives for each item, in order, as `map` does; for a bucket threads work ahead.

    Args:
        storage: what function asks. threads: results that may wait to be taken, at most, for a bucket.
    """
    if storage.is_local:
        yield from map(function, items)
        return
    pool, waiting = ThreadPoolExecutor(threads), deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) == threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
