"""Rotary position embedding on the chips: tables of cos and sin, and the matrix that swaps the two of a pair.

ttnn computes x * cos + (x @ swap) * sin, with interleaved pairs as in Mistral's weights: swap turns (a, b) into
(-b, a), and both elements of pair i find cos and sin of pair i in columns 2i and 2i + 1 of the tables.
"""

from dataclasses import dataclass

import torch
import ttnn

from models.mixtral8x7b.config import MixtralConfig
from models.mixtral8x7b.reference.rope import rope_tables
from models.mixtral8x7b.tt.layouts import DECODE_ROWS, TILE, one_row_per_core
from models.mixtral8x7b.tt.mesh import Mesh

ROPE_ROWS = 2 * DECODE_ROWS  # in decode query and key heads are turned together: 32 rows for each


@dataclass(frozen=True)
class Rotation:
    """What turns the heads at the positions of one step or one pass."""

    cos: ttnn.Tensor
    sin: ttnn.Tensor
    swap: ttnn.Tensor

    def deallocate(self) -> None:
        """Frees the tables; the swap matrix stays."""
        ttnn.deallocate(self.cos)
        ttnn.deallocate(self.sin)


class Rope:
    """Tables [1, 1, max_seq_len, head_dim] bf16, whole on every chip [16.8 MB for both at 32k]."""

    def __init__(self, config: MixtralConfig, mesh: Mesh) -> None:
        cos_SP, sin_SP = rope_tables(config, config.max_seq_len)
        self._cos_SK = mesh.put(cos_SP.repeat_interleave(2, dim=-1)[None, None], ttnn.bfloat16)
        self._sin_SK = mesh.put(sin_SP.repeat_interleave(2, dim=-1)[None, None], ttnn.bfloat16)
        self._per_row = one_row_per_core(config.head_dim, ROPE_ROWS)
        self._swap = mesh.put(_swap_matrix(), ttnn.bfloat16, ttnn.TILE_LAYOUT)
        self._swap_per_row = mesh.put(
            _swap_matrix().repeat(1, 1, ROPE_ROWS, 1),
            ttnn.bfloat16,
            ttnn.TILE_LAYOUT,
            memory_config=one_row_per_core(TILE, ROPE_ROWS),
        )

    def for_decode(self, positions_64: ttnn.Tensor) -> Rotation:
        """uint32 [1, 64], the 32 rows' positions twice -> tables [1, 64, 1, head_dim], one row on each of 64 cores."""
        return Rotation(
            self._sharded_rows(self._cos_SK, positions_64),
            self._sharded_rows(self._sin_SK, positions_64),
            self._swap_per_row,
        )

    def for_prefill(self, positions: ttnn.Tensor) -> Rotation:
        """uint32 [1, T], each row's position -> tables [1, 1, T, head_dim] in DRAM. Frees positions."""
        rotation = Rotation(_rows(self._cos_SK, positions), _rows(self._sin_SK, positions), self._swap)
        ttnn.deallocate(positions)
        return rotation

    def _sharded_rows(self, table_SK: ttnn.Tensor, positions_64: ttnn.Tensor) -> ttnn.Tensor:
        rows = _rows(table_SK, positions_64)
        apart = ttnn.transpose(rows, 1, 2)
        ttnn.deallocate(rows)
        sharded = ttnn.interleaved_to_sharded(apart, self._per_row)
        ttnn.deallocate(apart)
        return sharded


def _rows(table_SK: ttnn.Tensor, positions: ttnn.Tensor) -> ttnn.Tensor:
    return ttnn.unsqueeze_to_4D(ttnn.embedding(positions, table_SK, layout=ttnn.TILE_LAYOUT))


def _swap_matrix() -> torch.Tensor:
    """[1, 1, 32, 32] so that (x @ swap)[2i] = -x[2i+1] and (x @ swap)[2i+1] = x[2i]: one tile serves any head_dim."""
    swap = torch.zeros(1, 1, TILE, TILE)
    even = torch.arange(0, TILE, 2)
    swap[..., even + 1, even] = -1
    swap[..., even, even + 1] = 1
    return swap
