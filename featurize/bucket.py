"""Recordings in a bucket, as files on this disk: headers, digests and samples are only ever read from such files.

A copy has its object's size and time, so that whoever looks at the file sees the object. Of a wav the first 64 KB
are brought for its header, the rest of the copy being a hole; other formats, and wavs whose sizes lie, come whole.
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cache.ahead import each
from cache.places import on_disk
from featurize.decode import digest, read_header
from featurize.recordings import ABSENT, UNREADABLE, Recordings
from featurize.riff import wav_data

if TYPE_CHECKING:
    from cache.bucket.objects import ObjectPath, ObjectStat
    from cache.places import Place

_HEAD_BYTES = 1 << 16
_AT_A_TIME = 8  # recordings that are on the disk at a time, for a job


def local_files(paths: Sequence["Place"]) -> Iterator[Path | OSError]:
    """Each recording as a file on this disk, in order; one of a bucket until the next is asked for.

    Yields an OSError for one that cannot be read.
    """
    if all(on_disk(path) for path in paths):
        yield from paths
        return
    with tempfile.TemporaryDirectory(prefix="earmark-") as folder:
        for file in each(lambda path: _brought(path, Path(folder)), paths, paths[0], threads=_AT_A_TIME):
            yield file
            if isinstance(file, Path):
                file.unlink()


class BucketRecordings(Recordings):
    """The recordings below a dataset's folder in a bucket."""

    def __init__(self, folder: "ObjectPath"):
        self.folder, self._listings = folder, {}

    def look(self, files: pd.Series) -> np.ndarray:
        """As of files on a disk; one listing for each folder that they lie in."""
        found = [self._listing(file.split("/")[0]).get(file) or self._look(file) for file in files]
        return np.array(found, np.int64).reshape(-1, 2).T

    def headers(self, files: pd.Series) -> np.ndarray:
        """As of files on a disk."""
        with tempfile.TemporaryDirectory(prefix="earmark-") as folder:
            found = list(each(lambda file: self._header(file, Path(folder)), files, self.folder))
        return np.array(found, np.int64).reshape(-1, 2).T

    def digest(self, file: str) -> str:
        """As of a file on a disk; all of it is brought."""
        with tempfile.TemporaryDirectory(prefix="earmark-") as folder:
            return digest(_bring(self.folder / file, Path(folder)))

    def _look(self, file: str) -> tuple[int, int]:
        """The look at a file whose name is not its key's end, but for the form of its path."""
        form = str((self.folder / file).key)[len(self.folder.key) :].lstrip("/")
        return self._listing(form.split("/")[0]).get(form, (ABSENT, ABSENT))

    def _listing(self, folder: str) -> dict[str, tuple[int, int]]:
        if folder not in self._listings:
            skipped = len((self.folder / "x").key) - 1
            objects = (self.folder / folder).objects()
            self._listings[folder] = {
                path.key[skipped:]: (stat.st_size, stat.st_mtime_ns) for path, stat in objects
            }
        return self._listings[folder]

    def _header(self, file: str, folder: Path) -> tuple[int, int]:
        try:
            path = self.folder / file
            copy = _bring_head(path, folder) if path.suffix.lower() == ".wav" else _bring(path, folder)
            try:
                header = read_header(copy)
            finally:
                copy.unlink()
        except OSError:
            return UNREADABLE, 0
        return header.native_rate, header.native_samples


def recordings_of(folder: "Place") -> Recordings:
    """The recordings of a dataset, wherever it lies."""
    return Recordings(folder) if on_disk(folder) else BucketRecordings(folder)


def _brought(path: "ObjectPath", folder: Path) -> Path | OSError:
    try:
        return _bring(path, folder)
    except OSError as error:
        return error


def _bring(path: "ObjectPath", folder: Path) -> Path:
    return _write(folder, path, *path.read())


def _bring_head(path: "ObjectPath", folder: Path) -> Path:
    """A wav with the bytes that `read_header` looks at: its head where that is sound, else all of it."""
    data, stat = path.read(_HEAD_BYTES)
    copy = _write(folder, path, data, stat)
    if len(data) < stat.st_size and not _says_all(copy, stat.st_size):
        copy.unlink()
        return _bring(path, folder)
    with open(copy, "r+b") as file:
        file.truncate(stat.st_size)
    return copy


def _says_all(head: Path, size: int) -> bool:
    """Whether the head of a wav has a data chunk whose size can be true."""
    wav = wav_data(head)
    return wav is not None and not wav.streamed and 0 < wav.claimed <= size - wav.offset


def _write(folder: Path, path: "ObjectPath", data: bytes, stat: "ObjectStat") -> Path:
    descriptor, name = tempfile.mkstemp(suffix=path.suffix, dir=folder)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
        os.utime(name, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
    except OSError:
        with suppress(OSError):
            os.unlink(name)
        raise
    return Path(name)
