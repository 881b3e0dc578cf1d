"""The tables of a cache: the clip table, the plan, and the manifest that says which of their bytes count.

- `clips.parquet`: the dataset as its CSV files say it now, in their order: clip (file name as in the CSV), split
  ("train" or "test"), label (of a test clip "" where it is not known), manually_verified (0, 1 or missing), every
  other column of the dataset's CSV files as text, and slot, the plan's row that holds the clip's features.
- `plan.parquet`: one row a slot, append-only, a slot being one version of one recording: file (relative to the
  dataset's folder), size (bytes), mtime_ns, digest (xxh3-128 of the file's bytes, "" until a job has read it),
  native_rate (Hz), native_samples (a channel, by the header), group.
- `manifest.json`: the generation of the slots' numbers, which only compaction raises, and the checksums of both
  tables. Before the tables are rewritten it names their next checksums beside the present ones, afterwards the new
  ones alone. So a reader finds a readable cache wherever a writer was killed.
"""

import io
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cache.layout import PLAN_COLUMNS
from cache.receipts import checksum, signed, unsigned
from cache.storage import CacheError, DamagedError, Storage
from cache.switch import is_switching

VERSION = 2
CLIPS, PLAN, MANIFEST = "clips.parquet", "plan.parquet", "manifest.json"
OLDER = "made by an older version of earmark; move it away, or give another --cache, and run featurize again"
CLIP_COLUMNS = ["clip", "split", "label", "manually_verified"]
_REPAIR = "run featurize to repair it"
_CLIP_TYPES = {"manually_verified": pa.int8(), "slot": pa.int64()}
_PLAN_SCHEMA = pa.schema(
    [(name, pa.string() if dtype == "str" else pa.int64()) for name, dtype in PLAN_COLUMNS.items()]
)
_ROW_GROUP = 1 << 17  # rows that are in memory twice while a table is written
_TRIES = 20  # of reading the tables while a writer replaces them


@dataclass(frozen=True)
class Tables:
    """The clip table, None where it is damaged or not made yet; the plan; the generation of the slots' numbers."""

    clips: pd.DataFrame | None
    plan: pd.DataFrame
    generation: int = 0


@dataclass(frozen=True)
class Manifest:
    """The generation, and by table the checksums that count: one, or two while the table is being rewritten."""

    generation: int
    checksums: dict[str, set[str]]


class _Sums(msgspec.Struct):
    """The checksums of the tables; "" for one that was not made yet."""

    clips: str
    plan: str


class _Manifest(_Sums):
    earmark: Literal["cache"]
    version: int
    generation: Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]
    next: _Sums | None


def read_tables(storage: Storage) -> Tables:
    """The tables of a cache, all of one generation.

    Raises:
        CacheError: there is no cache, an older or a newer one, or a damaged one.
    """
    for _ in range(_TRIES):
        manifest = read_manifest(storage)
        try:
            clips = read_table(storage, CLIPS, manifest)  # first, as it is written last
            plan = read_table(storage, PLAN, manifest)
        except DamagedError:
            if read_manifest(storage) == manifest:
                raise
            continue  # a writer has replaced the tables meanwhile
        if not clips["slot"].between(0, len(plan) - 1).all():
            raise DamagedError(f"{storage}/{CLIPS}: names slots that the plan does not have; {_REPAIR}")
        return Tables(clips, plan, manifest.generation)
    raise CacheError(f"{storage}: another process keeps writing the cache; try again later")


def read_manifest(storage: Storage) -> Manifest:
    """The manifest of a cache.

    Raises:
        CacheError: there is no cache, an older or a newer one, or its manifest is damaged.
    """
    where = f"{storage}/{MANIFEST}"
    if storage.is_local and is_switching(storage.path()):
        raise CacheError(f"{storage}: a compaction was interrupted; finish it with `python -m cache compact`")
    try:
        body = unsigned(storage.read(MANIFEST, 1 << 16))
        if body.get("earmark") == "archive":
            what = "must be that of a cache, got that of an archive; make a cache of it with `cache unpack`"
            raise CacheError(f"{where}: {what}")
        if body.get("earmark") == "cache" and body.get("version") != VERSION:
            version = f"{body.get('version')!s:.20}"
            raise CacheError(f"{where}: cache version must be {VERSION}, got {version}; update earmark to read it")
        found = msgspec.convert(body, _Manifest)
    except (FileNotFoundError, NotADirectoryError):
        if is_older(storage):
            raise CacheError(f"{storage}: {OLDER}") from None
        raise CacheError(f"{storage}: no cache here; {_elsewhere(storage)}") from None
    except CacheError:
        raise
    except (ValueError, OSError) as error:
        raise DamagedError(f"{where}: damaged or foreign; {_REPAIR}") from error
    after = found.next or found
    return Manifest(found.generation, {CLIPS: {found.clips, after.clips}, PLAN: {found.plan, after.plan}})


