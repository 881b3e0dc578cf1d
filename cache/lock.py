"""One writer of a cache at a time.

On a disk: a lock file, which the system frees when its holder dies. In a bucket nothing frees a dead holder's
lock, so there it is a lease. The holder puts an object on the condition that there is none, and puts it again, on
the condition that it is still its own, before the lease's time is up. A holder that was killed does not; another
may then replace the object, on the condition that it is still the one it saw. All times are the bucket's, so
clocks need not agree. A holder that could not renew in time stops before another may begin. A lease that ends is
replaced by one of zero seconds, not deleted: obstore has no conditional delete. An object that says nothing of a
lease, such as an uploaded lock file, is none.
"""

import json
import os
import secrets
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from signal import pthread_kill
from threading import Event, Thread, Timer, main_thread

import msgspec
from filelock import FileLock, Timeout

from cache.storage import BucketStorage, CacheError, LocalStorage, Storage
from common.files import make_folder
from common.text import escaped

LOCK, HOLDER = "writer.lock", "writer.json"
LEASE_S = 60
_MOST_S = 600  # that a lease of another process counts for, whatever it says
_RENEWALS = 4  # a lease
_LOST = signal.SIGUSR1  # unlike SIGINT, never ignored where a shell started us in the background
_lost: set[str] = set()  # the ids of this process's holds that were lost


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
        if self.id in _lost or holder(self.storage) != self.id:
            raise _loss(self.storage)


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
    hold = Hold(storage, body["id"])
    with _file(storage, body, wait) if storage.is_local else _lease(storage, body):
        yield hold


def holder(storage: Storage) -> str:
    """The id of the run that writes the cache, no two runs the same; "" where none does or it cannot be seen."""
    found = _read(storage)[0]
    return found.id if storage.is_local or found.lease_s else ""


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
    lease = Lease(storage, body, on_loss=lambda: pthread_kill(main_thread().ident, _LOST))
    before = signal.signal(_LOST, signal.default_int_handler)
    try:
        lease.take()
        yield
    except KeyboardInterrupt as error:
        if not lease.lost:
            raise
        raise _loss(storage) from error
    finally:
        lease.give_back()
        signal.signal(_LOST, before)


class Lease:
    """A lease that is held from `take` to `give_back`; a thread of its own renews it. lost: whether it was lost."""

    def __init__(self, storage: BucketStorage, body: dict, on_loss=lambda: None, seconds: float = LEASE_S):
        """body: who holds it. on_loss: called, by another thread, when it could not be renewed in time."""
        self._storage, self._body, self._on_loss, self._seconds = storage, body, on_loss, seconds
        self._ended, self._etag, self._renewals, self._last = Event(), "", 0, Timer(0, self._lose)
        self.lost = False

    def take(self) -> None:
        """Take the lease, or one whose time is up.

        Raises:
            CacheError: another process holds it. OSError: the bucket does not answer, or does not let us write.
        """
        asked = time.monotonic()
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
        self._put_off(asked)
        Thread(target=self._keep, daemon=True, name="lease").start()

    def renew(self) -> None:
        """Put the lease's end off; where the network fails there is time to try again."""
        asked = time.monotonic()
        try:
            self._put(self._etag)
            self._put_off(asked)
        except FileExistsError:
            self._lose()
        except OSError:
            return

    def give_back(self) -> None:
        """End the lease, unless it is lost."""
        self._ended.set()
        self._last.cancel()
        if self._etag and not self.lost:
            with suppress(OSError):  # it ends by itself
                self._put(self._etag, 0)

    def _put(self, etag: str | None, seconds: float | None = None) -> None:
        self._renewals += 1  # so that no two ETags are equal
        lease = {"lease_s": self._seconds if seconds is None else seconds, "renewals": self._renewals}
        self._etag = self._storage.write_if(LOCK, json.dumps({**self._body, **lease}).encode(), etag)

    def _keep(self) -> None:
        while not self._ended.wait(self._seconds / _RENEWALS):
            self.renew()

    def _put_off(self, asked: float) -> None:
        """Let the loss come a quarter before the time is up, counted from before the bucket was asked."""
        self._last.cancel()
        left = self._seconds * (1 - 1 / _RENEWALS) - (time.monotonic() - asked)
        self._last = Timer(max(0, left), self._lose)
        self._last.daemon = True
        if not self._ended.is_set():
            self._last.start()

    def _lose(self) -> None:
        if not self._ended.is_set():
            self._ended.set()
            self.lost = True
            _lost.add(self._body["id"])
            self._on_loss()


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


def _loss(storage: Storage) -> CacheError:
    return CacheError(
        f"{storage}: this run does not hold the cache any more: its lease could not be renewed in time, or another "
        "process writes; what was done is kept; rerun the command to resume"
    )
