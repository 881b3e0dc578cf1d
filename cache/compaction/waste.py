"""Space that a store takes without holding a clip: slots that no clip refers to, and padding of chunks."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cache.files import folder_bytes
from cache.folder import Cache
from cache.plan import n_chunks, pack
from cache.results import Results
from cache.store import Store


@dataclass(frozen=True)
class Waste:
    """Slots that no clip refers to, their bytes, the bytes of padding, and the bytes that compacting wins back."""

    slots: int
    slot_bytes: int
    padding_bytes: int
    compact_wins_bytes: int


def find_waste(cache: Cache, store: Store, receipts: Results) -> Waste:
    """What a store wastes, by its receipts, folded yet or not."""
    length = receipts.column("length")
    live = np.isin(receipts.column("slot"), cache.clips["slot"].to_numpy())
    there = folder_bytes(store.path / "features" / "c")
    item = store.specification.item_bytes
    needed = store.specification.chunk_bytes * n_chunks(dense_plan(cache))
    return Waste(
        slots=int((~live).sum()),
        slot_bytes=item * int(length[~live].sum()),
        padding_bytes=there - item * int(length.sum()),
        compact_wins_bytes=max(0, there - needed),
    )


def dense_plan(cache: Cache) -> pd.DataFrame:
    """The plan that a cache built from nothing would have: the clips' slots alone, packed in the table's order."""
    plan = cache.plan.iloc[cache.clips["slot"].to_numpy()].reset_index(drop=True)
    return plan.assign(group=pack(plan["native_samples"].to_numpy(), plan["native_rate"].to_numpy(), 0))
