"""One writer at a time: a lock file in the cache's folder, which the system frees when its holder dies.

In a bucket the lock is an object of the same name, held by a lease.
"""

import json
import os
import secrets
import signal
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from signal import pthread_kill
from threading import main_thread
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from cache.bucket.lease import HeldError, Lease
from cache.errors import CacheError
from cache.places import on_disk

if TYPE_CHECKING:
    from cache.places import Place

_LOCK, _HOLDER = "writer.lock", "writer.json"
_LOST = signal.SIGUSR1  # unlike SIGINT, never ignored where a shell started us in the background


def writing(folder: "Place", wait: bool = False) -> AbstractContextManager[None]:
    """Hold the cache for writing; the folder is made if need be.

    Args:
        wait: on a disk, until another holder ends.
    Raises:
        CacheError: somebody else holds it; says who, where and since when. Or, in a bucket, the hold was lost.
    """
    return _holding_file(folder, wait) if on_disk(folder) else _holding_lease(folder)


@contextmanager
def _holding_lease(folder: "Place") -> Iterator[None]:
    lease = Lease(folder / _LOCK, on_loss=lambda: pthread_kill(main_thread().ident, _LOST))
    before = signal.signal(_LOST, signal.default_int_handler)  # an interrupt that nobody takes for a clip's error
    try:
        lease.take()
        yield
    except HeldError as error:
        raise CacheError(f"{folder}: one writer at a time, got a second one; {error}") from error
    except KeyboardInterrupt as error:
        if not lease.lost:
            raise
        raise CacheError(
            f"{folder}: the writer's hold must be renewed every minute, got no answer in time or another holder; "
            "what is done is kept: run the same command again"
        ) from error
    finally:
        lease.give_back()
        signal.signal(_LOST, before)


@contextmanager
def _holding_file(folder: Path, wait: bool) -> Iterator[None]:
    lock = FileLock(folder / _LOCK, timeout=-1 if wait else 0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise CacheError(
            f"{folder}: one writer at a time, got a second one; {_holder(folder)} is writing: wait for it to end"
        ) from error
    except OSError as error:
        raise CacheError(
            f"{folder}: cache must be a folder that can be written, got {error.strerror or error}; "
            "mend that, or name another"
        ) from error
    try:
        since = datetime.now().isoformat(sep=" ", timespec="seconds")
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": since, "id": secrets.token_hex(8)}
        (folder / _HOLDER).write_text(json.dumps(holder))
        yield
    finally:
        (folder / _HOLDER).unlink(missing_ok=True)
        lock.release()


def holder(folder: "Place") -> str:
    """What the writer's own file says of it, no two runs the same; "" where nobody writes or it cannot be seen."""
    try:
        return (folder / (_HOLDER if on_disk(folder) else _LOCK)).read_bytes().decode()
    except OSError:
        return ""


def _holder(folder: Path) -> str:
    try:
        holder = json.loads((folder / _HOLDER).read_text())
        return f"process {holder['pid']} on {holder['host']}, since {holder['since']},"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
