"""Calls of a full-size Mixtral that pass, to be broken in one place by `test_refusals`."""

from dataclasses import dataclass
from typing import Any

import ttnn_cpu as ttnn
from tests.cpu_backend.helpers import ROWS, TILE, dram_sharded, sharded

BF16, B8, F32, I32, U32 = ttnn.bfloat16, ttnn.bfloat8_b, ttnn.float32, ttnn.int32, ttnn.uint32
X, T = ttnn.experimental, ttnn.transformer
WSH, HSH, DRAM, L1 = (
    ttnn.L1_WIDTH_SHARDED_MEMORY_CONFIG,
    ttnn.L1_HEIGHT_SHARDED_MEMORY_CONFIG,
    ttnn.DRAM_MEMORY_CONFIG,
    ttnn.L1_MEMORY_CONFIG,
)
RES = sharded("WIDTH", 32, 32, 128)


@dataclass
class Tensors:
    """Full-size tensors of a mesh that keeps specs only."""

    mesh: ttnn.MeshDevice

    def __call__(
        self, *shape: int, dtype: ttnn.DataType = BF16, layout: ttnn.Layout = TILE, at: ttnn.MemoryConfig = DRAM
    ) -> ttnn.Tensor:
        return ttnn.empty(list(shape), dtype, layout, self.mesh, at)

    def ints(self, *shape: int, dtype: ttnn.DataType = I32) -> ttnn.Tensor:
        return self(*shape, dtype=dtype, layout=ROWS)

    @property
    def x(self) -> ttnn.Tensor:
        return self(1, 1, 32, 4096, at=RES)

    @property
    def plain(self) -> ttnn.Tensor:
        return self(1, 1, 32, 4096)

    @property
    def wqkv(self) -> ttnn.Tensor:
        return self(1, 1, 4096, 768, dtype=B8, at=dram_sharded(4096, 768))

    def heads(self, count: int = 4, first: int = 0, dtype: ttnn.DataType = BF16, users: int = 32) -> ttnn.Tensor:
        return self(1, users, count, 128, dtype=dtype, at=sharded("HEIGHT", users, 32, 128, first))

    def tables(self, rows: int = 64) -> list[ttnn.Tensor]:
        return [self(1, rows, 1, 128, at=sharded("HEIGHT", rows, 32, 128))] * 2

    def tiles(self, count: int = 64) -> ttnn.Tensor:
        return self(1, 1, 32 * count, 32, at=sharded("HEIGHT", count, 32, 32))

    @property
    def cache(self) -> ttnn.Tensor:
        return self(64, 1, 64, 128, dtype=B8)

    def prefill(self, length: int = 256, heads: int = 4, dtype: ttnn.DataType = B8, batch: int = 1) -> ttnn.Tensor:
        return self(batch, heads, length, 128, dtype=dtype)

    def sample(self, **changed: ttnn.Tensor) -> ttnn.Tensor:
        given = {
            "input_values_tensor": self(1, 1, 32, 256),
            "input_indices_tensor": self.ints(1, 1, 32, 256),
            "k": self.ints(32, dtype=U32),
            "p": self(32, layout=ROWS),
            "temp": self(32, layout=ROWS),
            **changed,
        }
        return ttnn.sampling(**given)  # type: ignore[arg-type]


def dram_config(
    in0_block_w: int, per_core_n: int, **more: Any
) -> ttnn.MatmulMultiCoreReuseMultiCastDRAMShardedProgramConfig:
    return ttnn.MatmulMultiCoreReuseMultiCastDRAMShardedProgramConfig(
        in0_block_w=in0_block_w, per_core_N=per_core_n, **{"per_core_M": 1, **more}
    )


def one_config(**changed: Any) -> ttnn.MatmulMultiCoreReuseMultiCast1DProgramConfig:
    given = {
        "compute_with_storage_grid_size": (8, 4), "in0_block_w": 4, "out_subblock_h": 1, "out_subblock_w": 1,
        "per_core_M": 1, "per_core_N": 1, "fuse_batch": True, "mcast_in0": True, **changed,
    }  # fmt: skip
    return ttnn.MatmulMultiCoreReuseMultiCast1DProgramConfig(**given)


def two_config(**changed: Any) -> ttnn.MatmulMultiCoreReuseMultiCastProgramConfig:
    given = {
        "compute_with_storage_grid_size": (8, 8), "in0_block_w": 8, "out_subblock_h": 1, "out_subblock_w": 3,
        "per_core_M": 4, "per_core_N": 3, "transpose_mcast": False, "fuse_batch": False, **changed,
    }  # fmt: skip
    return ttnn.MatmulMultiCoreReuseMultiCastProgramConfig(**given)


def norm_config(block_w: int, subblock_w: int) -> ttnn.LayerNormShardedMultiCoreProgramConfig:
    return ttnn.LayerNormShardedMultiCoreProgramConfig(
        compute_with_storage_grid_size=[8, 4], subblock_w=subblock_w, block_h=1, block_w=block_w, inplace=False
    )


def chunks(q: int, k: int, grid: tuple[int, int] = (8, 8)) -> ttnn.SDPAProgramConfig:
    return ttnn.SDPAProgramConfig(compute_with_storage_grid_size=grid, q_chunk_size=q, k_chunk_size=k)


def update(t: Tensors, **changed: Any) -> Any:
    given = {"update_idxs_tensor": t.ints(32), "page_table": t.ints(32, 2), **changed}
    return X.paged_update_cache(given.pop("cache", t.cache), given.pop("new", t.heads(1)), **given)


def fused_update(t: Tensors, **changed: Any) -> Any:
    given = {"update_idxs_tensor": t.ints(32), "page_table": t.ints(32, 2), **changed}
    k, v, v_cache = given.pop("k", t.heads(1, 32)), given.pop("v", t.heads(1)), given.pop("v_cache", t.cache)
    return X.paged_fused_update_cache(t.cache, k, v_cache, v, **given)


def fill(t: Tensors, **changed: Any) -> Any:
    given = {"new": t.prefill(128, 1), "table": t.ints(32, 2), **changed}
    return X.paged_fill_cache(t.cache, given.pop("new"), given.pop("table"), **given)


def decode(t: Tensors, **changed: Any) -> Any:
    given = {"page_table_tensor": t.ints(32, 2), "cur_pos_tensor": t.ints(32), **changed}
    q, cache = given.pop("q", t.heads()), given.pop("cache", t.cache)
    return T.paged_scaled_dot_product_attention_decode(q, cache, cache, **given)


def chunked(t: Tensors, **changed: Any) -> Any:
    given = {"page_table_tensor": t.ints(1, 8), **changed}
    return T.chunked_scaled_dot_product_attention(t.prefill(), t.cache, t.cache, **given)


def rope(t: Tensors, **changed: Any) -> Any:
    given = {
        "x": t.prefill(dtype=BF16),
        "cos": t(1, 1, 512, 128),
        "sin": t(1, 1, 512, 128),
        "trans": t(1, 1, 32, 32),
        **changed,
    }
    return X.rotary_embedding_llama(*given.values(), is_decode_mode=False)


def create(t: Tensors, x: ttnn.Tensor | None = None, **changed: Any) -> Any:
    given = {"num_heads": 4, "num_kv_heads": 1, "overlap_qk_coregrid": False, "memory_config": HSH, **changed}
    return X.nlp_create_qkv_heads_decode(x or t(1, 1, 32, 768, at=sharded("WIDTH", 24, 32, 32)), **given)
