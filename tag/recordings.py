"""Recordings that are not of a dataset: found in files and folders, and featurized into a cache of their own.

The features are those that the nets were trained on, as the same jobs compute them. The cache is temporary: it
holds the recordings of one call, on disk and memory-mapped, so that a recording of a day needs no more memory than
a short one.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path

import pandas as pd

from cache import Cache, open_cache
from cache.specification import Specification
from cache.storage import open_storage
from common import EarmarkError
from common.text import listed
from featurize.datasets import Dataset, walk
from featurize.decode import SUFFIXES
from featurize.run import run
from featurize.settings import Options
from featurize.summary import summarize
from featurize.todo import Todo

Begin = Callable[[str, float], AbstractContextManager[Callable[[float], None]]]
"""Begins to show a step, "decode" (a total in seconds of sound) or "tag" (in predictions), and ends with its block,
which is given the function to call with what is done."""


def silent(step: str, total: float) -> AbstractContextManager[Callable[[float], None]]:
    """Show no progress."""
    return nullcontext(lambda done: None)


class RecordingsError(EarmarkError):
    """Nothing to tag, or a place that cannot be looked through; the message is one line for the user."""


def find_recordings(paths: Iterable[Path]) -> tuple[list[Path], list[str]]:
    """The recordings that paths name: files as they are, and of folders every file with a suffix of audio.

    Folders are looked through to the bottom, in the order of names; hidden files and folders are left out.

    Returns:
        The recordings, each once, and lines that say what was left out.
    Raises:
        RecordingsError: nothing is found in a folder, or at all; or a name that is not UTF-8.
    """
    found: dict[Path, None] = {}
    remarks = []
    for path in paths:
        if any("\ud800" <= c <= "\udfff" for c in str(path)):  # bytes that are no UTF-8
            raise RecordingsError(f"names of recordings must be UTF-8, got {str(path)!r}; rename it")
        if not path.is_dir():
            found[path] = None
            continue
        inside = walk.find_recordings(open_storage(path))
        if not inside.recordings:
            got = f"only {listed(inside.others, 3)}" if inside.others else "none"
            raise RecordingsError(
                f"{path}: must hold recordings ({', '.join(sorted(SUFFIXES))}), got {got}; name files to tag them "
                "whatever their suffix"
            )
        found |= {path / name: None for name in inside.recordings}
        remarks += [f"{path}: {line}" for line in inside.remarks]
    if not found:
        raise RecordingsError("give at least one file or folder to tag; see --help")
    return list(found), remarks


def featurized(
    paths: Sequence[Path], specifications: Sequence[Specification], folder: Path, begin: Begin = silent
) -> tuple[Cache, dict[int, str]]:
    """Featurize recordings into a new cache.

    Args:
        paths: each once. specifications: of the stores to make. folder: for the cache. begin: shows progress.
    Returns:
        The cache, whose clips are the recordings in their order, named by their paths; and why recordings failed,
        by their number.
    """
    files = [os.path.abspath(path).lstrip("/") for path in paths]
    clips = pd.DataFrame({"clip": [str(path) for path in paths], "split": "test", "label": "", "file": files})
    clips.insert(3, "manually_verified", pd.Series(pd.NA, index=clips.index, dtype="Int8"))
    dataset, advance = Dataset(open_storage("/"), clips), None
    with ExitStack() as shown:

        def on_plan(todo: Todo) -> None:
            nonlocal advance
            advance = shown.enter_context(begin("decode", todo.seconds().sum()))

        of_run = (dataset, open_storage(folder), list(specifications), Options())
        todo, _ = run(*of_run, on_plan, on_sound=lambda seconds: advance(seconds))
    summary = summarize(todo)
    slots = todo.clips["slot"].to_numpy()
    return open_cache(folder), {int(row): summary.reasons[slots[row]] for row in summary.failed}
