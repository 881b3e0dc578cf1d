"""`python -m cache ls | info | verify | rm | compact | pack | unpack`: a dataclass of arguments for each."""

import inspect
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Union

import tyro
from tyro.conf import Positional, arg, subcommand

from cache.archive import pack, read_archive, unpack
from cache.compact import compact, find_waste, plan_compaction
from cache.reader import Cache, open_cache, store_names
from cache.receipts import Status, chunk_files, read_receipts, receipts_folder
from cache.storage import CacheError, Storage, open_storage
from cache.switch import is_switching
from cache.verify import Finding, Kind, removed_stores, repair, verify_store, verify_tables
from cache.writer import writing
from common.command import DONE, SOME_FAILED, Command
from common.progress import progress
from common.text import listed, megabytes, table

COMMAND = Command("cache")
result = COMMAND.result


@dataclass(frozen=True)
class Where:
    """The arguments that the commands on a cache share."""

    work: Annotated[str, arg(metavar="DIR")] = "work"
    """Folder of everything that is generated."""
    cache: Annotated[str | None, arg(metavar="PLACE", help_behavior_hint="(default: WORK/cache)")] = None
    """Folder of the cache, or s3://, gs:// or az://BUCKET/PREFIX."""

    def storage(self) -> Storage:
        """Where the cache lies.

        Raises:
            CacheError: no such place, or a bucket that cannot be reached.
        """
        return open_storage(self.cache or str(Path(self.work) / "cache"))


Store = Annotated[Positional[str], arg(metavar="STORE")]


@dataclass(frozen=True)
class Ls(Where):
    """List the stores: clips done, missing and failed, size, state.

    - Sizes are in MB of 10^6 bytes.
    """

    def run(self) -> int:
        """A line for each store, and under the table why one is refused."""
        cache = open_cache(self.storage())
        splits = cache.clips["split"].value_counts()
        result(
            f"{cache.storage}: {splits.get('train', 0):,} labelled and {splits.get('test', 0):,} unlabelled clips"
        )
        rows, notes = [], []
        for name in sorted([*cache.stores(), *removed_stores(cache.storage)]):
            row, note = _row(cache, name)
            rows.append(row)
            notes += [f"{name}: {note}"] if note else []
        result(table(["store", "clips", "missing", "failed", "MB", "state"], rows, right=[1, 2, 3, 4]))
        result(notes)
        return DONE


def _row(cache: Cache, name: str) -> tuple[list, str]:
    """A store's row, and what is to be said of it below the table."""
    storage = cache.storage / name
    if name in removed_stores(cache.storage):
        note = f"its folder is missing; featurize makes it again, `cache rm {name}` removes its receipts"
        return [name, "-", "-", "-", "-", "removed"], note
    size = f"{sum(file.size for file in storage.files()) / 1e6:,.1f}"
    try:
        store = cache.store(name)
        status, missing = cache.status(read_receipts(storage)), len(cache.missing(store))
    except CacheError as error:
        return [name, "-", "-", "-", size, "refused"], str(error)
    pending, failed = int((status == Status.PENDING).sum()), int((status == Status.FAILED).sum())
    counts = [f"{n:,}" for n in (len(status) - pending, pending, failed)]
    note = "rerun featurize to resume" if missing else ""
    return [name, *counts, size, "incomplete" if missing else "complete"], note


@dataclass(frozen=True)
class Info(Where):
    """Tell everything about one store, as JSON.

    - `wasted` is what `compact` would win back.
    """

    store: Store = tyro.MISSING
    """Name of the store, for example raw-16000."""

    def run(self) -> int:
        """The store's attributes and counts; failures by split and clip, with their reasons."""
        cache = open_cache(self.storage())
        store = cache.store(self.store)
        storage = cache.storage / store.name
        receipts = read_receipts(storage)
        status = cache.status(receipts)
        facts = {
            "path": str(storage),
            **store.attributes,
            "receipts": {"n": len(receipts), "checksum": receipts.checksum},
            "clips": {each.name.lower(): int((status == each).sum()) for each in Status},
            "missing": int((status == Status.PENDING).sum()),
            "chunks": store.n_chunks,
            "chunks_done": sum(len(receipt.checksums) for receipt in receipts.values()),
            "bytes": sum(file.size for file in storage.files()),
            "wasted": asdict(find_waste(cache, store.specification, storage, receipts)),
            "failed": _failed(cache, receipts),
        }
        result(json.dumps(facts, indent=2, ensure_ascii=False).splitlines())
        return DONE


