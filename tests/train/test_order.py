import numpy as np
import pytest

from train import order
from train.draws import Purpose, clip_keys, draw
from train.order import BLOCK, EpochOrder, fitting_order

N = 600
KEYS = clip_keys([f"{number}.wav" for number in range(N)])
CHUNKS = np.arange(N) // 10 + 3  # 60 chunks: 4 blocks, the last of 12


def _blocks(rows):
    """The chunks of each stretch of BLOCK chunks' clips."""
    return [set(CHUNKS[rows[first : first + 10 * BLOCK]]) for first in range(0, N, 10 * BLOCK)]


def test_a_random_order_is_that_of_the_clips_numbers():
    rows = EpochOrder(1, KEYS).rows(2)
    assert np.array_equal(rows, np.argsort(draw(1, 2, KEYS, Purpose.ORDER)))


@pytest.mark.parametrize("chunks", [None, CHUNKS])
def test_every_clip_comes_once_an_epoch_in_an_order_of_its_own(chunks):
    orders = EpochOrder(1, KEYS, chunks)
    assert sorted(orders.rows(0)) == list(range(N))
    assert not np.array_equal(orders.rows(0), orders.rows(1))
    assert not np.array_equal(orders.rows(0), EpochOrder(2, KEYS, chunks).rows(0))
    assert np.array_equal(EpochOrder(1, KEYS, chunks).rows(1), orders.rows(1))


def test_blocks_hold_whole_chunks_and_are_put_together_anew():
    orders = EpochOrder(1, KEYS, CHUNKS)
    first, second = (_blocks(orders.rows(epoch)) for epoch in (0, 1))
    for blocks in (first, second):
        assert [len(block) for block in blocks] == [16, 16, 16, 12]
        assert len(set().union(*blocks)) == 60
    assert first != second
    within = CHUNKS[orders.rows(0)[: 10 * BLOCK]]
    assert (np.diff(within) != 0).sum() > 100  # clips of a block are mixed, not taken chunk by chunk


def test_partners_come_from_the_clips_own_block():
    orders = EpochOrder(1, KEYS, CHUNKS)
    rows = orders.rows(3)
    partners = orders.partners(3, rows, draw(1, 3, KEYS[rows], Purpose.PARTNER))
    for own, others in zip(_blocks(rows), _blocks(partners), strict=True):
        assert others <= own
    assert len(set(partners)) > N / 2


def test_partners_of_a_random_order_come_from_everywhere():
    orders = EpochOrder(1, KEYS)
    partners = orders.partners(3, np.arange(N), draw(1, 3, KEYS, Purpose.PARTNER))
    assert partners.min() >= 0 and partners.max() < N
    assert len(set(partners)) > N / 2


def test_a_blocks_chunks_are_read_while_the_block_before_it_is_at_work():
    orders = EpochOrder(1, KEYS, CHUNKS)
    rows, blocks = orders.rows(0), _blocks(orders.rows(0))
    ahead = [orders.chunks_ahead(0, rows[first : first + 32]) for first in range(0, N, 32)]
    found = [(step, set(chunks)) for step, chunks in enumerate(ahead) if len(chunks)]
    assert found == [(0, blocks[0] | blocks[1]), (5, blocks[2]), (10, blocks[3])]  # blocks of 160 clips


def test_a_random_order_reads_nothing_ahead():
    assert not len(EpochOrder(1, KEYS).chunks_ahead(0, np.arange(32)))


def test_a_store_larger_than_the_free_memory_is_taken_in_blocks(monkeypatch):
    monkeypatch.setattr(order, "free_memory", lambda: 1000)
    assert [fitting_order(n_bytes) for n_bytes in (1000, 1001)] == ["random", "blocks"]


def test_free_memory_is_some_of_it():
    assert 1 << 20 < order.free_memory() < 1 << 50
