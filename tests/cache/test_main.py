"""`python -m cache` as its users call it: what it prints, and its exit codes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cache import open_cache
from cache.__main__ import COMMANDS
from cache.layout import feature_chunk_key
from cache.lock import holding
from cache.receipts import Status, done_groups, read_receipt, read_receipts, write_receipt
from cache.specification import MfccSpecification, RawSpecification
from cache.storage import LocalStorage
from cache.writer import writing

RAW, MFCC = RawSpecification(sample_rate=100), MfccSpecification(n_mfcc=4, sample_rate=2000)
ROOT = Path(__file__).parents[2]


def _fail(store: LocalStorage, group: int, reason: str) -> None:
    """Have a group's slots failed."""
    receipt = read_receipt(store, group)
    slots = (type(slot)(slot.slot, slot.digest, Status.FAILED, reason=reason) for slot in receipt.slots)
    write_receipt(store, type(receipt)(group, receipt.checksums, tuple(slots), receipt.versions))


def _forget_results(cache: Path) -> None:
    """Leave a store as a killed run does: with receipts, and arrays by slot that say nothing of them."""
    with writing(cache) as writer:
        receipts = read_receipts(LocalStorage(cache / RAW.name))
        writer.update_store(RAW, writer.tables.plan, type(receipts)([]), {})


def test_ls_tells_what_is_there(run, made):
    code, out, err = run("ls")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0] == "work/cache: 4 training clips of 3 labels and 2 test clips"
    assert lines[1].split() == ["store", "clips", "missing", "failed", "MB", "state"]
    assert lines[2].split()[:4] == ["mfcc-4-2000.zarr", "6", "0", "0"] and lines[2].endswith("  complete")
    assert lines[3].split()[:4] == ["raw-100.zarr", "6", "0", "0"] and lines[3].endswith("  complete")
    assert len(lines) == 4 and max(map(len, lines)) <= 80


def test_ls_counts_what_is_missing_and_failed(run, make_cache):
    made = make_cache("work/cache", without=[1, 5])
    _fail(LocalStorage(made.path / RAW.name), 0, "x")
    code, out, _ = run("ls")
    assert code == 0
    assert out.splitlines()[3].split()[:4] == ["raw-100.zarr", "4", "2", "3"]
    assert out.count("  incomplete\n") == 2 and out.endswith("raw-100.zarr: rerun featurize to resume\n")


def test_ls_counts_what_a_killed_run_has_done(run, make_cache):
    made = make_cache("work/cache", without=[1])
    _forget_results(made.path)
    assert run("ls")[1].splitlines()[3].split() == ["raw-100.zarr", "5", "1", "0", "0.4", "incomplete"]


def test_ls_names_a_store_that_it_refuses_and_lists_the_others(run, made):
    (made.path / MFCC.name / "zarr.json").write_text("{")
    (made.path / "raw-5.zarr").mkdir()
    code, out, _ = run("ls")
    lines = out.splitlines()
    assert code == 0 and [line.split()[-1] for line in lines[2:5]] == ["refused", "complete", "refused"]
    assert lines[5].startswith(
        "mfcc-4-2000.zarr: work/cache/mfcc-4-2000.zarr/zarr.json: damaged or foreign metadata"
    )
    assert lines[6].startswith("raw-5.zarr: work/cache/raw-5.zarr/zarr.json: missing")


def test_ls_does_not_call_a_store_complete_that_was_removed_by_hand(run, made):
    shutil.rmtree(made.path / RAW.name)
    code, out, _ = run("ls")
    assert code == 0 and out.splitlines()[3].split()[-1] == "removed"
    assert out.splitlines()[4].startswith("raw-100.zarr: its folder is missing; featurize makes it again")


def test_ls_does_not_call_a_store_complete_whose_chunks_were_removed_by_hand(run, made):
    shutil.rmtree(made.path / RAW.name / "features" / "c")
    assert run("ls")[1].splitlines()[3].split()[-1] == "incomplete"


def test_names_from_outside_are_escaped(run, made):
    with writing(made.path) as writer:
        clips = writer.tables.clips.assign(clip=lambda clips: "\x1b[2J" + clips["clip"])
        writer.write_tables(clips, writer.tables.plan)
    (made.path / RAW.name / feature_chunk_key(RAW, 1)).unlink()
    out = run("verify", "raw-100")[1]
    assert r"train/\u001b[2Jclip 3.wav" in out and "\x1b" not in out


