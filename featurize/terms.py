"""What a worker of a cluster must meet: it sees the same cache and dataset, and computes the same bytes."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import xxhash

from cache.lock import holder
from cache.places import on_disk
from featurize.engine import ClusterError
from featurize.page import computed_by

if TYPE_CHECKING:
    from cache.places import Place


@dataclass(frozen=True)
class Terms:
    """What a worker must find: this run as the cache's writer, the dataset's CSV, and this process's versions."""

    cache: "Place"
    holder: str
    csv: "Place"
    csv_bytes: int
    versions: dict[str, str]

    @classmethod
    def of(cls, cache: "Place", data: "Place") -> "Terms":
        """The terms of a run that holds the cache for writing, as this process sees cache and dataset."""
        csv = absolute(data / "train.csv")
        return cls(absolute(cache), holder(cache), csv, csv.stat().st_size, versions())

    def check(self, worker: str) -> None:
        """Compare with what a worker sees.

        Raises:
            ClusterError: something differs; one line that says what.
        """
        self.check_holder(worker)
        if not self.csv.is_file() or self.csv.stat().st_size != self.csv_bytes:
            raise ClusterError(
                f"worker {worker}: the dataset must be at {self.csv.parent} as here, got another or none; "
                "put it on a disk that all workers share"
            )
        found = versions()
        for name, expected in self.versions.items():
            if found.get(name) != expected:
                raise ClusterError(
                    f"worker {worker}: {name} must be {expected} as here, or bytes may differ, got "
                    f"{found.get(name)}; install the same there"
                )

    def check_holder(self, worker: str) -> None:
        """Whether a worker sees this run as the one that writes the cache.

        Raises:
            ClusterError: it does not, or the run has ended.
        """
        if holder(self.cache) != self.holder:
            raise ClusterError(
                f"worker {worker}: the cache must be at {self.cache} as here, got another or none; "
                "put it on a disk that all workers share"
            )


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """What a chunk's bytes depend on beside the recordings: the libraries' versions, and a digest of our code."""
    digest = xxhash.xxh3_64()
    root = Path(__file__).resolve().parents[1]
    for path in sorted(path for package in ("cache", "featurize") for path in (root / package).glob("*.py")):
        digest.update(path.read_bytes())
    return {**computed_by(), "earmark": f"code {digest.hexdigest()[:8]}"}


def absolute(place: "Place") -> "Place":
    """The place, not depending on the working directory."""
    return place.absolute() if on_disk(place) else place
