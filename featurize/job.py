"""One job: decode the clips of one group once, and write that group's chunks in every store that lacks them.

A chunk's bytes depend on the group's recordings and the store's specification alone: not on the other jobs,
their order, or what was there before.
"""

import os
import stat
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from cache.receipts import Receipt, Status
from featurize.bucket import local_files
from featurize.decode import DecodeError, Header, decode, digest
from featurize.page import Page, Target
from featurize.waveform import waveform_of


class StoppedError(ValueError):
    """A clip failed and the run was asked to stop at the first that does."""


class _ChangedError(OSError):
    """A recording is not the one that was planned."""


@dataclass(frozen=True)
class Slot:
    """A slot to fill: its number, and what the plan says of its recording; digest "" where not read yet.

    offsets: where it begins in its group, in samples or frames, for each of the job's targets.
    """

    number: int
    path: Path
    size: int
    mtime_ns: int
    digest: str
    header: Header
    offsets: tuple[int, ...]


@dataclass(frozen=True)
class Job:
    """A group: its slots, the chunks it takes, the stores that lack it."""

    group: int
    n_chunks: int
    slots: tuple[Slot, ...]
    targets: tuple[Target, ...]
    stop_on_error: bool = False

    @property
    def seconds(self) -> float:
        """Seconds of audio, by the headers."""
        return sum(slot.header.native_samples / max(1, slot.header.native_rate) for slot in self.slots)


def run_job(job: Job, durable: bool = False, before_commit: Callable[[], None] = lambda: None) -> list[Receipt]:
    """Fill a group's chunks and write them, and their receipts, one for each target.

    Args:
        durable: as in `write_atomic`.
        before_commit: called when all is computed and nothing written; what it raises keeps it so.
    Raises:
        StoppedError: a clip failed and the job was to stop at that.
        OSError: a chunk or a receipt could not be written.
    """
    pages = [Page(target, job.group, job.n_chunks) for target in job.targets]
    places = {slot.number: _places(slot, pages) for slot in job.slots}
    with closing(local_files([slot.path for slot in job.slots if places[slot.number]])) as files:
        for slot in job.slots:
            if places[slot.number]:
                _fill(slot, next(files), places[slot.number])
            if job.stop_on_error:
                _stop_if_failed(slot, pages)
    before_commit()
    return [page.commit(durable) for page in pages]


def _places(slot: Slot, pages: list[Page]) -> dict[Page, slice]:
    """The slot's place in each page that lacks its result."""
    return {
        page: _place(page, slot, offset)
        for page, offset in zip(pages, slot.offsets, strict=True)
        if slot.number not in page.results
    }


def _place(page: Page, slot: Slot, offset: int) -> slice:
    capacity = page.target.specification.capacity(slot.header.native_samples, slot.header.native_rate)
    return slice(offset, offset + int(capacity))


def _fill(slot: Slot, file: Path | OSError, places: dict[Page, slice]) -> None:
    """Decode a slot's recording, a file on this disk, once and fill it into each page."""
    found = slot.digest
    try:
        if isinstance(file, OSError):
            raise file
        found = _digest_as_planned(slot, file)
        waveform = waveform_of(decode(file, slot.header))
        for page, place in places.items():
            page.fill(slot.number, found, place, waveform)
    except (DecodeError, OSError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        for page, place in places.items():
            page.fail(slot.number, found, place, reason, retry=isinstance(error, OSError))


def _digest_as_planned(slot: Slot, file: Path) -> str:
    look = os.stat(file)
    if not stat.S_ISREG(look.st_mode):
        raise _ChangedError("must be a file, got a folder or a device; put the recording there")
    found = digest(file)
    planned = (
        found == slot.digest if slot.digest else (look.st_size, look.st_mtime_ns) == (slot.size, slot.mtime_ns)
    )
    if not planned:
        raise _ChangedError("changed since it was planned; touch it and run featurize again to take it in as it is")
    return found


def _stop_if_failed(slot: Slot, pages: list[Page]) -> None:
    for page in pages:
        result = page.results[slot.number]
        if result.status == Status.FAILED:
            raise StoppedError(f"{slot.path}: {result.reason}; stopped, as --on-error stop asks")
