"""The paged KV cache: for each layer a pool of blocks of keys and one of values, shared by all users.

pool          [blocks, KV heads of a chip, 64 positions, head_dim], in DRAM
page table    [users, blocks per user]: entry b of a user is the block that holds positions 64 b .. 64 b + 63
"""

import ttnn

from models.mixtral8x7b.config import MixtralConfig
from models.mixtral8x7b.paging import KV_BLOCK
from models.mixtral8x7b.tt.mesh import Mesh


class KVCache:
    """keys[layer] and values[layer] on the chips; which block is whose is the page table's business."""

    def __init__(self, config: MixtralConfig, mesh: Mesh, n_blocks: int, dtype: ttnn.DataType) -> None:
        shape = [n_blocks, config.n_kv_heads // mesh.n_devices, KV_BLOCK, config.head_dim]
        self.n_blocks = n_blocks
        self.keys = [_pool(shape, dtype, mesh) for _ in range(config.n_layers)]
        self.values = [_pool(shape, dtype, mesh) for _ in range(config.n_layers)]


def _pool(shape: list[int], dtype: ttnn.DataType, mesh: Mesh) -> ttnn.Tensor:
    return ttnn.empty(shape, dtype=dtype, layout=ttnn.TILE_LAYOUT, device=mesh.device)
