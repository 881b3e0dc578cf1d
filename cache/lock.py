"""One writer at a time: a lock file in the cache's folder, which the system frees when its holder dies."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from cache.errors import CacheError

_LOCK, _HOLDER = "writer.lock", "writer.json"


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold the cache for writing; the folder is made if need be.

    Raises:
        CacheError: somebody else holds it; says who, where and since when.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise CacheError(
            f"{folder}: one writer at a time, got a second one; {_holder(folder)} is writing: wait for it to end"
        ) from error
    try:
        since = datetime.now().isoformat(sep=" ", timespec="seconds")
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
        (folder / _HOLDER).write_text(json.dumps(holder))
        yield
    finally:
        (folder / _HOLDER).unlink(missing_ok=True)
        lock.release()


def _holder(folder: Path) -> str:
    try:
        holder = json.loads((folder / _HOLDER).read_text())
        return f"process {holder['pid']} on {holder['host']}, since {holder['since']},"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