def _failed(cache: Cache, receipts) -> list[dict[str, str]]:
    """The clips that failed, in the clip table's order."""
    slots, reasons = receipts.column("slot"), receipts.texts("reason").to_pandas()
    reason_of = reasons.set_axis(slots)[receipts.column("status") == Status.FAILED].to_dict()
    clips = cache.clips[cache.clips["slot"].isin(reason_of)]
    return [
        {"split": split, "clip": clip, "reason": reason_of[slot]}
        for split, clip, slot in zip(clips["split"], clips["clip"], clips["slot"], strict=True)
    ]


@dataclass(frozen=True)
class Verify(Where):
    """Compare every byte of the cache with its checksum.

    - Names what is damaged, missing or extra, and the clips.
    - Takes back the results of damaged clips, so that the next
      featurize makes just these again.
    - Exit code 1 if there was anything to name.
    """

    store: Annotated[Positional[str], arg(metavar="STORE", help_behavior_hint="(default: all)")] = ""
    """Name of the store."""

    def run(self) -> int:
        """A line for each finding, then a verdict for the tables and for each store."""
        storage = self.storage()
        tables, findings = verify_tables(storage)
        names = sorted([*store_names(storage), *removed_stores(storage)])
        names = [_one_of(storage, names, self.store)] if self.store else names
        result([_line(finding) for finding in findings])
        result(f"tables: {_verdict(findings)}")
        found = bool(findings)
        for name in names:
            try:
                size = sum(file.size for file in (storage / name).files("features"))
                with progress(name, size, "MB", 1e6) as steps:
                    findings = verify_store(storage, tables, name, steps.advance)
            except CacheError as error:
                result(f"{name}: refused: {error}")
                found = True
                continue
            result([_line(finding) for finding in findings])
            if groups := {finding.group for finding in findings} - {None}:
                result(repair(storage, name, tables.generation, groups))
            result(f"{name}: {_verdict(findings)}")
            found |= bool(findings)
        return SOME_FAILED if found else DONE


def _line(finding: Finding) -> str:
    return ": ".join(filter(None, (finding.path, finding.what, listed(finding.clips))))


def _verdict(findings: list[Finding]) -> str:
    kinds = {finding.kind for finding in findings}
    if Kind.DAMAGED in kinds:
        return "damaged; rerun featurize to repair it"
    if Kind.INCOMPLETE in kinds:
        return "incomplete; rerun featurize to resume"
    return "sound, but for the extra files named" if kinds else "ok"


def _one_of(storage: Storage, names: Sequence[str], name: str) -> str:
    for there in (name, f"{name}.zarr"):
        if there in names:
            return there
    raise CacheError(f"{storage}: store must be one of those there ({listed(names) or 'none'}), got {name}")


@dataclass(frozen=True)
class Rm(Where):
    """Remove one store and its receipts; nothing is asked.

    - Recordings and other stores are not touched.
    """

    store: Store = tyro.MISSING
    """Name of the store."""

    def run(self) -> int:
        """Remove the receipts first, so that a removal that is interrupted leaves nothing that looks done."""
        storage = self.storage()
        name = _one_of(storage, [*store_names(storage), *removed_stores(storage)], self.store)
        with writing(storage):
            receipts_folder(storage / name).remove_all()
            (storage / name).remove_all()
        result(f"{storage / name}: removed")
        return DONE


@dataclass(frozen=True)
class Compact(Where):
    """Win back the space of changed and removed recordings.

    - Copies features, decodes nothing, needs no recordings.
    - Needs free space for the stores as they are afterwards.
    - If it is stopped or killed, the old cache stays, or the
      next command that writes finishes the new one.
    - A training that reads the cache meanwhile stops with an
      error; predictions of before get no further folds.
    """

    def run(self) -> int:
        """Compact, and say what was won."""
        storage = self.storage()
        if not is_switching(storage.path()):
            open_cache(storage)  # says what is wrong before anything is written
        with writing(storage):
            compaction = plan_compaction(open_cache(storage))
            before, after = compaction.bytes_before, compaction.bytes_after
            if after >= before:
                result(f"{storage}: nothing to win, {megabytes(before)} are packed densely")
                return DONE
            with progress("compact", after, "MB", 1e6) as steps:
                compact(compaction, steps.advance)
        result(f"{storage}: {megabytes(before - after)} won, {megabytes(before)} before, {megabytes(after)} now")
        return DONE


