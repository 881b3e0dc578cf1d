"""`--fsync`: at every moment, what counts as done is on the disk, as seen by a model of what a loss of power leaves."""

import json
import os
from pathlib import Path

import pytest

from cache.layout import feature_chunk_key
from cache.specification import MfccSpecification, RawSpecification

SPECIFICATIONS = {s.name: s for s in (RawSpecification(100), MfccSpecification(4, 2000))}


class Disk:
    """What is on the disk: contents and names that have been synced since they were made."""

    def __init__(self, monkeypatch, root: Path):
        self.root, self.contents, self.names, self.receipts = root, set(), set(), []
        for name in ("fsync", "replace"):
            monkeypatch.setattr(os, name, self._noted(name, getattr(os, name)))

    def _noted(self, name, call):
        def noted(*arguments):
            if name == "replace":
                self.before_rename(*map(Path, arguments))
            call(*arguments)
            if name == "fsync":
                self.after_sync(os.fstat(arguments[0]))

        return noted

    def after_sync(self, synced) -> None:
        self.contents.add(synced.st_ino)
        for root, folders, files in os.walk(self.root):
            if os.stat(root).st_ino == synced.st_ino:
                self.names |= {
                    (Path(root) / name, os.stat(Path(root) / name).st_ino) for name in (*folders, *files)
                }

    def before_rename(self, source: Path, target: Path) -> None:
        assert source.stat().st_ino in self.contents, f"{target} gets its name before its bytes are on the disk"
        if target.parent.suffix == ".receipts":
            self.receipts.append(target)
            for chunk in _chunks(target, source):
                assert self.has(chunk), f"{target} is written before {chunk} is on the disk"
            for table in ("plan.parquet", "clips.parquet", "manifest.json"):
                assert self.has(self.root / table), f"{target} is written before {table} is on the disk"

    def has(self, path: Path) -> bool:
        """Whether the file's bytes are there, under its name, in folders that are there under theirs."""
        chain = [path, *(folder for folder in path.parents if self.root in folder.parents)]
        return path.stat().st_ino in self.contents and all(
            (each, each.stat().st_ino) in self.names for each in chain
        )


def _chunks(receipt: Path, content: Path) -> list[Path]:
    body = json.loads(content.read_bytes())
    store = receipt.parent.with_suffix(".zarr")
    chunks = range(body["group"], body["group"] + len(body["checksums"]))
    return [store / feature_chunk_key(SPECIFICATIONS[store.name], chunk) for chunk in chunks]


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_a_receipt_is_written_after_its_chunks_are_on_the_disk(
    every_kind, featurize, tmp_path, monkeypatch, n_jobs
):
    disk = Disk(monkeypatch, tmp_path / "cache")
    featurize(every_kind, tmp_path / "cache", fsync=True, jobs=n_jobs)
    assert len(disk.receipts) == 6
    left = [
        path for path in (tmp_path / "cache").rglob("*") if path.is_file() and not path.name.startswith("writer.")
    ]
    assert all(disk.has(path) for path in left)


def test_what_earlier_runs_have_left_is_brought_to_the_disk_before_it_counts(
    every_kind, featurize, tmp_path, monkeypatch
):
    featurize(every_kind, tmp_path / "cache", limit=2)
    order = []
    sync, replace = os.sync, os.replace
    monkeypatch.setattr(os, "sync", lambda: order.append("sync") or sync())
    monkeypatch.setattr(os, "replace", lambda *paths: order.append("write") or replace(*paths))
    featurize(every_kind, tmp_path / "cache", fsync=True)
    assert order[0] == "sync" and order.count("sync") == 1 and "write" in order


def test_without_it_nothing_waits_for_the_disk(every_kind, featurize, tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr(os, "fsync", waits.append)
    monkeypatch.setattr(os, "sync", lambda: waits.append("sync"))
    featurize(every_kind, tmp_path / "cache")
    assert waits == []


def test_the_bytes_are_the_same(every_kind, featurize, tmp_path, file_bytes):
    featurize(every_kind, tmp_path / "with", fsync=True)
    featurize(every_kind, tmp_path / "without")
    assert file_bytes(tmp_path / "with") == file_bytes(tmp_path / "without")
