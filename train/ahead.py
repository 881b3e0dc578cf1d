"""Reading ahead: batches are computed by threads while the net works on those before them."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Generic, TypeVar

Batch = TypeVar("Batch")


class ReadAhead(Generic[Batch]):
    """Call it with 0, 1, 2, ... and it has the next `depth` results of `get` at hand.

    Any other order gives the same results, only without the head start. Windows are cut by code that releases
    the GIL, so threads do.
    """

    def __init__(self, get: Callable[[int], Batch], stop: int | None = None, workers: int = 1, depth: int = 3):
        """get: a pure function of a batch's number. stop: how many there are. workers: threads, 0 for none."""
        self._get, self._stop, self._depth = get, stop, depth
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="batches") if workers else None
        self._futures: dict[int, Future[Batch]] = {}
        self._lock = Lock()

    def __call__(self, index: int) -> Batch:
        """The result of get(index); an error of get is raised here."""
        with self._lock:
            if self._pool is None:
                return self._get(index)
            wanted = range(index, self._last(index) + 1)
            self._futures = {i: self._futures.get(i) or self._pool.submit(self._get, i) for i in wanted}
            future = self._futures.pop(index)
        return future.result()

    def close(self) -> None:
        """Let go of the threads and of what was read ahead; calls after this compute what they are asked for."""
        with self._lock:
            pool, self._pool = self._pool, None
            self._futures.clear()
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)

    def _last(self, index: int) -> int:
        last = index + self._depth
        return last if self._stop is None else max(index, min(last, self._stop - 1))
