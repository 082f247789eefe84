import pytest

from models.mixtral8x7b.paging import BlockAllocator, OutOfBlocksError, blocks_for


def test_blocks_for() -> None:
    assert [blocks_for(n) for n in (0, 1, 64, 65, 128, 32768)] == [0, 1, 1, 2, 2, 512]


def test_blocks_are_handed_out_once_and_come_back() -> None:
    allocator = BlockAllocator(5)
    a, b = allocator.allocate(65), allocator.allocate(129)
    assert sorted(a + b) == [0, 1, 2, 3, 4]
    assert allocator.n_free == 0
    allocator.release(a)
    assert allocator.n_free == 2
    assert sorted(allocator.allocate(128)) == sorted(a)


def test_too_many_are_refused_and_nothing_is_taken() -> None:
    allocator = BlockAllocator(3)
    with pytest.raises(OutOfBlocksError, match="193 tokens need 4 KV blocks of 64; 3 of 3 are free"):
        allocator.allocate(193)
    assert allocator.n_free == 3


def test_the_lowest_free_number_is_first() -> None:
    allocator = BlockAllocator(4)
    a, b = allocator.allocate(64), allocator.allocate(64)
    assert (a, b) == ([0], [1])
    allocator.release(a)
    allocator.release(b)
    assert allocator.allocate(256) == [0, 1, 2, 3]


def test_a_block_that_is_not_out_cannot_come_back() -> None:
    allocator = BlockAllocator(3)
    (block,) = allocator.allocate(1)
    for wrong in ([block, block], [1], [3], [-1], [block, 2]):
        with pytest.raises(ValueError, match="are not all allocated, once each"):
            allocator.release(wrong)
    assert allocator.n_free == 2
    allocator.release([block])
    with pytest.raises(ValueError, match="not all allocated"):
        allocator.release([block])
