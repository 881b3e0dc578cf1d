"""`python -m cache pack STORE TARGET | --all TARGET`."""

import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from cache.commands.where import Where, store_path
from cache.errors import CacheError
from cache.files import folder_bytes
from cache.folder import open_cache
from cache.lock import writing
from cache.packing.pack import pack
from cache.packing.whole_folder import whole_folder
from cache.places import place
from cache.progress import reading_progress


@dataclass(frozen=True)
class Pack(Where):
    """Write a compressed copy of stores, with clip table, plan and receipts, that can be sent elsewhere.

    The copy is valid Zarr, which zarr-python, TensorStore and xarray open; `unpack` makes the mapped form of it.
    """

    names: Annotated[
        Positional[tuple[str, ...]], arg(metavar="[STORE ...] TARGET", help_behavior_hint="(required)")
    ] = ()
    """Names of the stores, and the folder to write, which must not be there yet."""
    all: bool = False
    """Pack all stores of the cache; give TARGET alone."""

    def run(self) -> Generator[str, None, int]:
        """Pack, and say sizes, ratio and speed."""
        if not self.names or self.all == (len(self.names) > 1):
            given = " ".join(self.names) or "none"
            raise CacheError(f"pack: must name stores and TARGET, or --all and TARGET, got {given}; see --help")
        *names, target = self.names
        cache = open_cache(self.folder())
        paths = cache.store_paths() if self.all else [store_path(cache, name) for name in names]
        with writing(cache.path), whole_folder(place(target)) as folder:
            started, before = time.monotonic(), sum(folder_bytes(path / "features" / "c") for path in paths)
            with reading_progress("pack", before) as advance_to:
                pack(cache, paths, folder, advance_to)
            after = sum(folder_bytes(folder / path.name / "features" / "c") for path in paths)
        packed = ", ".join(path.name for path in paths)
        yield (
            f"{target}: {packed} packed, {before / 1e6:,.1f} MB to {after / 1e6:,.1f} MB "
            f"(ratio {before / max(1, after):.2f}), {before / 1e6 / (time.monotonic() - started):,.0f} MB/s"
        )
        return 0
