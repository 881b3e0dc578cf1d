"""`python -m cache ls | info | verify | rm | compact | pack | unpack`: a function for each."""

if __name__ == "__main__":
    from earmark import refuse_hidden_packages

    refuse_hidden_packages()  # before anything of ours is imported

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional, arg
from tyro.extras import subcommand_cli_from_dict

from cache import archive
from cache.compact import compact, plan_compaction, waste
from cache.reader import Cache, all_names, open_cache, removed_stores
from cache.receipts import Status, read_receipts, receipts_folder
from cache.storage import CacheError, Storage, open_storage
from cache.switch import is_switching
from cache.tables import counted
from cache.verify import Finding, Kind, repair, verify_store, verify_tables
from cache.writer import writing
from common.command import DONE, SOME_FAILED, Command
from common.text import listed, megabytes, table

COMMAND = Command("cache")
result = COMMAND.result

Work = Annotated[str, arg(metavar="DIR", help="Folder of everything that is generated.")]
_PLACE = "Folder of the cache, or s3://, gs:// or az://BUCKET/PREFIX."
Place = Annotated[str | None, arg(metavar="PLACE", help=_PLACE, help_behavior_hint="(default: WORK/cache)")]
Store = Annotated[Positional[str], arg(metavar="STORE", help="Name of the store, for example raw-16000.")]
_ALL = "(default: all)"
AnyStore = Annotated[Positional[str], arg(metavar="STORE", help="Name of the store.", help_behavior_hint=_ALL)]
_NAMES = "Names of the stores, and the folder to write, which must be new or empty."
_NAMES_ARE = {"metavar": "STORES DIR", "help": _NAMES, "help_behavior_hint": "(required)"}
Names = Annotated[Positional[tuple[str, ...]], arg(**_NAMES_ARE)]
All = Annotated[bool, arg(help="Pack all stores of the cache; give DIR alone.", help_behavior_hint="")]
_ARCHIVE = "The archive's folder, or s3://, gs:// or az://BUCKET/PREFIX."
Archive = Annotated[Positional[str], arg(metavar="ARCHIVE", help=_ARCHIVE)]
_TARGET = "Folder of the cache to make, for example work/cache; it must be new or empty."
Target = Annotated[Positional[str], arg(metavar="TARGET", help=_TARGET)]


def _ls(*, work: Work = "work", cache: Place = None) -> int:
    """List the stores: clips done, missing and failed, size, state.
    - Sizes are in MB of 10^6 bytes.
    """
    opened = open_cache(_storage(work, cache))
    result(f"{opened.storage}: {counted(opened.clips)}")
    rows, notes = [], []
    for name in all_names(opened.storage):
        row, note = _row(opened, name)
        rows.append([name, *row])
        if note:
            notes.append(f"{name}: {note}")
    result(table(["store", "clips", "missing", "failed", "MB", "state"], rows, right=[1, 2, 3, 4]))
    result(notes)
    return DONE


def _row(cache: Cache, name: str) -> tuple[list[str], str]:
    """A store's row, and what is to be said of it below the table."""
    if name in removed_stores(cache.storage):
        note = f"its folder is missing; featurize makes it again, `cache rm {name}` removes its receipts"
        return ["-", "-", "-", "-", "removed"], note
    storage = cache.storage / name
    size = f"{sum(file.size for file in storage.files()) / 1e6:,.1f}"
    try:
        missing, status = len(cache.missing(cache.store(name))), cache.status(read_receipts(storage))
    except CacheError as error:
        return ["-", "-", "-", size, "refused"], str(error)
    pending, failed = int((status == Status.PENDING).sum()), int((status == Status.FAILED).sum())
    counts = [f"{n:,}" for n in (len(status) - pending, pending, failed)]
    return [*counts, size, "incomplete" if missing else "complete"], "rerun featurize to resume" if missing else ""


def _info(store: Store, *, work: Work = "work", cache: Place = None) -> int:
    """Tell everything about one store, as JSON.
    - `wasted` is what `compact` would win back.
    """
    opened = open_cache(_storage(work, cache))
    found = opened.store(store)
    storage = opened.storage / found.name
    receipts = read_receipts(storage)
    status = opened.status(receipts)
    results = receipts.frame(["slot", "status", "reason"])
    failed = opened.clips[["split", "clip", "slot"]].merge(results[results["status"] == Status.FAILED], on="slot")
    facts = {
        "path": str(storage),
        **found.attributes,
        "receipts": {"n": len(receipts), "checksum": receipts.checksum},
        "clips": {each.name.lower(): int((status == each).sum()) for each in Status},
        "missing": int((status == Status.PENDING).sum()),
        "chunks": found.n_chunks,
        "chunks_done": sum(len(receipt.checksums) for receipt in receipts.values()),
        "bytes": sum(file.size for file in storage.files()),
        "wasted": waste(opened, found, receipts),
        "failed": failed[["split", "clip", "reason"]].to_dict("records"),
    }
    result(json.dumps(facts, indent=2, ensure_ascii=False).splitlines())
    return DONE


