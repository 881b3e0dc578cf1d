"""One job: decode the clips of one group once, and write that group's chunks in every store that lacks them.

A chunk's bytes depend on the group's recordings and the store's specification alone: not on the other stores of the
job, other jobs, their order, or what was there before.

A clip of up to 95 s is decoded and computed in memory. A longer one is streamed twice, in blocks: once for the
numbers that all of its features depend on, once for the features. Both give the same bytes.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from importlib.metadata import version

import numpy as np
import soundfile

from cache.receipts import Receipt, SlotResult, Status
from cache.specification import Specification
from cache.storage import Storage, each
from cache.writer import GroupWriter
from common import EarmarkError
from common.text import escaped
from featurize.decode import Buffers, DecodeError, Header, ReadError, Recording
from featurize.features import inputs, kind_of, largest
from featurize.resample import cut, longest, sounding

LONG_SAMPLES = 1 << 22  # at any rate that is needed: a clip with more is streamed
BLOCK_SAMPLES = 1 << 20  # of a streamed block, at most, at any rate that is needed
_FETCHED = 8  # recordings of a bucket that are in memory at a time
_KEPT = threading.local()  # a thread's buffers, from job to job
_COMPUTED_BY = ("librosa", "numba", "numpy", "scipy", "soundfile", "soxr")


class StoppedError(EarmarkError):
    """A clip failed and the run was asked to stop at the first that does."""


@dataclass(frozen=True)
class Slot:
    """A slot to fill: its number, and what the plan says of its recording; digest "" where not read yet."""

    number: int
    file: str
    size: int
    mtime_ns: int
    digest: str
    header: Header


@dataclass(frozen=True)
class Target:
    """A store that lacks features of a group.

    offsets: where each slot begins in its group, in samples or frames. earlier: the group's receipt of an earlier
    run. Its results stay where the bytes on disk still have their checksums, but for those of the slots in `again`,
    which are computed again.
    """

    store: Storage
    specification: Specification
    offsets: Mapping[int, int]
    earlier: Receipt | None = None
    again: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Job:
    """A group: the chunks that it takes, its slots in their order, the stores that lack it.

    data: the dataset's folder, which the slots' files lie below.
    """

    group: int
    n_chunks: int
    data: Storage
    slots: tuple[Slot, ...]
    targets: tuple[Target, ...]
    stop_on_error: bool = False

    @property
    def seconds(self) -> float:
        """Seconds of audio, by the headers."""
        return sum(slot.header.native_samples / max(1, slot.header.native_rate) for slot in self.slots)


def run_job(
    job: Job,
    durable: bool = False,
    before_commit: Callable[[], None] = lambda: None,
    on_sound: Callable[[float], None] = lambda seconds: None,
) -> list[Receipt]:
    """Fill a group's chunks and write them, and their receipts, one for each target.

    A slot whose recording cannot be decoded gets the status FAILED and the reason. Where a recording cannot be
    read, or is not the planned one, the slot is also marked to be tried again (`retry`), and an earlier result that
    was to be computed again stays: its status is then not FAILED, while `retry` and `reason` are set.

    Args:
        durable: as in `Storage.write`.
        before_commit: called when all is computed, before anything counts; what it raises keeps all as it was.
        on_sound: called with the seconds of sound that were gone through, of a long clip block by block.
    Raises:
        StoppedError: a clip failed and the job was to stop at that.
        OSError: a chunk or a receipt could not be written.
        ValueError: a specification that cannot be computed.
    """
    buffers = _KEPT.__dict__.setdefault("buffers", Buffers())
    with ExitStack() as stack:
        outputs = []
        for number, target in enumerate(job.targets):
            store, wanted = target.store, target.specification
            memory = buffers.take(f"chunk {number}", (wanted.chunk_length, *wanted.item_shape), wanted.dtype)
            of_group = (job.group, job.n_chunks, target.offsets, target.earlier)
            writer = GroupWriter(store, wanted, *of_group, durable, before_commit, memory)
            outputs.append(_Output(target, stack.enter_context(writer)))
        lacking = [slot for slot in job.slots if any(output.lacks(slot) for output in outputs)]
        fetch = partial(_fetch, job.data, buffers)
        recordings = stack.enter_context(closing(each(fetch, lacking, job.data, _FETCHED)))
        for slot, recording in zip(lacking, recordings, strict=True):
            of_slot = [output for output in outputs if output.lacks(slot)]
            _fill(slot, recording, of_slot, on_sound)
            results = (output.results[slot.number] for output in of_slot)
            failed = [result for result in results if result.status == Status.FAILED or result.retry]
            if job.stop_on_error and failed:
                path = escaped(job.data / slot.file)
                raise StoppedError(f"{path}: {failed[0].reason}; stopped, as --on-error stop asks")
        return [output.writer.commit(output.results.values(), computed_by()) for output in outputs]


@lru_cache(maxsize=1)
def computed_by() -> dict[str, str]:
    """The versions of the libraries that features depend on, libsndfile's among them."""
    versions = {name: version(name) for name in _COMPUTED_BY}
    return {**versions, "libsndfile": soundfile.__libsndfile_version__}


