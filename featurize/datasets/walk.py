"""The recordings of a folder that has no list of them: every file whose name says that it is sound.

Hidden files and folders are left out, and so are files whose names say that they are something else. What is left
could be a recording: it is named, so that nobody misses it. Links are followed, also out of the folder, as the user
made them.
"""

import os
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cache.storage import Storage
from common.text import listed
from featurize.datasets.listing import DatasetError
from featurize.decode import SUFFIXES

_TEXTS = "bib htm html ini json jsonl log md rst tex toml tsv txt xml yaml yml"
_OTHERS = "doc docx gif ipynb jpeg jpg npy npz parquet pdf pkl png py sh svg xls xlsx"
_NO_SOUND = frozenset(f".{suffix}" for suffix in f"{_TEXTS} {_OTHERS}".split())
_NO_SOUND_NAMES = frozenset(("authors", "changelog", "license", "makefile", "readme", "thumbs"))


@dataclass(frozen=True)
class Found:
    """What lies in a folder: paths below it, sorted.

    recordings: of a known suffix. others: what could be a recording. bare: folders without a recording. csvs: CSV
    files.
    """

    recordings: list[str]
    others: list[str]
    bare: list[str]
    csvs: list[str]

    @property
    def remarks(self) -> list[str]:
        """What is left out, in lines for the user."""
        lines = []
        if self.others:
            lines.append(
                f"{len(self.others):,} files left out, of no suffix that is decoded: {listed(self.others)}"
            )
        if self.bare:
            lines.append(f"{len(self.bare):,} folders left out, without a recording: {listed(self.bare)}")
        return lines


def find_recordings(folder: Storage) -> Found:
    """Look through a folder to the bottom.

    Raises:
        DatasetError: a folder that cannot be read, or a recording whose name is not text of one line.
    """
    recordings, others, folders, csvs = [], [], [], []
    for name in _on_disk(folder, folders) if folder.is_local else (file.key for file in folder.files()):
        if "/." in f"/{name}":  # it is hidden, or in a folder that is
            continue
        stem, suffix = posixpath.splitext(posixpath.basename(name).lower())
        if suffix in SUFFIXES:
            _check_name(folder, name)
            recordings.append(name)
        elif suffix == ".csv":
            csvs.append(name)
        elif suffix not in _NO_SOUND and stem not in _NO_SOUND_NAMES:
            others.append(name)
    used = {posixpath.dirname(name) for name in recordings}
    used |= {str(parent) for name in used for parent in PurePosixPath(name).parents}
    bare = set(folders) - used
    tops = [name for name in bare if bare.isdisjoint(map(str, PurePosixPath(name).parents))]
    return Found(sorted(recordings), sorted(others), sorted(tops), sorted(csvs))


def _on_disk(folder: Storage, folders: list[str]) -> Iterator[str]:
    """Paths of all files; those of folders go to `folders`. A link to a folder that it lies in is not followed."""

    def refuse(error: OSError) -> None:
        raise DatasetError(f"{error.filename}: must be a folder that can be read, got {error.strerror}; allow it")

    root = str(folder.path())
    for place, names, files in os.walk(root, onerror=refuse, followlinks=True):
        below = os.path.relpath(place, root)
        below = "" if below == "." else f"{below}/"
        names[:] = [name for name in names if not (name.startswith(".") or _leads_back(place, name, root))]
        folders.extend(below + name for name in names)
        yield from (below + name for name in files)


def _leads_back(place: str, name: str, root: str) -> bool:
    """Whether a folder is a link to one that holds it, or that the walk came through."""
    path = Path(place, name)
    if not path.is_symlink():
        return False
    real, above = path.resolve(), [path.parent, *path.parent.parents]
    return any(parent.resolve().is_relative_to(real) for parent in above[: above.index(Path(root)) + 1])


def _check_name(folder: Storage, name: str) -> None:
    if not name.isprintable() and any(c < " " or "\ud800" <= c <= "\udfff" for c in name):
        raise DatasetError(f"{folder}: names of recordings must be one line of UTF-8, got {name!r}; rename it")
