import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import cache.__main__
from cache.lock import writing
from cache.receipts import Receipt, SlotResult, Status, done_groups, read_receipt, receipt_path, write_receipt
from cache.specification import MfccSpecification, RawSpecification
from cache.store import Store

RAW = RawSpecification(100)
MFCC = MfccSpecification(4, 2000)
ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """A function that runs `python -m cache` in this process, in tmp_path: exit code, stdout, stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["cache", *map(str, arguments)])
        try:
            code = cache.__main__.main()
        except SystemExit as stopped:
            code = stopped.code
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def made(make_cache):
    """A cache at the place where the commands look: work/cache."""
    return make_cache("work/cache")


def _flip(path) -> None:
    data = bytearray(path.read_bytes())
    data[77] ^= 16
    path.write_bytes(data)


def test_ls_says_what_is_there(run, made):
    code, out, err = run("ls")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0] == "work/cache: 4 labelled and 2 unlabelled clips"
    assert lines[1].split() == ["store", "clips", "missing", "failed", "MB", "state"]
    assert lines[2].split()[:4] == ["mfcc-4-2000.zarr", "6", "0", "0"] and lines[2].endswith("  complete")
    assert lines[3].split()[:4] == ["raw-100.zarr", "6", "0", "0"] and lines[3].endswith("  complete")
    assert len(lines) == 4


def test_ls_counts_what_is_missing_and_failed(run, make_cache):
    made = make_cache("work/cache", without=[1, 5])
    store = made.path / RAW.name
    results = tuple(SlotResult(slot, "", Status.FAILED, reason="x") for slot in (0, 1, 2))
    write_receipt(store, Receipt(0, read_receipt(store, 0).checksums, results, {}))
    code, out, _ = run("ls")
    assert code == 0
    assert "raw-100.zarr                         4         2       0" in out  # not folded yet
    assert out.count("incomplete: run featurize") == 2


def test_ls_names_a_store_that_it_refuses_and_goes_on(run, made):
    (made.path / MFCC.name / "zarr.json").write_text("{")
    (made.path / "raw-5.zarr").mkdir()
    code, out, _ = run("ls")
    refused = [line for line in out.splitlines() if "refused: " in line]
    assert code == 0 and len(refused) == 2
    assert "mfcc-4-2000.zarr/zarr.json: damaged or foreign metadata" in refused[0]
    assert "raw-5.zarr/zarr.json: missing" in refused[1]
    assert out.splitlines()[3].endswith("complete")


def test_info_says_everything_as_json(run, made):
    code, out, err = run("info", RAW.name)
    facts = json.loads(out)
    assert (code, err) == (0, "")
    assert facts["specification"] == RAW.to_dict()
    assert facts["clips"] == {"pending": 0, "ok": 5, "truncated": 0, "empty": 1, "failed": 0}
    assert (facts["missing"], facts["chunks"], facts["failed"]) == (0, 6, {})
    assert facts["bytes"] == sum(
        path.stat().st_size for path in (made.path / RAW.name).rglob("*") if path.is_file()
    )


def test_info_gives_the_reasons_of_what_failed(run, made):
    store = made.path / RAW.name
    receipt = read_receipt(store, 1)
    results = (SlotResult(3, "", Status.FAILED, reason="ist keine Aufnahme – “kaputt”"),)
    write_receipt(store, Receipt(1, receipt.checksums, results, {}))
    _, out, _ = run("info", "raw-100")
    assert json.loads(out)["failed"] == {"clip 3.wav": "ist keine Aufnahme – “kaputt”"}


def test_verify_finds_nothing_in_a_sound_cache(run, made):
    assert run("verify") == (0, "mfcc-4-2000.zarr: ok\nraw-100.zarr: ok\n", "")


def test_verify_names_the_clips_of_a_bad_chunk_and_withdraws_its_receipt(run, made):
    chunk = Store(made.path / RAW.name).chunk_path(0)
    _flip(chunk)
    code, out, err = run("verify")
    lines = out.splitlines()
    assert (code, err) == (1, "")
    assert lines[0] == "mfcc-4-2000.zarr: ok"
    assert lines[1].startswith("work/cache/raw-100.zarr/features/c/0: damaged chunk: checksum must be ")
    assert lines[1].endswith(": clip 0.wav, clip 1.wav, clip 2.wav")
    assert lines[2:] == ["raw-100.zarr: BAD, run the same featurize again to repair"]
    assert done_groups(made.path / RAW.name) == {1, 2, 5}
    assert done_groups(made.path / MFCC.name) == {0, 1, 2, 5}


def test_verify_takes_one_store(run, made):
    _flip(Store(made.path / RAW.name).chunk_path(0))
    assert run("verify", "mfcc-4-2000") == (0, "mfcc-4-2000.zarr: ok\n", "")
    assert run("verify", RAW.name)[0] == 1


def test_verify_says_what_metadata_it_refuses_and_goes_on(run, made):
    (made.path / MFCC.name / "zarr.json").write_text("{")
    code, out, _ = run("verify")
    assert code == 1
    assert out.splitlines() == [
        "mfcc-4-2000.zarr: refused: work/cache/mfcc-4-2000.zarr/zarr.json: damaged or foreign metadata; "
        "run featurize to mend it",
        "raw-100.zarr: ok",
    ]


def test_verify_finds_a_damaged_array_by_slot(run, made):
    _flip(made.path / RAW.name / "scale" / "c" / "0")
    code, out, _ = run("verify", RAW.name)
    assert code == 1
    assert out.startswith("work/cache/raw-100.zarr/scale/c/0: not what plan and receipts give; the next featurize")
    assert done_groups(made.path / RAW.name) == {0, 1, 2, 5}


def test_verify_refuses_a_damaged_plan(run, made):
    _flip(made.path / "plan.parquet")
    code, out, err = run("verify")
    assert (code, out) == (2, "")
    assert err.startswith("cache: work/cache/plan.parquet: ") and err.count("\n") == 1


def test_verify_withdraws_nothing_under_another_writer(run, made):
    _flip(Store(made.path / RAW.name).chunk_path(0))
    with writing(made.path):
        code, out, err = run("verify")
    assert code == 2 and "damaged chunk" in out
    assert err.startswith("cache: work/cache: one writer at a time, got a second one; process ")
    assert done_groups(made.path / RAW.name) == {0, 1, 2, 5}


def test_rm_removes_a_store_and_its_receipts_and_nothing_else(run, made):
    assert run("rm", RAW.name) == (0, "work/cache/raw-100.zarr: removed\n", "")
    names = {path.name for path in made.path.iterdir()} - {"writer.lock"}
    assert names == {"clips.parquet", "plan.parquet", "mfcc-4-2000.zarr", "mfcc-4-2000.receipts"}


def test_rm_takes_a_store_without_receipts_or_metadata(run, made):
    shutil.rmtree(made.path / "raw-100.receipts")
    (made.path / RAW.name / "zarr.json").unlink()
    assert run("rm", "raw-100")[0] == 0
    assert not (made.path / RAW.name).exists()


def test_rm_keeps_the_store_where_its_receipts_cannot_be_removed(run, made, monkeypatch):
    def refuse(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(shutil, "rmtree", refuse)
    code, out, err = run("rm", RAW.name)
    assert (code, out) == (2, "")
    assert err == "cache: work/cache/raw-100.receipts: Permission denied\n"
    assert receipt_path(made.path / RAW.name, 0).exists() and (made.path / RAW.name).exists()


def test_rm_waits_for_no_other_writer(run, made):
    with writing(made.path):
        code, out, err = run("rm", RAW.name)
    assert (code, out) == (2, "") and "one writer at a time" in err
    assert (made.path / RAW.name).exists()


@pytest.mark.parametrize("command", ["info", "verify", "rm"])
def test_a_store_that_is_not_there_is_named_with_those_that_are(run, made, command):
    assert run(command, "raw-7") == (
        2,
        "",
        "cache: work/cache: store must be one of those there (mfcc-4-2000.zarr, raw-100.zarr), got 'raw-7'\n",
    )


@pytest.mark.parametrize("command", [["ls"], ["info", "x"], ["verify"]])
def test_no_cache_is_said(run, command):
    assert run(*command) == (2, "", "cache: work/cache: no cache here; run `python -m featurize` first\n")


def test_rm_without_a_cache_makes_none(run, tmp_path):
    code, _, err = run("rm", "raw-100")
    assert code == 2 and err == "cache: work/cache: store must be one of those there (none), got 'raw-100'\n"
    assert list(tmp_path.iterdir()) == []


def test_work_and_cache_say_where(run, make_cache):
    make_cache("elsewhere/cache")
    assert run("ls", "--work", "elsewhere")[1].startswith("elsewhere/cache: 4 labelled")
    assert run("ls", "--cache", "elsewhere/cache")[1].startswith("elsewhere/cache: 4 labelled")


def test_an_interrupt_is_said(run, made, monkeypatch):
    def interrupt(command):
        raise KeyboardInterrupt

    monkeypatch.setattr(cache.__main__, "verify", interrupt)
    assert run("verify") == (130, "", "cache: stopped; run the same command again\n")


@pytest.mark.parametrize("arguments", [[], ["list"], ["ls", "--jobs", "1"], ["info"]])
def test_wrong_usage_exits_with_2(run, arguments):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "") and err


def test_help_names_all_commands(run):
    code, out, _ = run("--help")
    assert code == 0
    assert all(name in out for name in ("ls", "info", "verify", "rm", "Look after a feature cache"))


def test_as_a_program_it_starts_without_keras_or_tensorflow(made):
    code = (
        "import runpy, sys\n"
        "try:\n"
        "    runpy.run_module('cache', run_name='__main__', alter_sys=True)\n"
        "finally:\n"
        "    print([m for m in sys.modules if m.split('.')[0] in ('keras', 'tensorflow', 'librosa', 'train')])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, "verify", "--cache", made.path], cwd=ROOT, capture_output=True, text=True
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == ["mfcc-4-2000.zarr: ok", "raw-100.zarr: ok", "[]"]


def test_as_a_program_its_exit_code_is_the_commands(made):
    _flip(Store(made.path / RAW.name).chunk_path(0))
    command = [sys.executable, "-m", "cache", "verify", "--cache", made.path]
    first = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (first.returncode, first.stderr) == (1, "")
    missing = subprocess.run([*command[:3], "ls", "--cache", "none"], cwd=ROOT, capture_output=True, text=True)
    assert (missing.returncode, missing.stdout) == (2, "")
    assert missing.stderr == "cache: none: no cache here; run `python -m featurize` first\n"