class _Output:
    """A group in one store, while its slots are filled. largest: of the slot that is being filled."""

    def __init__(self, target: Target, writer: GroupWriter):
        self.specification, self.kind = target.specification, kind_of(target.specification)
        self.writer, self.largest = writer, 0.0
        self.results = {slot: result for slot, result in writer.kept.items() if slot not in target.again}

    def lacks(self, slot: Slot) -> bool:
        """Whether a slot has no result yet."""
        return slot.number not in self.results

    def begin(self, slot: Slot, digest: str) -> None:
        """Begin a slot; where its largest number cannot be worked with, that is its result."""
        try:
            self.kind.value(self.specification, self.largest)
        except ValueError as error:
            self.fail(slot, digest, f"cannot be featurized ({error})")
        else:
            self.writer.begin(slot.number)

    def append(self, block: np.ndarray) -> None:
        """Write the features of the slot's next block."""
        self.writer.append(self.kind.features(self.specification, block, self.largest))

    def end(self, slot: Slot, recording: Recording) -> None:
        """Note the result of a slot whose features are written."""
        length, checksum = self.writer.end()
        status = Status.TRUNCATED if recording.truncated else Status.OK
        status = status if length else Status.EMPTY
        self._note(slot, recording.digest, self.largest, status=status, length=length, checksum=checksum)

    def fail(self, slot: Slot, digest: str, reason: str, retry: bool = False) -> None:
        """Note why a slot has no features; an earlier result stays where the recording could not be read."""
        earlier = self.writer.kept.get(slot.number)
        if retry and earlier and earlier.status != Status.FAILED:
            self.results[slot.number] = replace(self.writer.restore(slot.number), reason=reason, retry=True)
            return
        self.writer.blank(slot.number)
        self._note(slot, digest, 0.0, status=Status.FAILED, reason=reason, retry=retry)

    def _note(self, slot: Slot, digest: str, largest: float, **result) -> None:
        self.results[slot.number] = SlotResult(
            slot=slot.number,
            digest=digest,
            value=self.kind.value(self.specification, largest),
            file=slot.file,
            size=slot.size,
            mtime_ns=slot.mtime_ns,
            native_rate=max(0, slot.header.native_rate),
            native_samples=slot.header.native_samples,
            **result,
        )


def _fetch(data: Storage, buffers: Buffers, slot: Slot) -> Recording | ReadError:
    """A slot's recording, opened; the error where it cannot be read."""
    try:
        if data.is_local:
            return Recording(data.path(slot.file), slot.header, buffers)
        found, look = data.read_with_look(slot.file)
        return Recording(found, slot.header, buffers, look.mtime_ns)
    except OSError as error:
        return ReadError.of(error)


def _fill(
    slot: Slot, recording: Recording | ReadError, outputs: list[_Output], on_sound: Callable[[float], None]
) -> None:
    """Decode a slot's recording once and write its features to each output."""
    digest = slot.digest
    try:
        if isinstance(recording, ReadError):
            raise recording
        with recording:
            digest, found = recording.digest, (recording.size, recording.mtime_ns)
            if digest != slot.digest if slot.digest else found != (slot.size, slot.mtime_ns):
                raise ReadError("changed since it was planned; touch it and run featurize again to take it in")
            trims = {output.specification.trim_db: None for output in outputs}
            for trim_db in trims:
                alike = [output for output in outputs if output.specification.trim_db == trim_db]
                _compute(slot, recording, trim_db, alike, lambda seconds: on_sound(seconds / len(trims)))
        return
    except (DecodeError, ReadError) as error:
        reason, retry = str(error), isinstance(error, ReadError)
    except (ValueError, RuntimeError) as error:
        reason, retry = f"cannot be featurized ({error})", False
    for output in outputs:
        if output.lacks(slot):
            output.fail(slot, digest, reason, retry)


def _compute(
    slot: Slot,
    recording: Recording,
    trim_db: float | None,
    outputs: list[_Output],
    on_sound: Callable[[float], None],
) -> None:
    """Write the features of outputs that trim alike: one pass for their largest numbers, one for the features."""
    output_of = {output.specification: output for output in outputs}
    passes = _passes(recording, trim_db, list(output_of), on_sound)
    for output in outputs:
        output.largest = 0.0
    for specification, block in passes():
        output = output_of[specification]
        output.largest = float(np.maximum(output.largest, largest(block)))  # keeps NaN
    for output in outputs:
        output.begin(slot, recording.digest)
    for specification, block in passes():
        if output_of[specification].lacks(slot):
            output_of[specification].append(block)
    for output in outputs:
        if output.lacks(slot):
            output.end(slot, recording)


def _passes(
    recording: Recording,
    trim_db: float | None,
    specifications: list[Specification],
    on_sound: Callable[[float], None],
) -> Callable[[], Iterable[tuple[Specification, np.ndarray]]]:
    """A function that goes through a recording and gives what `inputs` gives, each time it is called."""
    rate, n_samples = recording.sample_rate, recording.header.native_samples
    most_samples = max(n_samples, *(longest(n_samples, rate, wanted.sample_rate) for wanted in specifications))
    if most_samples <= LONG_SAMPLES:
        samples = recording.samples()
        if trim_db is not None:
            samples = samples[slice(*sounding([samples], trim_db))]
        whole = list(inputs([samples], rate, specifications))
        on_sound(n_samples / max(1, rate))
        return lambda: whole
    start, stop = (0, n_samples) if trim_db is None else sounding(recording.blocks(), trim_db)
    size = max(1, BLOCK_SAMPLES * n_samples // most_samples)

    def heard() -> Iterator[np.ndarray]:
        for block in recording.blocks():
            yield block
            on_sound(len(block) / rate / 2)  # of two passes

    return lambda: inputs(cut(heard(), start, stop, size), rate, specifications)
