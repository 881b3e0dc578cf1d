from threading import Event

import pytest

from train.ahead import ReadAhead


@pytest.mark.parametrize("workers", [0, 1, 4])
@pytest.mark.parametrize("depth", [0, 1, 20])
def test_results_are_the_same_for_any_workers_and_depth(workers, depth):
    read = ReadAhead(lambda i: i * i, workers=workers, depth=depth)
    assert [read(i) for i in range(50)] == [i * i for i in range(50)]


@pytest.mark.parametrize("workers", [0, 2])
def test_any_order_gives_the_same_results(workers):
    read = ReadAhead(lambda i: i * i, workers=workers)
    order = [0, 1, 0, 1, 2, 9, 3, 3]
    assert [read(i) for i in order] == [i * i for i in order]


def test_it_reads_ahead():
    asked = [Event() for _ in range(4)]
    read = ReadAhead(lambda i: asked[i].set(), stop=4, workers=1, depth=3)
    read(0)
    assert all(event.wait(10) for event in asked)


def test_it_reads_nothing_beyond_the_last():
    asked = []
    read = ReadAhead(asked.append, stop=3, workers=1, depth=10)
    for i in range(3):
        read(i)
    assert asked == [0, 1, 2]


def test_an_error_is_raised_where_the_result_is_asked_for():
    def get(i):
        if i == 2:
            raise OSError("gone")
        return i

    read = ReadAhead(get, workers=1, depth=3)
    assert [read(0), read(1)] == [0, 1]
    with pytest.raises(OSError, match="gone"):
        read(2)


def test_closed_it_computes_only_what_it_is_asked_for():
    asked = []
    read = ReadAhead(lambda i: asked.append(i) or i, workers=1, depth=3)
    read.close()
    assert [read(4), read(5)] == asked == [4, 5]
