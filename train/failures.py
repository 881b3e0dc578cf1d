"""What ends a run, in one line for the user."""

from pathlib import Path

from cache import CacheError
from ensemble import PredictionsError
from train.settings import SettingsError

_KEPT = "finished folds and epochs are kept"
_DISK_FULL = "no space left on device"
# each backend has classes of its own for a device whose memory is full; these words are theirs
_MEMORY_FULL = ("out of memory", "outofmemory", "oom when allocating", "allocate memory", "allocator ran out")


def in_one_line(error: Exception, folder: Path) -> str | None:
    """The line; None for an error that is none of the user's, but of the program.

    Args:
        folder: where the run writes to.
    """
    if isinstance(error, SettingsError | CacheError | PredictionsError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename or folder}: {error.strerror or error}; {_KEPT}"
    words = f"{type(error).__name__} {error}".lower()
    if _DISK_FULL in words:  # TensorFlow's words, from its logs
        return f"{folder}: No space left on device; {_KEPT}"
    if isinstance(error, MemoryError) or any(full in words for full in _MEMORY_FULL):
        return (
            f"not enough memory; give --resident no, or lower --batch-size or --seconds with a new --name; {_KEPT}"
        )
    return None
