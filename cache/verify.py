"""Verification: every byte of a cache against what it should be.

Chunks are read again and compared with the checksums in their receipts, receipts with their own, metadata and
arrays by slot with what plan and receipts give. The receipts of bad chunks are withdrawn, so that the store
counts as incomplete and the next featurize makes just those chunks again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cache.files import holds
from cache.fold import read_receipts, store_files
from cache.folder import Cache
from cache.receipts import Receipt, checksum, done_groups, receipt_path, withdraw
from cache.store import read_attributes, read_specification
from cache.zarr_files import feature_chunk_key


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be: where, what, and the clips it concerns."""

    path: Path
    what: str
    clips: tuple[str, ...] = ()
    group: int | None = None


def verify_store(cache: Cache, path: Path) -> Iterator[Finding | int]:
    """Check one store; yields what it finds, and after each chunk the bytes read so far.

    Raises:
        CacheError: the store is foreign, newer or without sound attributes, or plan or clip table are damaged.
    """
    specification = read_specification(path)
    receipts = read_receipts(path)
    for group in sorted(done_groups(path) - receipts.keys()):
        yield Finding(receipt_path(path, group), "damaged receipt", _clips(cache, group), group)
    attributes = read_attributes(path)
    if attributes["receipts"].get("n") != len(receipts):
        yield Finding(path, f"incomplete: made of {attributes['receipts'].get('n')} receipts, got {len(receipts)}")
    else:
        yield from _verify_files(path, store_files(cache.plan, specification, receipts, attributes["versions"]))
    n_bytes = 0
    for group, receipt in receipts.items():
        for chunk, expected in zip(_chunks(receipt), receipt.checksums, strict=True):
            file = path / feature_chunk_key(specification, chunk)
            what, size = _check_chunk(file, expected)
            n_bytes += size
            if what:
                yield Finding(file, what, _clips(cache, group), group)
            yield n_bytes


def _verify_files(path: Path, files: dict[str, bytes]) -> Iterator[Finding]:
    for key, data in files.items():
        if not holds(path / key, data):
            yield Finding(path / key, "not what plan and receipts give; the next featurize writes it again")


def withdraw_bad(path: Path, findings: list[Finding]) -> int:
    """Withdraw the receipts of the groups that findings name; returns how many."""
    groups = {finding.group for finding in findings if finding.group is not None}
    for group in groups:
        withdraw(path, group)
    return len(groups)


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


def _clips(cache: Cache, group: int) -> tuple[str, ...]:
    slots = pd.RangeIndex(len(cache.plan))[cache.plan["group"].to_numpy() == group]
    return tuple(cache.clips["clip"][cache.clips["slot"].isin(slots)])
