"""Jobs on a Dask cluster: what its workers must find as this process does, so that they write the same bytes.

A worker that was cut off may still be at its job when another one has it, or even after the run: before a job
begins, and again before it writes, its worker looks whether the cache is still this run's.

Same bytes are promised among workers with the same versions of libraries, the same code of ours and the same
processor: the mel kernel is compiled for the processor that it runs on, and BLAS and NumPy choose theirs by it, so
another one gives other last bits. Each worker compares all of these with the process that runs the command; one
that differs ends the run.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import xxhash
from distributed import get_worker
from llvmlite.binding import get_host_cpu_features, get_host_cpu_name
from threadpoolctl import threadpool_limits

from cache.lock import Hold
from cache.storage import CacheError, Storage
from common.on_dask import Cluster, ClusterError
from common.text import listed
from featurize.job import Job, computed_by


def run_on_cluster(
    cluster: Cluster, function: Callable, jobs: Sequence[Job], hold: Hold, data: Storage
) -> Iterator[Job]:
    """Call function(job, before_commit=...) on a worker for each job, and yield the jobs as they end.

    Args:
        hold: of the cache, which this process writes. data: the dataset. Both with absolute paths.
    Raises:
        ClusterError: as `Cluster.run`, or a worker does not find what it must. Else what a job raises.
    """
    recording = jobs[0].slots[0].file if jobs else ""
    on_worker = partial(_on_worker, function, Terms.of(hold, data, recording))
    for job, _ in cluster.run(on_worker, jobs, _name):
        yield job


@dataclass(frozen=True)
class Terms:
    """What a worker must find as this process does: its hold of the cache, the dataset, what bytes depend on.

    n_bytes: of one recording of the dataset.
    """

    hold: Hold
    data: Storage
    recording: str
    n_bytes: int | None
    depends_on: dict[str, str]

    @classmethod
    def of(cls, hold: Hold, data: Storage, recording: str) -> "Terms":
        """The terms of a run, as this process sees its cache and dataset."""
        return cls(hold, data, recording, _n_bytes(data, recording), bytes_depend_on())

    def check(self, worker: str) -> None:
        """Compare with what a worker sees; raises ClusterError, one line that says what differs."""
        self.check_hold(worker)
        if _n_bytes(self.data, self.recording) != self.n_bytes:
            raise ClusterError(
                f"worker {worker}: the dataset must be at {self.data} as here, got another or none; "
                "put it on a disk that all workers share"
            )
        here, there = self.depends_on, bytes_depend_on()
        found = [
            f"{name} {there.get(name, 'none')} (here {here.get(name, 'none')})"
            for name in here | there
            if here.get(name) != there.get(name)
        ]
        if found:
            raise ClusterError(
                f"worker {worker}: computes other bytes than this process may, got {listed(found)}; "
                "use workers with the same libraries, code and processor"
            )

    def check_hold(self, worker: str) -> None:
        """Whether a worker sees this run as the one that writes the cache; raises ClusterError if not."""
        try:
            self.hold.check()
        except CacheError as error:
            raise ClusterError(
                f"worker {worker}: the cache must be at {self.hold.storage} as here, got another or none, or one "
                "that this run does not hold any more; put it on a disk that all workers share"
            ) from error


@lru_cache(maxsize=1)
def bytes_depend_on() -> dict[str, str]:
    """What a chunk's bytes depend on beside recordings: versions of libraries, our code, and the processor.

    The processor's name and instruction sets are those that numba compiles for.
    """
    digest, root = xxhash.xxh3_64(), Path(__file__).resolve().parents[1]
    for path in sorted(path for package in ("cache", "featurize") for path in (root / package).rglob("*.py")):
        digest.update(path.read_bytes())
    has = {name: "yes" for name, has in sorted(get_host_cpu_features().items()) if has}
    return {**computed_by(), "earmark's code": digest.hexdigest()[:8], "processor": get_host_cpu_name(), **has}


def _n_bytes(data: Storage, recording: str) -> int | None:
    found = data.look(recording)
    return found and found.size


def _on_worker(function: Callable, terms: Terms, job: Job) -> None:
    worker = get_worker().address
    terms.check(worker)
    threadpool_limits(1)  # for good: another thread of this worker may be at a job when this one ends
    function(job, before_commit=lambda: terms.check_hold(worker))


def _name(job: Job) -> str:
    first, last = job.slots[0].file, job.slots[-1].file
    return first if len(job.slots) == 1 else f"the {len(job.slots)} clips from {first} to {last}"