def test_info_tells_everything_as_json(run, made):
    code, out, err = run("info", RAW.name)
    facts = json.loads(out)
    assert (code, err) == (0, "")
    assert facts["specification"] == RAW.to_dict() and facts["generation"] == 0
    assert facts["clips"] == {"pending": 0, "ok": 5, "truncated": 0, "empty": 1, "failed": 0}
    assert (facts["missing"], facts["chunks"], facts["chunks_done"], facts["failed"]) == (0, 6, 6, [])
    assert facts["bytes"] == sum(p.stat().st_size for p in (made.path / RAW.name).rglob("*") if p.is_file())
    wasted = facts["wasted"]
    assert (wasted["slots"], wasted["slot_bytes"], wasted["compact_wins_bytes"]) == (0, 0, 0)


def test_info_counts_failures_by_split_and_clip(run, made):
    """A training and a test clip may have one name."""
    with writing(made.path) as writer:
        clips = writer.tables.clips
        writer.write_tables(
            clips.assign(clip=clips["clip"].replace("clip 5.wav", "clip 3.wav")), writer.tables.plan
        )
    for group, reason in ((1, "ist keine Aufnahme – “kaputt”"), (5, "empty file")):
        _fail(LocalStorage(made.path / RAW.name), group, reason)
    facts = json.loads(run("info", "raw-100")[1])
    assert facts["clips"]["failed"] == 2
    assert facts["failed"] == [
        {"split": "train", "clip": "clip 3.wav", "reason": "ist keine Aufnahme – “kaputt”"},
        {"split": "test", "clip": "clip 3.wav", "reason": "empty file"},
    ]


def test_info_counts_what_a_killed_run_has_done(run, make_cache):
    made = make_cache("work/cache", without=[1])
    done = read_receipts(LocalStorage(made.path / RAW.name))
    _forget_results(made.path)
    facts = json.loads(run("info", RAW.name)[1])
    assert facts["receipts"] == {"n": 3, "checksum": done.checksum}
    assert facts["clips"] == {"pending": 1, "ok": 4, "truncated": 0, "empty": 1, "failed": 0}
    assert (facts["missing"], facts["chunks"], facts["chunks_done"]) == (1, 6, 5)


def test_rm_removes_a_store_and_its_receipts_and_nothing_else(run, made):
    (made.path / "notes.partial").write_text("mine")
    assert run("rm", RAW.name) == (0, "work/cache/raw-100.zarr: removed\n", "")
    names = {path.name for path in made.path.iterdir()} - {"writer.lock"}
    mfcc = {"mfcc-4-2000.zarr", "mfcc-4-2000.receipts"}
    assert names == {"clips.parquet", "plan.parquet", "manifest.json", "notes.partial", *mfcc}


@pytest.mark.parametrize("lost", ["raw-100.receipts", "raw-100.zarr", "raw-100.zarr/zarr.json"])
def test_rm_takes_what_is_left_of_a_store(run, made, lost):
    path = made.path / lost
    path.unlink() if path.is_file() else shutil.rmtree(path)
    assert run("rm", "raw-100")[0] == 0
    assert not [path for path in made.path.iterdir() if path.name.startswith("raw")]


def test_rm_keeps_the_store_where_its_receipts_cannot_be_removed(run, made, monkeypatch):
    def refuse(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(shutil, "rmtree", refuse)
    assert run("rm", RAW.name) == (2, "", "cache: work/cache/raw-100.receipts: Permission denied\n")
    assert done_groups(LocalStorage(made.path / RAW.name)) == {0, 1, 2, 5} and (made.path / RAW.name).exists()


def test_rm_waits_for_no_other_writer(run, made):
    with holding(LocalStorage(made.path)):
        code, out, err = run("rm", RAW.name)
    assert (code, out) == (2, "") and "is writing the cache; wait for it to end" in err
    assert (made.path / RAW.name).exists()


def test_rm_without_a_cache_makes_none(run, tmp_path):
    says = "cache: work/cache: store must be one of those there (none), got raw-100\n"
    assert run("rm", "raw-100") == (2, "", says)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["verify", "rm"])
def test_a_store_that_is_not_there_is_named_with_those_that_are(run, made, command):
    says = "cache: work/cache: store must be one of those there (mfcc-4-2000.zarr, raw-100.zarr), got raw-7\n"
    assert run(command, "raw-7") == (2, "", says)
    code, out, err = run("info", "raw-7")
    assert (code, out) == (2, "") and "raw-7" in err and "mfcc-4-2000.zarr" in err


