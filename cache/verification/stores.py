"""Verification of a store: every byte of it against what it should be.

Chunks are read again and compared with the checksums in their receipts, receipts with their own, metadata and
arrays by slot with what plan and receipts give; every other file is named. The receipts of bad chunks are
withdrawn, so that the store counts as incomplete and the next featurize makes just those chunks again; whatever
else is damaged it writes anew as it goes.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cache.ahead import each
from cache.errors import CacheError
from cache.files import PARTIAL, differing
from cache.fold import begun_with, read_receipts, store_files
from cache.folder import Cache
from cache.places import on_disk
from cache.receipts import Receipt, checksum, done_groups, receipt_path, receipts_folder, withdraw
from cache.results import Results
from cache.specification import Specification
from cache.store import known_specification, read_specification
from cache.verification.findings import AGAIN, Finding
from cache.zarr_files import feature_chunk_key

_AT_A_TIME = 8  # chunks of a bucket in memory


def verify_store(cache: Cache, path: Path) -> Iterator[Finding | int]:
    """Check one store; yields what it finds, and after each chunk the bytes read so far.

    Raises:
        CacheError: the store is foreign, newer or without any sound metadata.
    """
    specification = known_specification(path) or read_specification(path)
    receipts = read_receipts(path)
    planless = _is_planless(cache)
    damaged_receipt = "damaged receipt" if planless else f"damaged receipt; {AGAIN}"
    damaged = {group: _clips(cache, group) for group in sorted(done_groups(path) - receipts.keys())}
    for group, clips in damaged.items():
        yield Finding(receipt_path(path, group), damaged_receipt, clips, group, planless=planless)
    named = {clip for clips in damaged.values() for clip in clips}
    yield from _verify_files(cache, path, specification, receipts, named, planless)
    chunks = [
        (group, path / feature_chunk_key(specification, chunk), expected)
        for group, receipt in receipts.items()
        for chunk, expected in zip(_chunks(receipt), receipt.checksums, strict=True)
    ]
    n_bytes = 0
    checks = each(lambda chunk: _check_chunk(*chunk[1:]), chunks, path, threads=_AT_A_TIME)
    for (group, file, _), (what, size) in zip(chunks, checks, strict=True):
        n_bytes += size
        if what:
            yield Finding(file, what, _clips(cache, group), group)
        yield n_bytes


def withdraw_bad(path: Path, findings: list[Finding]) -> int:
    """Withdraw the receipts of the groups that findings name; returns how many."""
    groups = {finding.group for finding in findings if finding.group is not None}
    for group in groups:
        withdraw(path, group)
    return len(groups)


def _verify_files(
    cache: Cache, path: Path, specification: Specification, receipts: Results, named: set[str], planless: bool
) -> Iterator[Finding]:
    """Metadata and arrays by slot, where a run has brought them up to date; and the names of all files.

    named: clips without a result that were named before.
    """
    found = _root_attributes(path)
    versions = begun_with(receipts) or found.get("versions", {})
    try:
        expected = store_files(cache.plan, specification, receipts, versions)
        missing = _missing(cache, receipts)
    except (CacheError, FileNotFoundError):
        yield Finding(path, "its metadata cannot be checked without clip table and plan", planless=planless)
        return
    folded = json.loads(expected["zarr.json"])["attributes"]["receipts"]
    if unnamed := tuple(clip for clip in missing if clip not in named):
        yield Finding(receipts_folder(path), "incomplete: clips without a result", unnamed, incomplete=True)
    elif not missing and _differs_wholly(found.get("receipts"), folded):
        what = f"incomplete: made of {found['receipts'].get('n')} receipts, got {folded['n']}"
        yield Finding(path, what, incomplete=True)
    elif not missing:
        for key in differing(path, expected):
            yield Finding(path / key, f"not what plan and receipts give; {AGAIN}")
    files = {path / key for key in expected}
    yield from _others(path, files, specification, receipts, chunks_may_lack_receipts=bool(missing))


def _root_attributes(path: Path) -> dict:
    try:
        attributes = json.loads((path / "zarr.json").read_bytes())["attributes"]
        return attributes if isinstance(attributes, dict) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _differs_wholly(found: object, folded: dict) -> bool:
    """Whether metadata are those of other receipts: both number and checksum, more than one damaged byte does."""
    return isinstance(found, dict) and all(name in found and found[name] != folded[name] for name in folded)


def _missing(cache: Cache, receipts: Results) -> tuple[str, ...]:
    """The clips that no receipt has a result of."""
    done = np.isin(cache.clips["slot"].to_numpy(), receipts.column("slot"))
    return tuple(cache.clips["clip"][~done])


def _others(
    path: Path, files: set[Path], specification: Specification, receipts: Results, chunks_may_lack_receipts: bool
) -> Iterator[Finding]:
    """Files in a store and among its receipts that are none of it."""
    chunks = (chunk for receipt in receipts.values() for chunk in _chunks(receipt))
    files = files | {path / feature_chunk_key(specification, chunk) for chunk in chunks}
    files |= {receipt_path(path, group) for group in done_groups(path)}
    features = path / "features" / "c"
    there = {file for folder in (path, receipts_folder(path)) for file in folder.rglob("*")}
    for file in sorted(there - files):
        if on_disk(file) and file.is_dir():
            continue
        if file.name.endswith(PARTIAL):
            yield Finding(file, "left by a run that broke off; the next featurize removes it", extra=True)
        elif features not in file.parents:
            yield Finding(file, "extra file, none of the store's; move it away", extra=True)
        elif not chunks_may_lack_receipts:
            yield Finding(file, "extra chunk, no receipt counts it; `cache compact` removes it", extra=True)


def _check_chunk(file: Path, expected: str) -> tuple[str, int]:
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return "missing chunk", 0
    except OSError as error:
        return f"unreadable chunk ({error.strerror})", 0
    found = checksum(data)
    return ("" if found == expected else f"damaged chunk: checksum must be {expected}, got {found}"), len(data)


def _chunks(receipt: Receipt) -> range:
    return range(receipt.group, receipt.group + len(receipt.checksums))


def _is_planless(cache: Cache) -> bool:
    try:
        _ = cache.plan
    except (CacheError, FileNotFoundError):
        return True
    return False


def _clips(cache: Cache, group: int) -> tuple[str, ...]:
    """The clips of a group, none where clip table and plan are lost."""
    try:
        slots = np.flatnonzero(cache.plan["group"].to_numpy() == group)
        return tuple(cache.clips["clip"][cache.clips["slot"].isin(slots)])
    except (CacheError, FileNotFoundError):
        return ()