@dataclass(frozen=True)
class Pack(Where):
    """Write an archive: a compressed copy of stores to send.

    - Holds clip table, plan and receipts; see `unpack`.
    - Its stores are Zarr for zarr-python, TensorStore, xarray.
    """

    names: Annotated[
        Positional[tuple[str, ...]], arg(metavar="[STORE ...] TARGET", help_behavior_hint="(required)")
    ] = ()
    """Names of the stores, and the folder to write, which must be new or empty."""
    all: bool = False
    """Pack all stores of the cache; give TARGET alone."""

    def run(self) -> int:
        """Pack, and say sizes, ratio and speed."""
        if not self.names or self.all == (len(self.names) > 1):
            given = " ".join(self.names) or "none"
            raise CacheError(
                f"pack: must get names of stores and TARGET, or --all and TARGET, got {given}; see --help"
            )
        *names, target = self.names
        cache = open_cache(self.storage())
        names = cache.stores() if self.all else [_one_of(cache.storage, cache.stores(), name) for name in names]
        before = sum(sum(chunk_files(cache.storage / name).values()) for name in names)
        started = time.monotonic()
        with progress("pack", before, "MB", 1e6) as steps:
            after = pack(cache, names, _folder(target), steps.advance)
        speed = before / 1e6 / (time.monotonic() - started)
        sizes = f"{megabytes(before)} to {megabytes(after)} (ratio {before / max(1, after):.2f})"
        result(f"{target}: {listed(names)} packed, {sizes}, {speed:,.0f} MB/s")
        return DONE


@dataclass(frozen=True)
class Unpack:
    """Make a cache of an archive that `pack` wrote.

    - Gives the same files; every chunk is checked.
    """

    archive: Annotated[Positional[str], arg(metavar="ARCHIVE")] = tyro.MISSING
    """The archive's folder, or s3://, gs:// or az://BUCKET/PREFIX."""
    target: Annotated[Positional[str], arg(metavar="TARGET")] = tyro.MISSING
    """Folder of the cache to make, for example work/cache; it must be new or empty."""

    def run(self) -> int:
        """Unpack, and say size and speed."""
        archive, started = read_archive(open_storage(self.archive)), time.monotonic()
        with progress("unpack", archive.n_bytes, "MB", 1e6) as steps:
            unpack(archive, _folder(self.target), steps.advance)
        speed = archive.n_bytes / 1e6 / (time.monotonic() - started)
        result(f"{self.target}: {megabytes(archive.n_bytes)} unpacked and checked, {speed:,.0f} MB/s")
        return DONE


def _folder(target: str) -> Path:
    return open_storage(target).path()


def _subcommand(kind: type) -> object:
    """A command as tyro takes it; its list of notes follows its first line at once."""
    description = inspect.getdoc(kind).replace("\n\n", "\n")
    return Annotated[kind, subcommand(kind.__name__.lower(), description=description)]


def main() -> int:
    """Run the command that the arguments name; returns its exit code."""
    description = (
        "Look after a feature cache. Each command has a --help of its own.\n\n"
        "Exit codes: 0 done, 1 verify found something, 2 wrong input or usage,\n"
        "130 stopped by Ctrl-C, 141 the reader of a pipe is gone.\n"
        "--debug shows the traceback of an unexpected error."
    )
    config = (tyro.conf.FlagCreatePairsOff,)
    kinds = (Ls, Info, Verify, Rm, Compact, Pack, Unpack)
    commands = Union[tuple(map(_subcommand, kinds))]  # noqa: UP007

    def act(arguments: list[str]) -> int:
        command = tyro.cli(commands, prog="python -m cache", description=description, args=arguments, config=config)
        return command.run()

    return COMMAND.run(act)


if __name__ == "__main__":
    sys.exit(main())
