"""`python -m cache compact`."""

import shutil
from collections.abc import Generator
from dataclasses import dataclass

from cache.clips import FILE_NAME
from cache.commands.where import Where
from cache.compaction.compact import Compaction, compact, plan_compaction
from cache.compaction.switch import is_switching, switching
from cache.errors import CacheError
from cache.folder import Cache
from cache.lock import writing
from cache.mend import make_ready
from cache.places import require_disk
from cache.progress import reading_progress


@dataclass(frozen=True)
class Compact(Where):
    """Win back the space of recordings that changed or left, and of chunks that are nearly empty.

    Copies features, decodes nothing, and needs no recordings; all stores are rewritten beside the old ones, so it
    takes as much free space as they need afterwards. A compaction that is stopped, or killed, leaves the old cache
    or is finished by the next one. What reads the cache meanwhile, a training say, stops with an error. Predictions
    folders note which stores they were made from: those of before cannot be added to afterwards.
    """

    def run(self) -> Generator[str, None, int]:
        """Compact, and say what was won."""
        folder = self.folder()
        require_disk(folder, "be compacted")
        if not (folder / FILE_NAME).is_file() and not is_switching(folder):
            raise CacheError(f"{folder}: no cache here; run `python -m featurize` first")
        with writing(folder):
            make_ready(folder)
            compaction = plan_compaction(Cache(folder))
            if compaction.bytes_after >= compaction.bytes_before:
                yield f"{folder}: nothing to win, {_megabytes(compaction.bytes_before)} are packed densely"
                return 0
            _check_space(compaction)
            with switching(folder) as built, reading_progress("compact", compaction.bytes_after) as advance_to:
                compact(compaction, built, advance_to)
        won = compaction.bytes_before - compaction.bytes_after
        before, after = _megabytes(compaction.bytes_before), _megabytes(compaction.bytes_after)
        yield f"{folder}: {_megabytes(won)} won, {before} before, {after} now"
        return 0


def _check_space(compaction: Compaction) -> None:
    free = shutil.disk_usage(compaction.cache.path).free
    if free < compaction.bytes_after:
        raise CacheError(
            f"{compaction.cache.path}: free disk must be at least {_megabytes(compaction.bytes_after)}, "
            f"got {_megabytes(free)}; free some, the old form is removed only when the new one is whole"
        )


def _megabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.1f} MB"
