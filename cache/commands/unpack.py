"""`python -m cache unpack PACKED TARGET`."""

import shutil
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from tyro.conf import Positional, arg

from cache.errors import CacheError
from cache.packing.pack import unpack, unpacked_bytes
from cache.packing.whole_folder import whole_folder
from cache.places import place
from cache.progress import reading_progress

if TYPE_CHECKING:
    from cache.places import Place


@dataclass(frozen=True)
class Unpack:
    """Make a cache of what `pack` wrote: the same files, every chunk checked against its receipt."""

    packed: Annotated[Positional[str], arg(metavar="PACKED")] = tyro.MISSING
    """The package's folder, or s3://BUCKET/PREFIX."""
    target: Annotated[Positional[str], arg(metavar="TARGET")] = tyro.MISSING
    """Folder of the cache to make, for example work/cache; it must not be there yet."""

    def folder(self) -> "Place":
        """The folder that the command is about."""
        return place(self.target)

    def run(self) -> Generator[str, None, int]:
        """Unpack, and say size and speed."""
        package = place(self.packed)
        n_bytes = unpacked_bytes(package)
        with whole_folder(self.folder()) as folder:
            _check_space(self.target, folder, n_bytes)
            started = time.monotonic()
            with reading_progress("unpack", n_bytes) as advance_to:
                unpack(package, folder, advance_to)
        speed = n_bytes / 1e6 / (time.monotonic() - started)
        yield f"{self.target}: {n_bytes / 1e6:,.1f} MB unpacked and checked, {speed:,.0f} MB/s"
        return 0


def _check_space(target: str, folder: Path, n_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        raise CacheError(
            f"{target}: free disk must be at least {n_bytes / 1e6:,.1f} MB, got {free / 1e6:,.1f} MB; free some"
        )
