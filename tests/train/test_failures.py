from pathlib import Path

import pytest

from train.failures import in_one_line
from train.settings import SettingsError

FULL = (
    "not enough memory; give --resident no, or lower --batch-size or --seconds with a new --name; finished folds and "
    "epochs are kept"
)


class ResourceExhaustedError(Exception):
    """Has TensorFlow's name."""


class OutOfMemoryError(RuntimeError):
    """Has PyTorch's name."""


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (SettingsError("--sr must be 1"), "--sr must be 1"),
        (
            OSError(28, "No space left on device", "f"),
            "f: No space left on device; finished folds and epochs are kept",
        ),
        (OSError("gone"), "w: gone; finished folds and epochs are kept"),
        (
            ResourceExhaustedError("w/logs/events.v2; No space left on device"),
            "w: No space left on device; finished folds and epochs are kept",
        ),
        (MemoryError(), FULL),
        (ResourceExhaustedError("OOM when allocating tensor with shape[4096,48000,16]"), FULL),
        (OutOfMemoryError("CUDA: tried to allocate 20.00 GiB"), FULL),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8 bytes"), FULL),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), FULL),
        (RuntimeError("shapes differ"), None),
        (KeyError("loss"), None),
    ],
)
def test_what_the_user_can_mend_is_one_line(error, line):
    assert in_one_line(error, Path("w")) == line
