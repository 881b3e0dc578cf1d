"""`python -m cache verify [STORE]`."""

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from cache.clips import FILE_NAME
from cache.commands.where import Where, store_path
from cache.errors import CacheError
from cache.files import folder_bytes
from cache.lock import writing
from cache.progress import reading_progress
from cache.tables import copy_path
from cache.verification.findings import Finding
from cache.verification.stores import verify_store, withdraw_bad
from cache.verification.tables import CacheToVerify, verify_tables

_NAMED = 8  # clips that a line names before it only counts


@dataclass(frozen=True)
class Verify(Where):
    """Compare every byte with its checksum; the next featurize repairs what is bad.

    Reads clip table and plan, the chunks, receipts and metadata of all stores, and names what is damaged, missing
    or extra, with the clips it concerns. Exit code 1 if there is anything of the kind.
    """

    store: Annotated[Positional[str], arg(metavar="STORE", help_behavior_hint="(default: all)")] = ""
    """Name of the store."""

    def run(self) -> Generator[str, None, int]:
        """What is bad, a line each, with verdicts for the tables and each store; bad receipts are withdrawn."""
        cache = CacheToVerify(self.folder())
        table = cache.path / FILE_NAME
        if not table.exists() and not copy_path(table).exists() and not cache.store_paths():
            raise CacheError(f"{cache.path}: no cache here; run `python -m featurize` first")
        paths = [store_path(cache, self.store)] if self.store else cache.store_paths()
        findings = list(verify_tables(cache.path))
        yield from _lines("tables", findings)
        code = int(bool(findings))
        for path in paths:
            code |= yield from _verify_one(cache, path)
        return code


def _verify_one(cache: CacheToVerify, path: Path) -> Generator[str, None, int]:
    try:
        findings = _findings(cache, path)
    except CacheError as error:
        yield f"{path.name}: refused: {error}"
        return 1
    *named, verdict = _lines(path.name, findings)
    yield from named
    if any(finding.group is not None for finding in findings):
        with writing(cache.path):
            withdraw_bad(path, findings)
    yield verdict
    return int(bool(findings))


def _findings(cache: CacheToVerify, path: Path) -> list[Finding]:
    findings = []
    with reading_progress(path.name, folder_bytes(path)) as advance_to:
        for found in verify_store(cache, path):
            if isinstance(found, Finding):
                findings.append(found)
            else:
                advance_to(found)
    return findings


def _lines(name: str, findings: list[Finding]) -> Iterable[str]:
    for finding in findings:
        more = f" and {len(finding.clips) - _NAMED:,} more" if len(finding.clips) > _NAMED else ""
        clips = f": {', '.join(finding.clips[:_NAMED])}{more}" if finding.clips else ""
        yield f"{finding.path}: {finding.what}{clips}"
    yield f"{name}: {_verdict(findings)}"


def _verdict(findings: list[Finding]) -> str:
    if not findings:
        return "ok"
    if any(finding.planless for finding in findings):
        return "BAD, featurize refuses the cache until its plan.parquet is restored"
    if all(finding.extra for finding in findings):
        return "sound, but for the extra files named"
    if all(finding.incomplete or finding.extra for finding in findings):
        return "incomplete, run the same featurize again to go on"
    return "BAD, run the same featurize again to repair"
