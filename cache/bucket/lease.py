"""A lease on an object: how one writer at a time is kept in a bucket, where nothing frees a dead holder's lock.

The holder puts the object on the condition that there is none, with its name as content, and puts it again, on the
condition that it is still its own, before the lease's time is up. A holder that was killed does not; another may
then put its own in place of it, on the condition that it is still the one it saw. All times are the bucket's, from
its answers, so that clocks need not agree. A holder that could not renew in time stops before another may begin.
"""

import json
import os
import socket
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from threading import Event, Thread, Timer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cache.bucket.objects import ObjectPath

LEASE_S = 60
_RENEWALS = 4  # a lease


class HeldError(ValueError):
    """Somebody else holds the lease; the message says who, and until when."""


class Lease:
    """A lease that is held from `take` to `give_back`, and renewed meanwhile by a thread of its own.

    lost: whether it ended before it was given back.
    """

    def __init__(self, path: "ObjectPath", on_loss: Callable[[], None], seconds: float = LEASE_S):
        """on_loss: called, by another thread, when the lease could not be renewed in time or is another's."""
        self._path, self._on_loss, self._seconds = path, on_loss, seconds
        self._body = json.dumps(
            {
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "since": datetime.now().isoformat(sep=" ", timespec="seconds"),
                "lease_s": seconds,
                "id": uuid.uuid4().hex,
            }
        ).encode()
        self._ended, self._etag, self._last = Event(), "", Timer(0, self._lose)
        self.lost = False

    def take(self) -> None:
        """Take the lease, or that of a holder whose time is up.

        Raises:
            HeldError: somebody holds it.
            OSError: the bucket cannot be reached, or does not let us write.
        """
        asked = time.monotonic()
        try:
            self._etag = self._path.write_bytes(self._body, IfNoneMatch="*")
        except FileExistsError:
            self._etag = self._take_over()
        self._put_off(asked)
        Thread(target=self._keep, daemon=True, name="lease").start()

    def give_back(self) -> None:
        """End the lease, unless it is lost."""
        self._ended.set()
        self._last.cancel()
        if self._etag and not self.lost:
            with suppress(OSError):  # it ends by itself
                self._path.unlink(missing_ok=True, IfMatch=self._etag)

    def renew(self) -> None:
        """Put the lease off; where the network fails, there is time to try again."""
        asked = time.monotonic()
        try:
            self._etag = self._path.write_bytes(self._body, IfMatch=self._etag)
            self._put_off(asked)
        except (FileExistsError, FileNotFoundError):
            self._lose()
        except OSError:
            return

    def _keep(self) -> None:
        while not self._ended.wait(self._seconds / _RENEWALS):
            self.renew()

    def _put_off(self, asked: float) -> None:
        """Let the loss come a quarter before the time is up, as seen from before the bucket was asked."""
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
            self._on_loss()

    def _take_over(self) -> str:
        """Put ours in place of one whose time is up; returns its ETag."""
        try:
            held, stat = self._path.read()
        except FileNotFoundError:  # given back in this moment
            return self._put_in_place(IfNoneMatch="*")
        if held == self._body:  # a put that was tried again, after its answer got lost
            return stat.etag
        holder = _holder(held)
        left = stat.st_mtime_ns / 1e9 + holder["lease_s"] - stat.now
        if left > 0:
            until = datetime.fromtimestamp(time.time() + left).isoformat(sep=" ", timespec="seconds")
            raise HeldError(
                f"{_named(holder)} is writing: wait for it to end; if it was killed, its hold ends at {until}"
            )
        return self._put_in_place(IfMatch=stat.etag)

    def _put_in_place(self, **condition: str) -> str:
        try:
            return self._path.write_bytes(self._body, **condition)
        except (FileExistsError, FileNotFoundError) as error:
            raise HeldError("another process has just begun to write: wait for it to end") from error


def _holder(body: bytes) -> dict:
    """Who holds a lease; of a body that is none of ours, nobody that is known, for as long as ours last."""
    try:
        holder = json.loads(body)
        return {**holder, "lease_s": float(holder["lease_s"])}
    except (ValueError, KeyError, TypeError):
        return {"lease_s": LEASE_S}


def _named(holder: dict) -> str:
    if not {"pid", "host", "since"} <= holder.keys():
        return "another process"
    return f"process {holder['pid']} on {holder['host']}, since {holder['since']},"
