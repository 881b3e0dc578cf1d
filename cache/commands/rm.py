"""`python -m cache rm STORE`."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Annotated

import tyro
from tyro.conf import Positional, arg

from cache.commands.where import Where, store_path
from cache.files import remove_folder
from cache.folder import Cache
from cache.lock import writing
from cache.receipts import receipts_folder


@dataclass(frozen=True)
class Rm(Where):
    """Remove one store and its receipts; the recordings and other stores are not touched."""

    store: Annotated[Positional[str], arg(metavar="STORE")] = tyro.MISSING
    """Name of the store."""

    def run(self) -> Generator[str, None, int]:
        """Remove the receipts first, so that a removal broken off leaves nothing that looks done."""
        cache = Cache(self.folder())
        path = store_path(cache, self.store)
        with writing(cache.path):
            if receipts_folder(path).exists():
                remove_folder(receipts_folder(path))
            remove_folder(path)
        yield f"{path}: removed"
        return 0
