"""A page: one group's chunks in one store, while its slots are being filled.

A slot that fails leaves zeros in its place and its reason among the results. A page that an earlier run has
committed but for some slots (an I/O error, say) is opened with the bytes of the others, whose recordings need
not be there any more.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import soundfile

from cache.files import write_atomic
from cache.receipts import Receipt, SlotResult, Status, checksum, write_receipt
from cache.specification import Specification
from cache.zarr_files import feature_chunk_key
from featurize.decode import DecodeError
from featurize.logmel import extract_logmel
from featurize.mfcc import extract_mfcc
from featurize.raw import extract_raw
from featurize.waveform import Blocks, Waveform

# A kind of feature computes with one function: (waveform, specification, out) -> (length, value by slot).
EXTRACTORS: dict[str, Callable] = {"raw": extract_raw, "mfcc": extract_mfcc, "logmel": extract_logmel}
_COMPUTED_BY = ("librosa", "numba", "numpy", "scipy", "soundfile", "soxr")
_NOTHING = Waveform(np.empty(0, np.float32), 1)


@dataclass(frozen=True)
class Target:
    """A store that lacks a group: where it is, and the receipt of an earlier run that did a part of the group."""

    store: Path
    specification: Specification
    part: Receipt | None = None


class Page:
    """The features of a group in one store: `fill` or `fail` each slot, then `commit`."""

    def __init__(self, target: Target, group: int, n_chunks: int):
        self.target, self.group, self.n_chunks = target, group, n_chunks
        self.results: dict[int, SlotResult] = {}
        specification = target.specification
        self.features = np.zeros(
            (n_chunks * specification.chunk_length, *specification.item_shape), specification.dtype
        )
        if target.part:
            self._keep(target.part)

    def fill(self, slot: int, digest: str, place: slice, waveform: Blocks) -> None:
        """Compute a slot's features into its place, a slice along time; failing that, fail it.

        Raises:
            DecodeError, OSError: a long recording turns out not to be one, or cannot be read.
        """
        out = self.features[place]
        specification = self.target.specification
        try:
            part = waveform.trimmed(specification.trim_db)
            length, value = EXTRACTORS[specification.kind](part, specification, out)
        except DecodeError:
            raise
        except (ValueError, RuntimeError) as error:
            self.fail(slot, digest, place, f"cannot be featurized ({error})")
            return
        status = Status.TRUNCATED if waveform.truncated else Status.OK
        self.results[slot] = SlotResult(slot, digest, status if length else Status.EMPTY, length, value)

    def fail(self, slot: int, digest: str, place: slice, reason: str, retry: bool = False) -> None:
        """Leave silence in a slot's place and note why."""
        self.features[place] = 0
        specification = self.target.specification
        _, value = EXTRACTORS[specification.kind](_NOTHING, specification, self.features[:0])
        self.results[slot] = SlotResult(slot, digest, Status.FAILED, 0, value, reason, retry)

    def commit(self, durable: bool = False) -> Receipt:
        """Write the chunks, then the receipt that makes them count; durable: as in `write_atomic`.

        Raises:
            OSError: something could not be written.
        """
        checksums = []
        for chunk, features in zip(self._chunk_paths(), np.split(self.features, self.n_chunks), strict=True):
            data = memoryview(features).cast("B")
            write_atomic(chunk, data, durable)
            checksums.append(checksum(data))
        results = tuple(self.results[slot] for slot in sorted(self.results))
        receipt = Receipt(self.group, tuple(checksums), results, computed_by())
        write_receipt(self.target.store, receipt, durable)
        return receipt

    def _keep(self, part: Receipt) -> None:
        """Take over the chunks and results of an earlier run, if the chunks are sound."""
        try:
            chunks = [path.read_bytes() for path in self._chunk_paths()]
        except OSError:
            return
        if tuple(checksum(chunk) for chunk in chunks) == part.checksums:
            self.features[:] = np.frombuffer(b"".join(chunks), self.features.dtype).reshape(self.features.shape)
            self.results = {result.slot: result for result in part.slots if not result.retry}

    def _chunk_paths(self) -> list[Path]:
        chunks = range(self.group, self.group + self.n_chunks)
        return [self.target.store / feature_chunk_key(self.target.specification, chunk) for chunk in chunks]


@lru_cache(maxsize=1)
def computed_by() -> dict[str, str]:
    """The versions of the libraries that features depend on, libsndfile's among them."""
    versions = {name: version(name) for name in _COMPUTED_BY}
    return {**versions, "libsndfile": soundfile.__libsndfile_version__}
