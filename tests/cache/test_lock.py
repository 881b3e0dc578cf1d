import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from threading import Event, Thread

import pytest

from cache import lock
from cache.bucket.lease import Lease
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


def test_in_a_bucket_a_second_writer_is_told_who_holds_it(bucket):
    with (
        writing(bucket / "cache"),
        pytest.raises(
            CacheError,
            match=rf"^s3://{bucket.bucket}/cache: one writer at a time, got a second one; process {os.getpid()} on .*, "
            r"since .*, is writing: wait for it to end; if it was killed, its hold ends at ",
        ),
        writing(bucket / "cache"),
    ):
        pass
    with writing(bucket / "cache"):
        pass
    assert not (bucket / "cache").exists()


def test_in_a_bucket_a_holder_that_is_killed_holds_until_its_time_is_up(bucket):
    command = [sys.executable, "-c", _HOLD_IN_BUCKET, str(bucket / "cache")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as process:
        assert process.stdout.readline() == "held\n"
        process.kill()
    with (
        pytest.raises(CacheError, match=rf"process {process.pid} on .* if it was killed"),
        writing(bucket / "cache"),
    ):
        pass
    held = json.loads((bucket / "cache" / "writer.lock").read_bytes())
    (bucket / "cache" / "writer.lock").write_bytes(json.dumps({**held, "lease_s": 0}).encode())
    with writing(bucket / "cache"):
        assert json.loads((bucket / "cache" / "writer.lock").read_bytes())["pid"] == os.getpid()


_HOLD_IN_BUCKET = """
import sys
from cache.lock import writing
from cache.places import place
with writing(place(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_in_a_bucket_an_error_inside_frees_the_lock(bucket):
    with pytest.raises(KeyError), writing(bucket):
        raise KeyError("inside")
    assert not (bucket / "writer.lock").exists()


def test_in_a_bucket_an_interrupt_is_an_interrupt(bucket):
    with pytest.raises(KeyboardInterrupt), writing(bucket):
        raise KeyboardInterrupt
    assert not (bucket / "writer.lock").exists()


def test_in_a_bucket_a_writer_whose_hold_is_lost_stops(bucket, monkeypatch):
    leases = []
    take = Lease.take
    monkeypatch.setattr(Lease, "take", lambda lease: leases.append(lease) or take(lease))
    before = signal.getsignal(signal.SIGUSR1)
    with (
        pytest.raises(
            CacheError,
            match=r": the writer's hold must be renewed every minute, got no answer in time or another holder; "
            "what is done is kept: run the same command again",
        ),
        writing(bucket),
    ):
        (bucket / "writer.lock").write_bytes(b"another's")
        Thread(target=leases[0].renew).start()
        Event().wait()
    assert signal.getsignal(signal.SIGUSR1) == before
    assert (bucket / "writer.lock").read_bytes() == b"another's"


def test_waiting_for_another_holder(tmp_path, holder):
    waiting = Thread(target=lambda: _hold_and_note(tmp_path / "cache"))
    waiting.start()
    assert not (tmp_path / "cache" / "held").exists()
    holder.stdin.close()
    waiting.join(30)
    assert (tmp_path / "cache" / "held").exists()


def _hold_and_note(folder: Path) -> None:
    with writing(folder, wait=True):
        (folder / "held").touch()


def test_a_holder_is_told_from_every_other(tmp_path):
    said = []
    for _ in range(2):
        with writing(tmp_path / "cache"):
            said.append(lock.holder(tmp_path / "cache"))
            assert lock.holder(tmp_path / "cache") == said[-1] and str(os.getpid()) in said[-1]
    assert said[0] != said[1] and lock.holder(tmp_path / "cache") == lock.holder(tmp_path / "nowhere") == ""


def test_a_file_where_the_cache_should_be_is_said(tmp_path):
    (tmp_path / "cache").write_text("")
    message = "cache: cache must be a folder that can be written, got File exists; mend that, or name another"
    with pytest.raises(CacheError, match=message), writing(tmp_path / "cache"):
        pass
