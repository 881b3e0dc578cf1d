import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cache.errors import CacheError
from cache.lock import writing

_HOLD = """
import sys
from pathlib import Path
from cache.lock import writing
with writing(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the cache tmp_path/cache until its standard input is closed."""
    command = [sys.executable, "-c", _HOLD, tmp_path / "cache"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_writer_is_told_who_holds_it(tmp_path, holder):
    with (
        pytest.raises(
            CacheError,
            match=rf"/cache: one writer at a time, got a second one; process {holder.pid} on {socket.gethostname()}, "
            r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d, is writing: wait for it to end",
        ),
        writing(tmp_path / "cache"),
    ):
        pass


def test_a_second_writer_of_this_process_is_refused_too(tmp_path):
    with writing(tmp_path), pytest.raises(CacheError, match=f"process {os.getpid()} on"), writing(tmp_path):
        pass


def test_a_holder_that_cannot_be_read_is_another_process(tmp_path, holder):
    for text in ("", "[]", "{}"):
        (tmp_path / "cache" / "writer.json").write_text(text)
        with pytest.raises(CacheError, match="another process is writing"), writing(tmp_path / "cache"):
            pass


def test_the_lock_is_free_again_when_its_holder_ends(tmp_path, holder):
    holder.stdin.close()
    assert holder.wait() == 0
    assert not (tmp_path / "cache" / "writer.json").exists()
    with writing(tmp_path / "cache"):
        pass


def test_the_lock_is_freed_when_its_holder_is_killed(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    assert holder.wait() == -signal.SIGKILL
    with writing(tmp_path / "cache"):
        holder_now = json.loads((tmp_path / "cache" / "writer.json").read_text())
    assert holder_now["pid"] == os.getpid()


def test_an_error_inside_frees_the_lock_and_names_nobody(tmp_path):
    with pytest.raises(KeyError), writing(tmp_path):
        raise KeyError("inside")
    assert not (tmp_path / "writer.json").exists()
    with writing(tmp_path):
        pass


def test_the_folder_is_made(tmp_path):
    with writing(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()


def test_caches_are_held_one_by_one(tmp_path):
    with writing(tmp_path / "a"), writing(tmp_path / "b"):
        pass
