from threading import Barrier

import pytest

from cache.ahead import each
from cache.bucket.objects import ObjectPath

BUCKET = ObjectPath("bucket", "folder")


@pytest.mark.parametrize("place", ["disk", "bucket"])
def test_results_come_in_order(tmp_path, place):
    place = tmp_path if place == "disk" else BUCKET
    assert list(each(lambda n: n * n, range(100), place)) == [n * n for n in range(100)]
    assert list(each(lambda n: n, [], place)) == []


def test_on_a_disk_nothing_is_done_before_it_is_asked_for(tmp_path):
    done = []
    results = each(lambda n: done.append(n) or n, range(10), tmp_path)
    assert next(results) == 0 and done == [0]


def test_in_a_bucket_threads_work_at_the_same_time():
    together = Barrier(4, timeout=30)
    assert list(each(lambda n: together.wait() >= 0, range(4), BUCKET, threads=4)) == [True] * 4


def test_no_more_than_so_many_results_wait():
    begun = []

    def items():
        for n in range(20):
            begun.append(n)
            yield n

    results = each(lambda n: n, items(), BUCKET, threads=3)
    assert next(results) == 0 and begun == [0, 1, 2]
    assert next(results) == 1 and begun == [0, 1, 2, 3]
    assert list(results) == list(range(2, 20))


def test_an_error_comes_in_its_turn_and_ends_the_rest():
    def work(n):
        if n == 2:
            raise OSError("no answer")
        return n

    results = each(work, range(10**6), BUCKET, threads=4)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(OSError, match="no answer"):
        next(results)
    assert list(results) == []
