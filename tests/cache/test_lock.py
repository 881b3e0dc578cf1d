import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from threading import Event, Thread

import pytest

from cache.lock import Lease, holder, holding
from cache.storage import CacheError, LocalStorage

ROOT = Path(__file__).parents[2]
_HOLD = """
import sys
from cache.lock import holding
from cache.storage import open_storage
with holding(open_storage(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def _other_process(place) -> subprocess.Popen:
    """A process that holds a cache until its standard input is closed."""
    command = [sys.executable, "-c", _HOLD, str(place)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def cache(tmp_path):
    return LocalStorage(tmp_path / "cache")


@pytest.fixture
def other(cache):
    """Another process that holds the cache."""
    with _other_process(cache) as process:
        yield process
        process.kill()


def test_a_second_writer_is_told_who_holds_it(cache, other):
    with (
        pytest.raises(
            CacheError,
            match=rf"/cache: process {other.pid} on {socket.gethostname()}, since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d, "
            "is writing the cache; wait for it to end",
        ),
        holding(cache),
    ):
        pass


def test_a_second_writer_of_this_process_is_refused_too(cache):
    with holding(cache), pytest.raises(CacheError, match=f"process {os.getpid()} on"), holding(cache):
        pass


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "[" * 10**5, '{"pid": "\\u001b[2J", "host": {}, "since": 1e999}', "\xff"]
)
def test_a_holder_that_cannot_be_read_is_said_in_one_harmless_line(cache, text):
    with holding(cache):
        cache.path("writer.json").write_text(text, encoding="latin-1")
        with pytest.raises(CacheError, match="is writing the cache") as raised, holding(cache):
            pass
        assert str(raised.value).isprintable() and holder(cache) == ""


def test_the_lock_is_free_again_when_its_holder_ends(cache, other):
    other.stdin.close()
    assert other.wait() == 0
    assert not cache.look("writer.json")
    with holding(cache):
        pass


def test_the_lock_is_freed_when_its_holder_is_killed(cache, other):
    other.send_signal(signal.SIGKILL)
    assert other.wait() == -signal.SIGKILL
    with holding(cache):
        assert json.loads(cache.read("writer.json"))["pid"] == os.getpid()


def test_an_error_inside_frees_the_lock_and_names_nobody(cache):
    with pytest.raises(KeyError), holding(cache):
        raise KeyError("inside")
    assert not cache.look("writer.json")
    with holding(cache):
        pass


def test_caches_are_held_one_by_one(cache):
    with holding(cache), holding(cache / "deeper" / "another"):
        pass


def test_waiting_for_another_holder(cache, other):
    def hold_and_note():
        with holding(cache, wait=True):
            cache.write("held", b"")

    waiting = Thread(target=hold_and_note)
    waiting.start()
    assert not cache.look("held")
    other.stdin.close()
    waiting.join(30)
    assert cache.look("held")


def test_a_holder_is_told_from_every_other(cache):
    said = []
    for _ in range(2):
        with holding(cache) as hold:
            said.append(holder(cache))
            assert hold.id == holder(cache) == said[-1] != ""
    assert said[0] != said[1] and holder(cache) == holder(cache / "nowhere") == ""


def test_a_hold_that_has_ended_is_refused(cache):
    with holding(cache) as hold:
        hold.check()
    with pytest.raises(
        CacheError, match="/cache: this run does not hold the cache any more: .*; rerun the command"
    ):
        hold.check()
    with holding(cache), pytest.raises(CacheError, match="does not hold the cache any more"):
        hold.check()


def test_a_file_where_the_cache_should_be_is_said(cache):
    cache.path().write_text("")
    with (
        pytest.raises(CacheError, match=r"/cache: cannot be written \(File exists\); give another folder"),
        holding(cache),
    ):
        pass


BODY = {"pid": 1, "host": "there", "since": "then", "id": "mine"}


@pytest.fixture
def lease(bucket):
    """A function that makes a lease on the bucket's lock; what is made is given back at the end."""
    made = []

    def make(seconds=60, on_loss=lambda: None, **body):
        made.append(Lease(bucket, {**BODY, "id": f"{len(made)}", **body}, on_loss, seconds))
        return made[-1]

    yield make
    for each in made:
        each.give_back()


def _put(bucket, body) -> None:
    bucket.write("writer.lock", body if isinstance(body, bytes) else json.dumps(body).encode())


def test_in_a_bucket_a_second_one_is_told_who_holds_it_and_until_when(lease, bucket):
    lease().take()
    with pytest.raises(
        CacheError,
        match=rf"^{bucket}: process 1 on there, since then, is writing the cache; wait for it to end; "
        r"if it was killed, its lease ends at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d$",
    ):
        lease().take()
    assert bucket.names() == ["writer.lock"]


def test_a_lease_is_free_once_it_is_given_back(lease, bucket):
    first, second = lease(), lease()
    first.take()
    assert holder(bucket) == "0"
    first.give_back()
    assert holder(bucket) == ""
    second.take()
    first.give_back()
    assert holder(bucket) == "1"


def test_a_lease_whose_time_is_up_is_taken_over(lease, bucket):
    _put(bucket, {**BODY, "lease_s": 0})
    lease().take()
    assert holder(bucket) == "0"


