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
        pools = _zero_pools(2 * config.n_layers, shape, dtype, mesh)
        self.keys, self.values = pools[: config.n_layers], pools[config.n_layers :]


def _zero_pools(number: int, shape: list[int], dtype: ttnn.DataType, mesh: Mesh) -> list[ttnn.Tensor]:
    """Attention reads whole chunks of keys and masks those that are no one's by adding -2^128 to their scores: out of
    memory as it is found, scores of +2^128 pass that mask. So all is written once, on the chips (`ttnn.zeros` would
    send it from the host).

    What was found is freed when one pool stands beside it, and the second pool takes its place: at no moment is there
    more than the pools will take (there are two or more), and no hole is left among them.
    """
    found = ttnn.empty(shape, dtype=dtype, layout=ttnn.TILE_LAYOUT, device=mesh.device)
    first = ttnn.zeros_like(found)
    ttnn.deallocate(found)
    return [first, *(ttnn.zeros_like(first) for _ in range(number - 1))]
