from models.mixtral8x7b.paging import blocks_for


def test_blocks_for() -> None:
    assert [blocks_for(n) for n in (0, 1, 64, 65, 128, 32768)] == [0, 1, 1, 2, 2, 512]
