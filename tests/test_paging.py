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


def test_a_block_that_is_not_out_cannot_come_back() -> None:
    allocator = BlockAllocator(2)
    (block,) = allocator.allocate(1)
    allocator.release([block])
    for wrong in (block, 2, -1):
        with pytest.raises(ValueError, match=f"block {wrong} is not allocated"):
            allocator.release([wrong])
