"""One writer of a cache at a time.

On a disk: a lock file, which the system frees when its holder dies. In a bucket: a lease, an object that says who
holds the cache and for how long. The holder puts it on the condition that there is none, and renews it on the
condition that it is still the one it put. Once its time is up another may replace it, on the condition that it is
still the one it saw. Before anything counts, `Hold.check` looks whether the lease is this run's, with a quarter of
its time left. All times are the bucket's, so clocks need not agree. A lease that ends is replaced by one of zero
seconds, as obstore has no conditional delete. An object that says nothing of a lease, such as an uploaded lock
file, is none.
"""

import json
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from threading import Event, Thread

import msgspec
from filelock import FileLock, Timeout

from cache.storage import BucketStorage, CacheError, LocalStorage, Storage
from common.files import make_folder
from common.text import escaped

LOCK, HOLDER = "writer.lock", "writer.json"
LEASE_S = 60
_MOST_S = 600  # that a lease of another process counts for, whatever it says
_RENEWALS = 4  # a lease


class _Holder(msgspec.Struct):
    """Who holds a cache, as lock files and leases say it."""

    pid: int = 0
    host: str = ""
    since: str = ""
    id: str = ""
    lease_s: float = 0

    def __str__(self) -> str:
        if not self.pid:
            return "another process"
        return f"process {self.pid} on {escaped(self.host[:60])}, since {escaped(self.since[:60])},"


@dataclass(frozen=True)
class Hold:
    """A cache that this run writes; a copy of it in another process, or on another host, can `check` as well."""

    storage: Storage
    id: str

    def check(self) -> None:
        """Refuse to go on where the cache is not held any more.

        Raises:
            CacheError: the hold was lost, or has ended.
        """
        found, _, left = _read(self.storage)
        if found.id != self.id or not (self.storage.is_local or left > LEASE_S / _RENEWALS):
            raise CacheError(
                f"{self.storage}: this run does not hold the cache any more: its lease could not be renewed in "
                "time, or another process writes; what was done is kept; rerun the command to resume"
            )


@contextmanager
def holding(storage: Storage, wait: bool = False) -> Iterator[Hold]:
    """Hold the cache for writing; a folder is made if need be.

    Args:
        wait: on a disk, until another holder ends.
    Raises:
        CacheError: another process holds it, or, in a bucket, the hold was lost meanwhile.
    """
    body = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now().isoformat(sep=" ", timespec="seconds"),
        "id": secrets.token_hex(16),
    }
    with _file(storage, body, wait) if storage.is_local else _lease(storage, body):
        yield Hold(storage, body["id"])


@contextmanager
def _file(storage: LocalStorage, body: dict, wait: bool) -> Iterator[None]:
    lock = FileLock(storage.path(LOCK), timeout=-1 if wait else 0)
    try:
        make_folder(storage.path())
        lock.acquire()
    except Timeout as error:
        raise CacheError(f"{storage}: {_read(storage)[0]} is writing the cache; wait for it to end") from error
    except OSError as error:
        what = f"cannot be written ({error.strerror or error})"
        raise CacheError(f"{storage}: {what}; give another folder") from error
    try:
        storage.path(HOLDER).write_text(json.dumps(body))
        yield
    finally:
        storage.remove(HOLDER)
        lock.release()


@contextmanager
def _lease(storage: BucketStorage, body: dict) -> Iterator[None]:
    lease = Lease(storage, body)
    lease.take()
    try:
        yield
    finally:
        lease.give_back()


class Lease:
    """A lease that is held from `take` to `give_back`, as long as its renewals, by a thread, come in time."""

    def __init__(self, storage: BucketStorage, body: dict):
        """body: who holds it."""
        self._storage, self._body, self._ended, self._etag, self._puts = storage, body, Event(), "", 0

    def take(self) -> None:
        """Take the lease, or one whose time is up.

        Raises:
            CacheError: another process holds it. OSError: the bucket does not answer, or does not let us write.
        """
        try:
            self._put(None)
        except FileExistsError:
            held, etag, left = _read(self._storage)
            if left > 0:
                until = datetime.fromtimestamp(time.time() + left).isoformat(sep=" ", timespec="seconds")
                raise CacheError(
                    f"{self._storage}: {held} is writing the cache; wait for it to end; "
                    f"if it was killed, its lease ends at {until}"
                ) from None
            try:
                self._put(etag)
            except OSError as error:
                raise CacheError(f"{self._storage}: another process has just begun to write the cache") from error
        Thread(target=self._keep, daemon=True, name="lease").start()

    def renew(self) -> None:
        """Begin its time anew, unless it is another's; where the network fails there is time to try again."""
        with suppress(OSError):
            self._put(self._etag)

    def give_back(self) -> None:
        """End it, unless it is another's."""
        self._ended.set()
        if self._etag:
            with suppress(OSError):  # it ends by itself
                self._put(self._etag, 0)

    def _put(self, etag: str | None, seconds: float = LEASE_S) -> None:
        self._puts += 1  # so that no two ETags are equal
        lease = {"lease_s": seconds, "renewals": self._puts}
        self._etag = self._storage.write_if(LOCK, json.dumps({**self._body, **lease}).encode(), etag)

    def _keep(self) -> None:
        while not self._ended.wait(LEASE_S / _RENEWALS):
            self.renew()


def _read(storage: Storage) -> tuple[_Holder, str, float]:
    """Who holds a cache, as far as it can be read; in a bucket the object's ETag, and the seconds that are left."""
    try:
        data, file = storage.read_with_look(HOLDER if storage.is_local else LOCK, 1 << 16)
    except OSError:
        return _Holder(), "", 0.0
    try:
        found = msgspec.json.decode(data, type=_Holder)
    except (ValueError, RecursionError):
        found = _Holder(lease_s=LEASE_S if b'"lease_s"' in data else 0)  # perhaps that of another version
    found.lease_s = max(0.0, min(found.lease_s, _MOST_S))
    if storage.is_local or not found.lease_s:
        return found, file.etag, 0.0
    return found, file.etag, file.mtime_ns / 1e9 + found.lease_s - _bucket_time(storage)


def _bucket_time(storage: BucketStorage) -> float:
    """The bucket's own clock, seconds since 1970, by the time of an object that is put now."""
    key = f"writer.clock-{secrets.token_hex(4)}"
    storage.write(key, b"")
    try:
        return storage.look(key).mtime_ns / 1e9
    finally:
        storage.remove(key)
