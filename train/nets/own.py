"""A user's own net, FILE.py:FUNCTION: its file is read once, and run whenever the net is built.

The file's bytes travel with the settings. So an edit during a run does not change the run, the checksum in
config.json is that of what was trained, and a Dask worker needs no copy. An error of the user's code is told in one
line, with the last line of theirs. Only `train` runs the file; `train.nets.check` makes sure that what is trained
opens without it.
"""

import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from train.nets import NetError

_MODULE = "earmark_own_net"  # what the file is called as a module; one name, as a run has one net


def read_source(name: str) -> bytes:
    """The bytes of a user's own net's file, which must be Python; it is not run.

    Args:
        name: FILE.py:FUNCTION.
    Raises:
        NetError: the file cannot be read, or has a syntax error.
    """
    path, function = name.rsplit(":", 1)
    try:
        source = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise NetError(
            f"{path}: no such file in {os.getcwd()}; give the path of the file that has {function}"
        ) from error
    except OSError as error:
        raise NetError(f"{path}: cannot be read ({error.strerror}); give a file of Python") from error
    with in_one_line(path):
        compile(source, path, "exec")
    return source


def own_builder(name: str, source: bytes) -> Callable[[Any, int], Any]:
    """Run the file and give its function.

    Args:
        name: FILE.py:FUNCTION. source: the file's bytes, as `read_source` gave them.
    Raises:
        NetError: the file's own error, no such function, or one that does not take two arguments.
    """
    path, function = name.rsplit(":", 1)
    module = ModuleType(_MODULE)
    module.__file__ = path
    sys.modules[_MODULE] = module  # dataclasses look there
    folder = str(Path(path).absolute().parent)
    if folder not in sys.path:
        sys.path.append(folder)  # last: files beside it can be imported, and hide nothing of ours
    with in_one_line(path):
        exec(compile(source, path, "exec"), vars(module))
    found = getattr(module, function, None)
    if not callable(found):
        there = [key for key, value in vars(module).items() if getattr(value, "__module__", None) == _MODULE]
        close = get_close_matches(function, there, 1) or there
        raise NetError(
            f"{path}: the function must be in the file, got {function}, which is not; "
            + (f"did you mean {' or '.join(close)}?" if close else "the file defines none")
        )
    with in_one_line(path):
        try:
            inspect.signature(found).bind(None, 2)
        except TypeError as error:
            raise NetError(
                f"{path}: {function} must take two arguments, (x, n_labels), got {function}"
                f"{inspect.signature(found)}; correct it"
            ) from error
    return found


@contextmanager
def in_one_line(path: str) -> Iterator[None]:
    """Turn an error in a user's file into a NetError of one line: file, last line of theirs, what it says."""
    try:
        yield
    except NetError:
        raise
    except (Exception, SystemExit) as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
        text = str(error)
        if isinstance(error, SyntaxError):
            lines, text = [error.lineno] if error.filename == path else lines, error.msg
        where = f"{path}:{lines[-1]}" if lines and lines[-1] else path
        said = " ".join(re.sub(r"\x1b\[[\d;]*m", "", text).split()).rstrip(".")[:300] or "no message"
        advice = "correct it, or give --debug for the traceback"
        raise NetError(f"{where}: {type(error).__name__}: {said}; {advice}") from error