@pytest.mark.parametrize("command", [["ls"], ["info", "x"], ["verify"], ["compact"], ["pack", "--all", "x"]])
def test_no_cache_is_said(run, command):
    assert run(*command) == (2, "", "cache: work/cache: no cache here; run `python -m featurize` first\n")


def test_work_and_cache_give_the_place(run, make_cache):
    make_cache("elsewhere/cache")
    assert run("ls", "--work", "elsewhere")[1].startswith("elsewhere/cache: 4 training")
    assert run("ls", "--cache", "elsewhere/cache")[1].startswith("elsewhere/cache: 4 training")


def test_an_interrupt_is_said(run, made, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setitem(COMMANDS, "verify", interrupt)
    assert run("verify") == (130, "", "cache: stopped; rerun the command\n")


@pytest.mark.parametrize("arguments", [[], ["list"], ["ls", "--jobs", "1"], ["info"], ["unpack", "x"]])
def test_wrong_usage_exits_with_2(run, arguments):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "") and err


def test_the_help_names_all_commands_and_exit_codes(run):
    code, out, _ = run("--help")
    assert code == 0
    assert all(name in out for name in (*COMMANDS, "Look after a feature cache", "Exit codes: 0 done", "--debug"))


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_a_help_that_fits_80_columns(run, command):
    code, out, _ = run(command, "--help")
    assert code == 0 and out.startswith(f"usage: python -m cache {command}")
    assert max(map(len, out.splitlines())) <= 80


def test_as_a_program_it_starts_without_keras_or_tensorflow(made):
    code = (
        "import runpy, sys\n"
        "try:\n"
        "    runpy.run_module('cache', run_name='__main__', alter_sys=True)\n"
        "finally:\n"
        "    print([m for m in sys.modules if m.split('.')[0] in ('keras', 'tensorflow', 'librosa', 'train')])\n"
    )
    (made.path / RAW.name / feature_chunk_key(RAW, 0)).unlink()
    command = [sys.executable, "-c", code, "verify", "--cache", made.path]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (1, "")
    assert result.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("arguments", [["ls"], pytest.param(["--help"], marks=pytest.mark.slow)])
def test_a_reader_that_is_gone_ends_the_command_quietly(made, arguments):
    reader, writer = os.pipe()
    os.close(reader)
    where = [] if arguments == ["--help"] else ["--cache", str(made.path)]
    command = [sys.executable, "-m", "cache", *arguments, *where]
    done = subprocess.run(command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.slow
class TestInABucket:
    """The same answers as on disk."""

    @pytest.fixture
    def place(self, make_cache, bucket, upload):
        place = upload(make_cache().path, bucket / "cache")
        place.remove("writer.lock")
        return place

    def test_ls_and_info_tell_what_they_tell_on_disk(self, place, make_cache, run):
        made = make_cache("here")
        code, out, err = run("ls", "--cache", place)
        assert (code, err) == (0, "")
        assert out == run("ls", "--cache", made.path)[1].replace(str(made.path), str(place))
        there, here = run("info", "raw-100", "--cache", place), run("info", "raw-100", "--cache", made.path)
        assert there[1].replace(str(place), "CACHE") == here[1].replace(str(made.path), "CACHE")

    def test_rm_removes_a_store_and_its_receipts_and_nothing_else(self, place, run):
        assert run("rm", "raw-100", "--cache", place) == (0, f"{place}/raw-100.zarr: removed\n", "")
        assert {MFCC.name, "clips.parquet", "plan.parquet", "manifest.json"} <= set(place.names())
        assert not any(name.startswith("raw-100") for name in place.names())

    def test_pack_writes_an_archive_on_disk(self, place, run, tmp_path):
        assert run("pack", "raw-100", "packed", "--cache", place)[0] == 0
        assert run("unpack", "packed", "again")[0] == 0
        assert (
            open_cache(tmp_path / "again").open_store("raw").identity == open_cache(place).store("raw-100").identity
        )

    def test_no_cache_and_no_bucket_are_one_line(self, bucket, run):
        says = f"cache: {bucket}/none: no cache here; run `python -m featurize` first\n"
        assert run("ls", "--cache", bucket / "none") == (2, "", says)
        code, out, err = run("verify", "--cache", "s3://no-such-bucket/x")
        assert (code, out, err.count("\n")) == (2, "", 1) and "there is no such bucket" in err

    def test_compact_needs_a_disk(self, place, run):
        code, out, err = run("compact", "--cache", place)
        assert (code, out, err.count("\n")) == (2, "", 1) and "must be on a disk, got a place in a bucket" in err
