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
from cache.results import Results
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
        receipts = read_receipts(store.path)
        status = cache.status(receipts)
        facts = {
            "path": str(store.path),
            **store.attributes,
            "receipts": {"n": len(receipts), "checksum": receipts.checksum},
            "clips": {s.name.lower(): int((status == s).sum()) for s in Status},
            "missing": int((status == Status.PENDING).sum()),
            "chunks": store.n_chunks,
            "chunks_done": sum(len(receipt.checksums) for receipt in receipts.values()),
            "bytes": folder_bytes(store.path),
            "wasted": asdict(find_waste(cache, store, receipts)),
            "failed": _failed(cache, receipts),
        }
        yield json.dumps(facts, indent=2, ensure_ascii=False)
        return 0


def _failed(cache: Cache, receipts: Results) -> dict[str, str]:
    clip_of = dict(zip(cache.clips["slot"], cache.clips["clip"], strict=True))
    results = (result for receipt in receipts.values() for result in receipt.slots)
    return {clip_of[r.slot]: r.reason for r in results if r.status == Status.FAILED and r.slot in clip_of}
