"""The way of a residual between two machines, worked out by hand."""

import pytest

from models.mixtral8x7b.cost.host import read_ms
from models.mixtral8x7b.cost.stages import hand_over_ms


def test_reading_is_published_at_both_ends() -> None:
    assert read_ms(0) == 0.21
    assert read_ms(32 * 151936 * 2) == pytest.approx(2.593)


def test_a_hand_over() -> None:
    n_bytes = 32 * 4096 * 2  # 262,144
    read = 0.21 + (2.593 - 0.21) * n_bytes / 9_723_904
    hand = hand_over_ms(4096)
    assert hand.expected == pytest.approx(read + n_bytes / 1.25e6 + 0.818)  # 10 Gbit/s are 1.25 GB/s
    assert hand.low == pytest.approx(read + n_bytes / 12.5e6)
    assert hand.high == pytest.approx(read + n_bytes / 0.125e6 + 0.818)
