"""Who may write a predictions folder: anyone, for moments and in turn, and a fold's trainer while it trains."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ensemble.errors import PredictionsError

_LEAST_WAIT_S = 1  # `held` takes a lock for a moment


def writing(path: Path) -> FileLock:
    """The lock under which a folder is written; it is held for moments, and waited for."""
    return FileLock(path / ".lock")


@contextmanager
def holding(path: Path, fold: int, wait_s: float = 0) -> Iterator[None]:
    """Hold a fold while it is trained; several processes may train different folds into one folder.

    Raises:
        PredictionsError: another process holds it, and did not let go within wait_s.
    """
    lock = FileLock(path / f".fold_{fold}.lock", timeout=max(wait_s, _LEAST_WAIT_S))
    try:
        lock.acquire()
    except Timeout as error:
        raise PredictionsError(
            f"{path}: fold {fold} must be trained by one process, got a second one; "
            "wait for the other to end, or choose other folds with --fold"
        ) from error
    try:
        yield
    finally:
        lock.release()


def held(path: Path) -> list[int]:
    """The folds that are being trained, ascending."""
    names = (re.fullmatch(r"\.fold_(\d+)\.lock", entry.name) for entry in path.iterdir())
    return sorted(int(match[1]) for match in names if match and _is_held(path / match[0]))


def _is_held(path: Path) -> bool:
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True
