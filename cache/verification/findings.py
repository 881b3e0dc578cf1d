"""What verification finds."""

from dataclasses import dataclass
from pathlib import Path

AGAIN = "the next featurize writes it again"


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be: where, what, and the clips it concerns.

    group: the one to make again. incomplete: nothing is damaged, a run broke off. extra: a file that is in nobody's
    way. planless: no sound plan is left, without which featurize refuses the cache.
    """

    path: Path
    what: str
    clips: tuple[str, ...] = ()
    group: int | None = None
    incomplete: bool = False
    extra: bool = False
    planless: bool = False
