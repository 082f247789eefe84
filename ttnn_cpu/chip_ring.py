"""The sum over the chips of a ring as the kernels of reduce_scatter make it, to the bit.

A tile of chip i's slice is the sum of all chips' tiles there. Of the n - 1 others some come, chip after chip, from
ahead and the rest from behind; each chip on the way adds its own and rounds to the dtype. Chip i adds its own to what
comes from behind, adds that to what comes from ahead, which the destination holds, and rounds once. Tiles go in chunks
of 8, row after row: of the even ones n / 2 - 1 chips are ahead, of the odd ones n / 2.

Where this comes from: equal to the bit to what ttnn 0.81.1 gave on 8 simulated chips, in bfloat16 and bfloat8_b.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch

from ttnn_cpu.chip_matmul import added_to
from ttnn_cpu.chip_rounding import packed, sum_of_two
from ttnn_cpu.enums import TILE_SIZE, DataType

_CHUNK = 8  # tiles


def slice_sum(parts: torch.Tensor, chip: int, dtype: DataType) -> torch.Tensor:
    """All chips' parts [n, .., R, C] of the slice that chip `chip` of n keeps -> [.., R, C]."""
    n = len(parts)
    own, others = parts[chip], [parts[(chip + step) % n] for step in range(1, n)]
    even, odd = (_joined(own, others[:ahead], others[ahead:], dtype) for ahead in (n // 2 - 1, n // 2))
    return torch.where(_is_odd(*own.shape[-2:]), odd, even)


def _joined(
    own: torch.Tensor, ahead: Sequence[torch.Tensor], behind: Sequence[torch.Tensor], dtype: DataType
) -> torch.Tensor:
    """Of the others in the order in which they follow the chip."""

    def passed_on(way: Sequence[torch.Tensor]) -> torch.Tensor:
        return reduce(lambda total, tile: packed(sum_of_two(total, tile), dtype), way)

    if not ahead or not behind:
        return packed(sum_of_two(passed_on(ahead or behind), own), dtype)
    return packed(added_to(passed_on(ahead[::-1]), passed_on(behind), own), dtype)


def _is_odd(rows: int, columns: int) -> torch.Tensor:
    """[rows, columns]: in a chunk of an odd number."""
    tiles_down, tiles_across = -(-rows // TILE_SIZE), -(-columns // TILE_SIZE)
    number = torch.arange(tiles_down * tiles_across).view(tiles_down, tiles_across)
    of_value = number.repeat_interleave(TILE_SIZE, 0).repeat_interleave(TILE_SIZE, 1)[:rows, :columns]
    return of_value // _CHUNK % 2 == 1