@pytest.mark.parametrize("lease_s", [1000, 1e308, 10**400, float("inf"), float("nan"), True, None, "x", -1e308, []])
def test_a_lease_of_any_length_is_read(lease, bucket, lease_s):
    """What is huge, or no number, counts for a while; one that is over does not."""
    _put(bucket, {**BODY, "lease_s": lease_s})
    if lease_s == -1e308:
        lease().take()
        return
    message = "(process 1 on there, since then,|another process) is writing .* its lease ends at 2"
    with pytest.raises(CacheError, match=message):
        lease().take()


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"\xff", b"[" * 10**5, json.dumps(BODY).encode()])
def test_an_object_that_says_nothing_of_a_lease_is_none(lease, bucket, body):
    """A lock file of a disk, say, that was copied into the bucket with the cache."""
    _put(bucket, body)
    assert holder(bucket) == ""
    lease().take()
    assert holder(bucket) == "0"


@pytest.mark.parametrize("body", [b'{"lease_s": 60', b'{"lease_s": 60, "pid": {}}'])
def test_a_lease_that_cannot_be_read_is_that_of_another_process(lease, bucket, body):
    _put(bucket, body)
    message = "another process is writing the cache; wait for it to end; if it was killed"
    with pytest.raises(CacheError, match=message):
        lease().take()


def test_of_two_that_take_over_one_does(lease, bucket, monkeypatch):
    _put(bucket, {"lease_s": 0})
    late = lease()
    read = type(bucket).read_with_look

    def read_and_be_overtaken(storage, key, n_bytes=None):
        found = read(storage, key, n_bytes)
        monkeypatch.undo()
        lease().take()
        return found

    monkeypatch.setattr(type(bucket), "read_with_look", read_and_be_overtaken)
    with pytest.raises(CacheError, match="another process has just begun to write the cache"):
        late.take()


def test_one_that_is_renewed_while_another_looks_is_not_taken_over(lease, bucket, monkeypatch):
    """Its time was up when the other one looked; each renewal has another ETag."""
    slow = lease(seconds=0)
    slow.take()
    read = type(bucket).read_with_look

    def read_too_early(storage, key, n_bytes=None):
        found = read(storage, key, n_bytes)
        monkeypatch.undo()
        slow.renew()
        return found

    monkeypatch.setattr(type(bucket), "read_with_look", read_too_early)
    with pytest.raises(CacheError, match="has just begun to write"):
        lease().take()


@pytest.mark.parametrize("change", ["taken over", "removed"])
def test_a_lease_that_is_anothers_is_lost_once(lease, bucket, change):
    losses = []
    mine = lease(on_loss=lambda: losses.append(1))
    mine.take()
    _put(bucket, b"another's") if change == "taken over" else bucket.remove("writer.lock")
    mine.renew()
    mine.renew()
    assert mine.lost and losses == [1]
    mine.give_back()
    assert (bucket.look("writer.lock") is not None) == (change == "taken over")


def test_a_network_that_fails_is_no_loss_until_the_time_is_up(bucket, monkeypatch):
    ended = Event()
    mine = Lease(bucket, BODY, on_loss=ended.set, seconds=2)
    mine.take()
    monkeypatch.setattr(type(bucket), "write_if", _no_answer)
    mine.renew()
    assert not mine.lost
    assert ended.wait(30) and mine.lost


def _no_answer(*_):
    raise OSError(5, "no answer")


def test_in_a_bucket_an_error_or_an_interrupt_frees_the_lock(bucket):
    for error in (KeyError, KeyboardInterrupt):
        with pytest.raises(error), holding(bucket):
            raise error
        assert holder(bucket) == ""


def test_in_a_bucket_a_writer_whose_lease_is_lost_stops_and_commits_nothing_more(bucket, monkeypatch):
    leases = []
    take = Lease.take
    monkeypatch.setattr(Lease, "take", lambda lease: leases.append(lease) or take(lease))
    before = signal.getsignal(signal.SIGUSR1)
    with (
        pytest.raises(
            CacheError, match=": this run does not hold the cache any more: its lease could not be renewed"
        ),
        holding(bucket) as hold,
    ):
        _put(bucket, b"another's")
        Thread(target=leases[0].renew).start()
        Event().wait()
    assert signal.getsignal(signal.SIGUSR1) == before
    assert bucket.read("writer.lock") == b"another's"
    _put(
        bucket, {**BODY, "id": hold.id, "lease_s": 60}
    )  # as it looks where nobody else came, though the time is up
    with pytest.raises(CacheError, match="does not hold the cache any more"):
        hold.check()


@pytest.mark.slow
def test_in_a_bucket_a_holder_that_is_killed_holds_until_its_time_is_up(bucket):
    with _other_process(bucket / "cache") as process:
        process.kill()
    with (
        pytest.raises(CacheError, match=rf"process {process.pid} on .* if it was killed"),
        holding(bucket / "cache"),
    ):
        pass
    held = json.loads((bucket / "cache").read("writer.lock"))
    (bucket / "cache").write("writer.lock", json.dumps({**held, "lease_s": 0}).encode())
    with holding(bucket / "cache") as hold:
        assert holder(bucket / "cache") == hold.id


def test_a_lease_of_zero_seconds_is_nobodys(bucket):
    _put(bucket, {**BODY, "lease_s": 0})
    assert holder(bucket) == ""
