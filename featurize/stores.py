"""Which stores a run brings up to date: those that serve what is asked, and all others of the cache."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cache.errors import DamagedError
from cache.fold import begun_with, bring_up_to_date, read_receipts, store_files
from cache.folder import Cache
from cache.receipts import receipts_folder
from cache.results import Results
from cache.specification import Specification
from cache.store import known_specification, read_specification
from featurize.page import computed_by


@dataclass(eq=False)
class StoreWork:
    """A store to bring up to date: asked for or not, its receipts so far, the versions it was begun with."""

    path: Path
    specification: Specification
    asked: bool
    receipts: Results
    versions: dict[str, str]

    def read_again(self) -> None:
        """Read the receipts as the jobs have left them."""
        self.receipts = read_receipts(self.path)
        self.versions = begun_with(self.receipts) or self.versions

    def fold(self, plan: pd.DataFrame, durable: bool = False) -> None:
        """Write what the receipts change in the store's other files; durable: as in `write_atomic`."""
        bring_up_to_date(self.path, store_files(plan, self.specification, self.receipts, self.versions), durable)


def stores_to_update(cache: Cache, specifications: Sequence[Specification]) -> list[StoreWork]:
    """The stores that serve the specifications, made up where there is none, then the cache's others.

    Since a job decodes a group's clips once for every store that lacks it, the others cost little.

    Raises:
        CacheError: an asked store is foreign, newer, or not what its name says.
    """
    there = {path: known_specification(path) for path in cache.store_paths()}
    asked: dict[Path, Specification] = {}
    for specification in specifications:
        own = cache.path / specification.name
        serving = [path for path, found in there.items() if found and found.serves(specification)]
        if own in there and own not in serving:
            _check_mendable(own)
        path = own if own in there or not serving else serving[0]
        asked[path] = there.get(path) or specification
    others = {path: found for path, found in there.items() if found and path not in asked}
    return [_work(path, specification, path in asked) for path, specification in (asked | others).items()]


def _check_mendable(path: Path) -> None:
    """A store of ours whose metadata is missing or damaged is mended: its name says what it was."""
    try:
        read_specification(path)
    except DamagedError:
        if (path / "zarr.json").exists() and not receipts_folder(path).is_dir():
            raise


def _work(path: Path, specification: Specification, asked: bool) -> StoreWork:
    receipts = read_receipts(path)
    return StoreWork(path, specification, asked, receipts, begun_with(receipts) or computed_by())
