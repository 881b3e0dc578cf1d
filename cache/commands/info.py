"""`python -m cache info STORE`."""

import json
from collections.abc import Generator
from dataclasses import asdict, dataclass
from typing import Annotated

import tyro
from tyro.conf import Positional, arg

from cache.commands.where import Where, store_path
from cache.compaction.waste import find_waste
from cache.files import folder_bytes
from cache.fold import read_receipts
from cache.folder import Cache, open_cache
from cache.receipts import Status
from cache.store import Store


@dataclass(frozen=True)
class Info(Where):
    """Say everything about one store, as JSON; what `wasted` holds, `compact` wins back."""

    store: Annotated[Positional[str], arg(metavar="STORE")] = tyro.MISSING
    """Name of the store, for example raw-16000.zarr."""

    def run(self) -> Generator[str, None, int]:
        """The store's attributes and counts."""
        cache = open_cache(self.folder())
        store = Store(store_path(cache, self.store))
        slots = cache.clips["slot"].to_numpy()
        status = store.status[slots[slots < len(store.status)]]
        facts = {
            "path": str(store.path),
            **store.attributes,
            "clips": {s.name.lower(): int((status == s).sum()) for s in Status},
            "missing": len(cache.missing(store)),
            "chunks": store.n_chunks,
            "bytes": folder_bytes(store.path),
            "wasted": asdict(find_waste(cache, store)),
            "failed": _failed(cache, store),
        }
        yield json.dumps(facts, indent=2, ensure_ascii=False)
        return 0


def _failed(cache: Cache, store: Store) -> dict[str, str]:
    clip_of = dict(zip(cache.clips["slot"], cache.clips["clip"], strict=True))
    results = (result for receipt in read_receipts(store.path).values() for result in receipt.slots)
    return {clip_of[r.slot]: r.reason for r in results if r.status == Status.FAILED and r.slot in clip_of}
