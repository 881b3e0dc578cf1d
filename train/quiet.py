"""A quick and quiet start of Keras, and quiet libraries.

TensorFlow writes a dozen lines to standard error while it is imported and while it looks for GPUs, before its
logging is set up, so that no variable stops them (2.19 to 2.21; tensorflow issue 100442). They are held back here,
and shown when the start fails.

Python's garbage collector goes through all that is imported again and again, a quarter of the time in all, and
finds nothing.
"""

import gc
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def holding_back_stderr() -> Iterator[None]:
    """Hold back what anything in this process writes to file descriptor 2; show it if the block raises."""
    with tempfile.TemporaryFile() as held:
        stderr = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


@contextmanager
def not_collecting() -> Iterator[None]:
    """Collect no garbage meanwhile; nor, later, among what is there at the end: modules stay."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def quiet_distributed() -> None:
    """Keep the lines of Dask's libraries from the terminal: what matters of them is said in one line of ours."""
    for name in ("distributed", "tornado", "asyncio", *logging.root.manager.loggerDict):
        if name.split(".")[0] in {"distributed", "tornado", "asyncio"}:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