def _elsewhere(storage: Storage) -> str:
    """Where there is a cache, as somebody who gave the folder above or below it is told."""
    place = storage.path() if storage.is_local else None
    near = (place / "cache", place.parent) if place else ()
    found = next((folder for folder in near if (folder / MANIFEST).is_file()), None)
    return f"there is one in {found}" if found else "run `python -m featurize` first"


def is_older(storage: Storage) -> bool:
    """Whether a folder without a manifest holds what an older version of earmark wrote."""
    there = storage.names()
    if MANIFEST in there or {CLIPS, PLAN, "copies"}.isdisjoint(there):
        return False
    stores = (storage.look(f"{name}/zarr.json") and storage / name for name in there if name.endswith(".zarr"))
    return not any(store and b'"format_version": 2' in store.read("zarr.json", 1 << 16) for store in stores)


def read_table(storage: Storage, name: str, manifest: Manifest) -> pd.DataFrame:
    """The clip table or the plan, if the manifest counts its bytes.

    Raises:
        CacheError: it is damaged, missing, or not made yet.
    """
    where = f"{storage}/{name}"
    try:
        data = storage.read(name)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and "" in manifest.checksums[name]:
            raise CacheError(f"{storage}: no whole cache here yet; run featurize to make it") from None
        what = "missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise DamagedError(f"{where}: {what}; {_REPAIR}") from error
    if checksum(data) not in manifest.checksums[name]:
        raise DamagedError(f"{where}: damaged, its checksum does not match; {_REPAIR}")
    try:
        table = pq.ParquetFile(pa.BufferReader(data)).read()
        schema = _PLAN_SCHEMA if name == PLAN else _clip_schema(table.column_names)
        complete = name == PLAN or {*CLIP_COLUMNS, "slot"} <= set(table.column_names)
        if not table.schema.equals(schema) or not complete:
            raise ValueError("other columns")
    except (pa.ArrowException, ValueError, OSError) as error:
        raise DamagedError(f"{where}: foreign table; {_REPAIR}") from error
    frame = table.to_pandas(split_blocks=True, self_destruct=True)  # else numbers are in memory twice
    del table
    pa.default_memory_pool().release_unused()
    return frame.astype({"manually_verified": "Int8"} if name == CLIPS else {})


def counted(clips: pd.DataFrame) -> str:
    """The clips of a clip table, in words.

    >>> counted(pd.DataFrame({"split": ["train", "train", "test"], "label": ["Bell", "Rain", ""]}))
    '2 training clips of 2 labels and 1 test clips'
    """
    train, test = (clips["label"][clips["split"] == split] for split in ("train", "test"))
    known = f" ({n:,} labelled)" if (n := int((test != "").sum())) else ""
    parts = [f"{len(train):,} training clips of {train.nunique():,} labels"] if len(train) else []
    parts += [f"{len(test):,} test clips{known}"] if len(test) else []
    return " and ".join(parts) or "no clips"


def write_tables(
    storage: Storage, clips: pd.DataFrame, plan: pd.DataFrame, generation: int, durable: bool = False
) -> None:
    """Replace the tables of a cache, or make them; a process that is killed meanwhile leaves a readable cache."""
    tables = {PLAN: _parquet(plan, _PLAN_SCHEMA), CLIPS: _parquet(clips, _clip_schema(clips.columns))}
    new = {"clips": checksum(tables[CLIPS]), "plan": checksum(tables[PLAN])}
    body = {"earmark": "cache", "version": VERSION, "generation": generation}
    files = {MANIFEST: signed({**body, **new, "next": None}), **tables}
    if not storage.differing(files):
        return
    storage.write(MANIFEST, signed({**body, **_present(storage), "next": new}), durable)
    for name in (PLAN, CLIPS, MANIFEST):  # the plan first: clips name its rows
        storage.write(name, files[name], durable)


def _present(storage: Storage) -> dict[str, str]:
    """The checksums of the tables as they are, "" where one is missing or does not count."""
    present = {"clips": "", "plan": ""}
    with suppress(CacheError):
        for name, counts in read_manifest(storage).checksums.items():
            if storage.look(name) and (found := checksum(storage.read(name))) in counts:
                present[name.partition(".")[0]] = found
    return present


def _clip_schema(columns) -> pa.Schema:
    return pa.schema([(name, _CLIP_TYPES.get(name, pa.string())) for name in columns])


def _parquet(frame: pd.DataFrame, schema: pa.Schema) -> bytes:
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, schema, compression="zstd", store_schema=False) as writer:
        for first in range(0, max(1, len(frame)), _ROW_GROUP):
            rows = frame.iloc[first : first + _ROW_GROUP]
            table = pa.Table.from_pandas(rows, schema=schema, preserve_index=False)
            writer.write_table(table.replace_schema_metadata(None))
    return sink.getvalue()
