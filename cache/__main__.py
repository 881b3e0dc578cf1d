"""`python -m cache ls | info STORE | verify [STORE] | rm STORE`."""

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional, arg, subcommand

from cache.errors import CacheError
from cache.files import folder_bytes
from cache.fold import read_receipts
from cache.folder import Cache, open_cache
from cache.lock import writing
from cache.progress import reading_progress
from cache.receipts import Status, receipts_folder
from cache.store import Store
from cache.verify import Finding, verify_store, withdraw_bad


@dataclass(frozen=True)
class _Where:
    work: Path = Path("work")
    """Folder of everything that is generated."""
    cache: Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="(default: WORK/cache)")] = None
    """Folder of the cache."""

    def folder(self) -> Path:
        return self.cache or self.work / "cache"


@dataclass(frozen=True)
class Ls(_Where):
    """List the stores: clips done, size, whether complete."""


@dataclass(frozen=True)
class Info(_Where):
    """Say everything about one store, as JSON."""

    store: Positional[str] = tyro.MISSING
    """Name of the store, for example raw-16000.zarr."""


@dataclass(frozen=True)
class Verify(_Where):
    """Read every chunk again and compare it with its checksum; the next featurize repairs what is bad."""

    store: Positional[str] = ""
    """Name of the store (default: all stores)."""


@dataclass(frozen=True)
class Rm(_Where):
    """Remove one store and its receipts; the recordings and other stores are not touched."""

    store: Positional[str] = tyro.MISSING
    """Name of the store."""


def ls(command: Ls) -> int:
    """Print a line for each store."""
    cache = open_cache(command.folder())
    splits = cache.clips["split"].value_counts()
    print(f"{cache.path}: {splits.get('train', 0)} labelled and {splits.get('test', 0)} unlabelled clips")
    print(f"{'store':<28} {'clips':>9} {'missing':>9} {'failed':>7} {'MB':>10}  state")
    for path in cache.store_paths():
        print(_ls_row(cache, path))
    return 0


def _ls_row(cache: Cache, path: Path) -> str:
    megabytes = f"{folder_bytes(path) / 1e6:.1f}"
    try:
        store = Store(path)
    except CacheError as error:
        return f"{path.name:<28} {'-':>9} {'-':>9} {'-':>7} {megabytes:>10}  refused: {error}"
    missing = len(cache.missing(store))
    slots = cache.clips["slot"].to_numpy()
    failed = int((store.status[slots[slots < len(store.status)]] == Status.FAILED).sum())
    state = "incomplete: run featurize" if missing else "complete"
    return f"{path.name:<28} {len(slots) - missing:>9} {missing:>9} {failed:>7} {megabytes:>10}  {state}"


def info(command: Info) -> int:
    """Print a store's attributes and counts."""
    cache = open_cache(command.folder())
    store = Store(_store_path(cache, command.store))
    slots = cache.clips["slot"].to_numpy()
    status = store.status[slots[slots < len(store.status)]]
    facts = {
        "path": str(store.path),
        **store.attributes,
        "clips": {s.name.lower(): int((status == s).sum()) for s in Status},
        "missing": len(cache.missing(store)),
        "chunks": store.n_chunks,
        "bytes": folder_bytes(store.path),
        "failed": _failed(cache, store),
    }
    print(json.dumps(facts, indent=2, ensure_ascii=False))
    return 0


def _failed(cache: Cache, store: Store) -> dict[str, str]:
    clip_of = dict(zip(cache.clips["slot"], cache.clips["clip"], strict=True))
    results = (result for receipt in read_receipts(store.path).values() for result in receipt.slots)
    return {clip_of[r.slot]: r.reason for r in results if r.status == Status.FAILED and r.slot in clip_of}


def verify(command: Verify) -> int:
    """Check stores, print what is bad, and withdraw the receipts of bad chunks."""
    cache = open_cache(command.folder())
    paths = [_store_path(cache, command.store)] if command.store else cache.store_paths()
    _ = cache.plan  # its damage is no store's
    return max([_verify_one(cache, path) for path in paths], default=0)


def _verify_one(cache: Cache, path: Path) -> int:
    try:
        findings = _findings(cache, path)
    except CacheError as error:
        print(f"{path.name}: refused: {error}")
        return 1
    for finding in findings:
        clips = f": {', '.join(finding.clips)}" if finding.clips else ""
        print(f"{finding.path}: {finding.what}{clips}")
    if any(finding.group is not None for finding in findings):
        with writing(cache.path):
            withdraw_bad(path, findings)
    print(f"{path.name}: {_verdict(findings)}")
    return 1 if findings else 0


def _verdict(findings: list[Finding]) -> str:
    if not findings:
        return "ok"
    if all(finding.what.startswith("incomplete") for finding in findings):
        return "incomplete, run the same featurize again to go on"
    return "BAD, run the same featurize again to repair"


def _findings(cache: Cache, path: Path) -> list[Finding]:
    findings = []
    with reading_progress(path.name, folder_bytes(path)) as advance_to:
        for found in verify_store(cache, path):
            if isinstance(found, Finding):
                findings.append(found)
            else:
                advance_to(found)
    return findings


def rm(command: Rm) -> int:
    """Remove a store: its receipts first, so that a removal broken off leaves nothing that looks done."""
    cache = Cache(command.folder())
    path = _store_path(cache, command.store)
    with writing(cache.path):
        if receipts_folder(path).exists():
            shutil.rmtree(receipts_folder(path))
        shutil.rmtree(path)
    print(f"{path}: removed")
    return 0


def _store_path(cache: Cache, name: str) -> Path:
    paths = {path.name: path for path in cache.store_paths()}
    path = paths.get(name) or paths.get(f"{name}.zarr")
    if path is None:
        there = ", ".join(paths) or "none"
        raise CacheError(f"{cache.path}: store must be one of those there ({there}), got {name!r}")
    return path


def main() -> int:
    """Parse, run, and turn errors into one line and an exit code."""
    commands = (
        Annotated[Ls, subcommand("ls")]
        | Annotated[Info, subcommand("info")]
        | Annotated[Verify, subcommand("verify")]
        | Annotated[Rm, subcommand("rm")]
    )
    command = tyro.cli(commands, prog="python -m cache", description="Look after a feature cache.")
    run = {Ls: ls, Info: info, Verify: verify, Rm: rm}[type(command)]
    try:
        return run(command)
    except CacheError as error:
        print(f"cache: {error}", file=sys.stderr)
    except OSError as error:
        print(f"cache: {error.filename or command.folder()}: {error.strerror or error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("cache: stopped; run the same command again", file=sys.stderr)
        return 130
    return 2


if __name__ == "__main__":
    sys.exit(main())
