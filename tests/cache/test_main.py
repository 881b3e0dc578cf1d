import os
import subprocess
import sys
from pathlib import Path

import pytest

from cache.commands.verify import Verify
from cache.specification import RawSpecification
from cache.store import Store

RAW = RawSpecification(100)
ROOT = Path(__file__).parents[2]
COMMANDS = ("ls", "info", "verify", "rm", "compact", "pack", "unpack")


def _flip(path) -> None:
    data = bytearray(path.read_bytes())
    data[77] ^= 16
    path.write_bytes(data)


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


def test_work_and_cache_say_where(run, make_cache):
    make_cache("elsewhere/cache")
    assert run("ls", "--work", "elsewhere")[1].startswith("elsewhere/cache: 4 labelled")
    assert run("ls", "--cache", "elsewhere/cache")[1].startswith("elsewhere/cache: 4 labelled")


def test_an_interrupt_is_said(run, made, monkeypatch):
    def interrupt(command):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(Verify, "run", interrupt)
    assert run("verify") == (130, "", "cache: stopped; run the same command again\n")


@pytest.mark.parametrize("arguments", [[], ["list"], ["ls", "--jobs", "1"], ["info"], ["pack"], ["unpack", "x"]])
def test_wrong_usage_exits_with_2(run, arguments):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "") and err


def test_help_names_all_commands(run):
    code, out, _ = run("--help")
    assert code == 0
    assert all(name in out for name in (*COMMANDS, "Look after a feature cache", "Exit codes: 0 done"))


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_a_help_of_its_own(run, command):
    code, out, _ = run(command, "--help")
    assert code == 0 and f"python -m cache {command}" in out


def test_a_cache_is_packed_unpacked_and_compacted(run, made, tmp_path):
    code, out, err = run("pack", "--all", "packed")
    assert (code, err) == (0, "") and out.startswith("packed: mfcc-4-2000.zarr, raw-100.zarr packed, ")
    code, out, err = run("unpack", "packed", "again")
    assert (code, err) == (0, "") and out.startswith("again: ")
    assert run("verify", "--cache", "again") == (0, "tables: ok\nmfcc-4-2000.zarr: ok\nraw-100.zarr: ok\n", "")
    code, out, err = run("compact", "--cache", "again")
    assert (code, err) == (0, "") and out.startswith("again: nothing to win, ")


@pytest.mark.parametrize("command", [["ls"], ["info", "raw-100"], ["verify"], ["rm", "raw-100"], ["compact"]])
def test_a_package_is_said_to_be_one(run, made, tmp_path, command):
    run("pack", "--all", "packed")
    code, out, err = run(*command, "--cache", "packed")
    assert (code, out) == (2, "")
    assert err == "cache: packed: must be a cache, got a packed one; unpack it with `python -m cache unpack`\n"


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
    assert result.stdout.splitlines() == ["tables: ok", "mfcc-4-2000.zarr: ok", "raw-100.zarr: ok", "[]"]


def test_as_a_program_its_exit_code_is_the_commands(made):
    _flip(Store(made.path / RAW.name).chunk_path(0))
    command = [sys.executable, "-m", "cache", "verify", "--cache", made.path]
    first = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (first.returncode, first.stderr) == (1, "")
    missing = subprocess.run([*command[:3], "ls", "--cache", "none"], cwd=ROOT, capture_output=True, text=True)
    assert (missing.returncode, missing.stdout) == (2, "")
    assert missing.stderr == "cache: none: no cache here; run `python -m featurize` first\n"


@pytest.mark.parametrize("arguments", [["--help"], ["ls"], ["verify"]])
def test_a_reader_that_is_gone_ends_the_command_quietly(made, tmp_path, arguments):
    reader, writer = os.pipe()
    os.close(reader)
    where = [] if arguments == ["--help"] else ["--cache", str(tmp_path / "work" / "cache")]
    command = [sys.executable, "-m", "cache", *arguments, *where]
    done = subprocess.run(command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert done.returncode == 141 and done.stderr == ""