def _verify(store: AnyStore = "", *, work: Work = "work", cache: Place = None) -> int:
    """Compare every byte of the cache with its checksum.
    - Names what is damaged, missing or extra, and the clips.
    - Takes back the results of damaged clips, so that the next
      featurize makes just these again.
    - Exit code 1 if there was anything to name.
    """
    storage = _storage(work, cache)
    tables, findings = verify_tables(storage)
    names = [_one_of(storage, all_names(storage), store)] if store else all_names(storage)
    result([*_lines(findings), f"tables: {_verdict(findings)}"])
    found = bool(findings)
    for name in names:
        try:
            findings, problems = verify_store(storage, tables, name), []
        except CacheError as error:
            result(f"{name}: refused: {error}")
            found = True
            continue
        result(_lines(findings))
        if groups := {finding.group for finding in findings} - {None}:
            problems = repair(storage, name, tables.generation, groups)
        result([*problems, f"{name}: {Kind.DAMAGED.value if problems else _verdict(findings)}"])
        found |= bool(findings)
    return SOME_FAILED if found else DONE


def _lines(findings: list[Finding]) -> list[str]:
    return [": ".join(filter(None, (each.path, each.what, listed(each.clips)))) for each in findings]


def _verdict(findings: list[Finding]) -> str:
    kinds = {finding.kind for finding in findings}
    return next((kind.value for kind in Kind if kind in kinds), "ok")  # the worst


def _rm(store: Store, *, work: Work = "work", cache: Place = None) -> int:
    """Remove one store and its receipts; nothing is asked.
    - Recordings and other stores are not touched.
    """
    storage = _storage(work, cache)
    name = _one_of(storage, all_names(storage), store)
    with writing(storage):
        receipts_folder(storage / name).remove_all()  # first: an interrupted removal leaves nothing that looks done
        (storage / name).remove_all()
    result(f"{storage / name}: removed")
    return DONE


def _compact(*, work: Work = "work", cache: Place = None) -> int:
    """Win back the space of changed and removed recordings.
    - Copies features, decodes nothing, needs no recordings.
    - Needs free space for the stores as they are afterwards.
    - If it is stopped or killed, the old cache stays, or the
      next command that writes finishes the new one.
    - A training that reads the cache meanwhile stops with an
      error; predictions of before get no further folds.
    """
    storage = _storage(work, cache)
    if not is_switching(storage.path()):
        open_cache(storage)  # says what is wrong before anything is written
    with writing(storage):
        compaction = plan_compaction(open_cache(storage))
        before, after = compaction.bytes_before, compaction.bytes_after
        if after >= before:
            result(f"{storage}: nothing to win, {megabytes(before)} are packed densely")
            return DONE
        compact(compaction)
    result(f"{storage}: {megabytes(before - after)} won, {megabytes(before)} before, {megabytes(after)} now")
    return DONE


def _pack(names: Names = (), *, work: Work = "work", cache: Place = None, all: All = False) -> int:
    """Write an archive: a compressed copy of stores to send.
    - Holds clip table, plan and receipts; see `unpack`.
    - Its stores are Zarr for zarr-python, TensorStore, xarray.
    """
    if not names or all == (len(names) > 1):
        given = " ".join(names) or "none"
        raise CacheError(f"pack: must get names of stores and DIR, or --all and DIR, got {given}; see --help")
    *stores, target = names
    opened, started = open_cache(_storage(work, cache)), time.monotonic()
    there = opened.stores()
    stores = there if all else [_one_of(opened.storage, there, name) for name in stores]
    before, after = archive.pack(opened, stores, open_storage(target).path())
    sizes = f"{megabytes(before)} to {megabytes(after)} (ratio {before / max(1, after):.2f})"
    result(f"{target}: {listed(stores)} packed, {sizes}, {_speed(before, started)}")
    return DONE


def _unpack(packed: Archive, target: Target) -> int:
    """Make a cache of an archive that `pack` wrote.
    - Gives the same files; every chunk is checked.
    """
    started = time.monotonic()
    n_bytes = archive.unpack(open_storage(packed), open_storage(target).path())
    result(f"{target}: {megabytes(n_bytes)} unpacked and checked, {_speed(n_bytes, started)}")
    return DONE


def _speed(n_bytes: int, started: float) -> str:
    return f"{n_bytes / 1e6 / (time.monotonic() - started):,.0f} MB/s"


def _storage(work: str, cache: str | None) -> Storage:
    return open_storage(cache or str(Path(work) / "cache"))


def _one_of(storage: Storage, names: list[str], name: str) -> str:
    for there in (name, f"{name}.zarr"):
        if there in names:
            return there
    raise CacheError(f"{storage}: store must be one of those there ({listed(names) or 'none'}), got {name}")


_FUNCTIONS = (_ls, _info, _verify, _rm, _compact, _pack, _unpack)
COMMANDS = {function.__name__.removeprefix("_"): function for function in _FUNCTIONS}
DESCRIPTION = """Look after a feature cache. Each command has a --help of its own.

Exit codes: 0 done, 1 verify found something, 2 wrong input or usage,
130 stopped by Ctrl-C, 141 the reader of a pipe is gone.
--debug shows the traceback of an unexpected error."""


def main() -> int:
    """Run the command that the arguments name; returns its exit code."""
    options = {"prog": "python -m cache", "description": DESCRIPTION, "sort_subcommands": False}
    options["config"] = (tyro.conf.FlagCreatePairsOff,)
    return COMMAND.run(lambda arguments: subcommand_cli_from_dict(COMMANDS, args=arguments, **options))


if __name__ == "__main__":
    sys.exit(main())
