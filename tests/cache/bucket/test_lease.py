import json
import os
import socket

import pytest

from cache.bucket.lease import HeldError, Lease


@pytest.fixture
def lease(bucket):
    """A function that makes a lease on one object; what is made is given back at the end."""
    made = []

    def make(seconds=60, on_loss=lambda: None):
        made.append(Lease(bucket / "writer.lock", on_loss, seconds))
        return made[-1]

    yield make
    for each in made:
        each.give_back()


def _put(bucket, body) -> None:
    (bucket / "writer.lock").write_bytes(body if isinstance(body, bytes) else json.dumps(body).encode())


def test_a_second_one_is_told_who_holds_it_and_until_when(lease):
    lease().take()
    with pytest.raises(
        HeldError,
        match=rf"^process {os.getpid()} on {socket.gethostname()}, since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d, is writing: "
        r"wait for it to end; if it was killed, its hold ends at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d$",
    ):
        lease().take()


def test_it_is_free_once_it_is_given_back(lease, bucket):
    first, second = lease(), lease()
    first.take()
    first.give_back()
    assert not (bucket / "writer.lock").exists()
    second.take()
    first.give_back()
    assert (bucket / "writer.lock").exists()


def test_a_lease_whose_time_is_up_is_taken_over(lease, bucket):
    _put(bucket, {"pid": 1, "host": "dead", "since": "then", "lease_s": 0})
    lease().take()
    assert json.loads((bucket / "writer.lock").read_bytes())["pid"] == os.getpid()


def test_a_lease_whose_time_is_not_up_is_not(lease, bucket):
    _put(bucket, {"pid": 1, "host": "there", "since": "then", "lease_s": 1000})
    with pytest.raises(HeldError, match="^process 1 on there, since then, is writing"):
        lease().take()


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'{"lease_s": "x"}', b"\xff"])
def test_a_holder_that_cannot_be_read_is_another_process(lease, bucket, body):
    _put(bucket, body)
    with pytest.raises(HeldError, match="^another process is writing: wait for it to end; if it was killed"):
        lease().take()


def test_of_two_that_take_over_one_does(lease, bucket, monkeypatch):
    _put(bucket, {"lease_s": 0})
    late = lease()
    read = type(bucket).read

    def read_and_be_overtaken(path):
        found = read(path)
        monkeypatch.undo()
        lease().take()
        return found

    monkeypatch.setattr(type(bucket), "read", read_and_be_overtaken)
    with pytest.raises(HeldError, match="^another process has just begun to write: wait for it to end$"):
        late.take()


def test_one_that_is_given_back_while_another_looks_is_free(lease, bucket, monkeypatch):
    first, second = lease(), lease()
    first.take()
    read = type(bucket).read

    def read_too_late(path):
        first.give_back()
        return read(path)

    monkeypatch.setattr(type(bucket), "read", read_too_late)
    second.take()


def test_a_put_whose_answer_was_lost_counts(lease, bucket):
    mine = lease()
    _put(bucket, mine._body)  # as boto3's first try has it, before the second finds that there is one
    mine.take()
    mine.renew()
    assert not mine.lost


def test_renewing_puts_the_same_holder_again(lease, bucket):
    mine = lease()
    mine.take()
    before = (bucket / "writer.lock").read_bytes()
    mine.renew()
    assert (bucket / "writer.lock").read_bytes() == before and not mine.lost


@pytest.mark.parametrize("change", ["taken over", "removed"])
def test_a_lease_that_is_anothers_is_lost_once(lease, bucket, change):
    losses = []
    mine = lease(on_loss=lambda: losses.append(1))
    mine.take()
    _put(bucket, b"another's") if change == "taken over" else (bucket / "writer.lock").unlink()
    mine.renew()
    mine.renew()
    assert mine.lost and losses == [1]
    mine.give_back()
    assert (bucket / "writer.lock").exists() == (change == "taken over")


def test_a_network_that_fails_is_no_loss_until_the_time_is_up(lease, bucket, monkeypatch):
    losses = []
    mine = lease(on_loss=lambda: losses.append(1))
    mine.take()
    monkeypatch.setattr(type(bucket), "write_bytes", _no_answer)
    mine.renew()
    assert not mine.lost
    mine._last.function()  # what the timer calls
    assert mine.lost and losses == [1]


def test_the_time_counts_from_before_the_bucket_was_asked(lease, monkeypatch):
    mine = lease(seconds=60)
    mine.take()
    assert 44 < mine._last.interval <= 45
    now = [1000.0]

    def answer_slowly(path, body, **condition):
        now[0] += 40
        return "etag"

    monkeypatch.setattr("cache.bucket.lease.time.monotonic", lambda: now[0])
    monkeypatch.setattr(type(mine._path), "write_bytes", answer_slowly)
    mine.renew()
    assert mine._last.interval == 5


def test_the_thread_renews_and_ends(lease, bucket, monkeypatch):
    mine, renewed = lease(), []

    def wait(seconds):
        renewed.append(seconds)
        return len(renewed) == 3

    monkeypatch.setattr(mine._ended, "wait", wait)
    monkeypatch.setattr(mine, "renew", lambda: renewed.append("renewed"))
    mine._keep()
    assert renewed == [15, "renewed", 15]


def _no_answer(path, *_, **__):
    raise OSError(5, "no answer", str(path))
