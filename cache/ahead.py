"""Many small pieces of work in their order; where each waits for a bucket, threads work ahead.

On a disk a read is quick, and one after another is simplest. In a bucket each is a round trip of tens of
milliseconds, so that one after another would leave the network idle.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from cache.places import on_disk

if TYPE_CHECKING:
    from cache.places import Place

Item, Result = TypeVar("Item"), TypeVar("Result")
THREADS = 16


def each(
    function: Callable[[Item], Result], items: Iterable[Item], place: "Place", threads: int = THREADS
) -> Iterator[Result]:
    """What function gives for each item, in order, as `map` does; what it raises comes when its turn comes.

    Args:
        place: where the items lie. threads: results that may wait to be taken, at most, if that is a bucket.
    """
    return map(function, items) if on_disk(place) else _ahead(function, items, threads)


def _ahead(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    pool, waiting = ThreadPoolExecutor(threads), deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) == threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
