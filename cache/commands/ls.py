"""`python -m cache ls`."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from cache.commands.where import Where
from cache.errors import CacheError
from cache.files import folder_bytes
from cache.fold import read_receipts
from cache.folder import Cache, open_cache
from cache.receipts import Status
from cache.store import Store


@dataclass(frozen=True)
class Ls(Where):
    """List the stores: clips done, size, whether complete."""

    def run(self) -> Generator[str, None, int]:
        """A line for each store."""
        cache = open_cache(self.folder())
        splits = cache.clips["split"].value_counts()
        yield f"{cache.path}: {splits.get('train', 0)} labelled and {splits.get('test', 0)} unlabelled clips"
        yield f"{'store':<28} {'clips':>9} {'missing':>9} {'failed':>7} {'MB':>10}  state"
        for path in cache.store_paths():
            yield _row(cache, path)
        return 0


def _row(cache: Cache, path: Path) -> str:
    megabytes = f"{folder_bytes(path) / 1e6:.1f}"
    try:
        store = Store(path)
    except CacheError as error:
        return f"{path.name:<28} {'-':>9} {'-':>9} {'-':>7} {megabytes:>10}  refused: {error}"
    status = cache.status(read_receipts(path))
    done, missing, failed = ((status != Status.PENDING), (status == Status.PENDING), (status == Status.FAILED))
    state = "incomplete: run featurize" if len(cache.missing(store)) else "complete"
    return f"{path.name:<28} {done.sum():>9} {missing.sum():>9} {failed.sum():>7} {megabytes:>10}  {state}"
