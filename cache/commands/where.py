"""Where the cache of a command lies, and which of its stores is meant."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg

from cache.errors import CacheError
from cache.folder import Cache
from cache.places import place

if TYPE_CHECKING:
    from cache.places import Place


@dataclass(frozen=True)
class Where:
    """The arguments that all commands on a cache share."""

    work: Path = Path("work")
    """Folder of everything that is generated."""
    cache: Annotated[str | None, arg(metavar="PATH", help_behavior_hint="(default: WORK/cache)")] = None
    """Folder of the cache, or s3://BUCKET/PREFIX."""

    def folder(self) -> "Place":
        """The cache's folder.

        Raises:
            PlaceError: no such place, or a bucket that cannot be reached.
        """
        return place(self.cache or self.work / "cache")


def store_path(cache: Cache, name: str) -> Path:
    """A store's folder by its name, with or without `.zarr`.

    Raises:
        CacheError: there is none of that name.
    """
    paths = {path.name: path for path in cache.store_paths()}
    path = paths.get(name) or paths.get(f"{name}.zarr")
    if path is None:
        there = ", ".join(paths) or "none"
        raise CacheError(f"{cache.path}: store must be one of those there ({there}), got {name!r}")
    return path
