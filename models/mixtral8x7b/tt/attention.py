"""Grouped-query attention with a paged KV cache, tensor parallel: each chip has its share of the heads.

Shapes: B users (rows), T rows of a prefill pass, H and G query and KV heads of one chip, K head_dim, D dim.
"""

import torch
import ttnn

from models.mixtral8x7b.packing import START_UNIT
from models.mixtral8x7b.paging import KV_BLOCK
from models.mixtral8x7b.tt.kv_cache import KVCache
from models.mixtral8x7b.tt.layouts import (
    DECODE_KEYS_AT_ONCE,
    DECODE_ROWS,
    GRID,
    decode_matmul,
    head_cores,
    one_row_per_core,
    over_dram_banks,
    residual,
    residual_cores,
)
from models.mixtral8x7b.tt.mesh import Mesh, Placement
from models.mixtral8x7b.tt.precision import Precision
from models.mixtral8x7b.tt.rope import Rotation
from models.mixtral8x7b.tt.steps import Continuation, DecodeStep, PrefillPass
from models.mixtral8x7b.tt.weights import ReadTensor, Weights


class Attention:
    def __init__(self, weights: Weights, mesh: Mesh, precision: Precision, layer: int) -> None:
        config, n = weights.config, mesh.n_devices
        self._mesh = mesh
        self._layer = layer
        self._kernel = precision.attention.kernel
        self._sdpa_prefill, self._sdpa_decode = precision.sdpa_prefill, precision.sdpa_decode
        self._chunk = precision.attention_chunk
        self._dtype = precision.attention.dtype
        self._kv_dtype = precision.kv_cache
        self._parts = mesh.dtype_of_parts(precision.parts)
        self._head_dim = config.head_dim
        self._n_heads, self._n_kv_heads = config.n_heads // n, config.n_kv_heads // n
        self._residual = residual(config.dim)
        self._heads_layout = one_row_per_core(config.head_dim, DECODE_ROWS)
        qkv_columns = (self._n_heads + 2 * self._n_kv_heads) * config.head_dim
        out_rows = self._n_heads * config.head_dim
        cores = residual_cores(config.dim)
        qkv_cores = head_cores(qkv_columns, config.head_dim)
        self._qkv_program = decode_matmul(config.dim, qkv_columns, cores, qkv_cores, mesh.dram_banks, self._dtype)
        self._wo_program = decode_matmul(out_rows, config.dim, self._n_heads, cores, mesh.dram_banks, self._dtype)
        self._decode_sdpa = ttnn.SDPAProgramConfig(
            compute_with_storage_grid_size=GRID,
            q_chunk_size=0,  # one query a user: nothing to cut
            k_chunk_size=min(self._chunk, DECODE_KEYS_AT_ONCE),
            exp_approx_mode=False,
        )
        self._wqkv = weights.load(
            f"layers.{layer}.attention.wqkv",
            (1, 1, config.dim, n * qkv_columns),
            lambda read, chip: _fused_qkv(read, layer, n, chip),
            self._dtype,
            Placement.SPLIT_COLUMNS,
            memory_config=over_dram_banks(config.dim, qkv_columns, mesh.dram_banks),
        )
        self._wo = weights.load(
            f"layers.{layer}.attention.wo",
            (1, 1, n * out_rows, config.dim),
            lambda read, chip: read(f"layers.{layer}.attention.wo.weight").chunk(n, dim=1)[chip].T[None, None],
            self._dtype,
            Placement.SPLIT_ROWS,
            memory_config=over_dram_banks(out_rows, config.dim, mesh.dram_banks),
        )

    # ---------------------------------------------------------------- decode

    def forward_decode(self, x_BD: ttnn.Tensor, cache: KVCache, step: DecodeStep) -> ttnn.Tensor:
        """One token of each row: normed [1, 1, 32, D] -> [1, 1, 32, D], both whole on every chip, in L1. Frees x."""
        qkv = ttnn.linear(
            x_BD,
            self._wqkv,
            program_config=self._qkv_program,
            memory_config=ttnn.L1_WIDTH_SHARDED_MEMORY_CONFIG,
            dtype=ttnn.bfloat16,
            compute_kernel_config=self._kernel,
        )
        ttnn.deallocate(x_BD)
        # a user's heads on a core of their own; keys on other cores than queries and values, as the next two ops demand
        q_BHK, k_BGK, v_BGK = ttnn.experimental.nlp_create_qkv_heads_decode(
            qkv,
            num_heads=self._n_heads,
            num_kv_heads=self._n_kv_heads,
            overlap_qk_coregrid=False,
            memory_config=ttnn.L1_HEIGHT_SHARDED_MEMORY_CONFIG,
        )
        ttnn.deallocate(qkv)
        turned_q, turned_k = ttnn.experimental.rotary_embedding_llama_fused_qk(
            q_BHK, k_BGK, step.rotation.cos, step.rotation.sin, step.rotation.swap
        )
        ttnn.deallocate(q_BHK)
        ttnn.deallocate(k_BGK)
        keys, values = cache.keys[self._layer], cache.values[self._layer]
        ttnn.experimental.paged_fused_update_cache(
            keys, turned_k, values, v_BGK, update_idxs_tensor=step.positions, page_table=step.page_table
        )
        ttnn.deallocate(turned_k)
        ttnn.deallocate(v_BGK)
        has_one_kv_head = self._n_kv_heads == 1  # otherwise the operation writes no sharded layout
        attended = ttnn.transformer.paged_scaled_dot_product_attention_decode(
            turned_q,
            keys,
            values,
            page_table_tensor=step.page_table,
            cur_pos_tensor=step.positions,
            scale=self._head_dim**-0.5,
            program_config=self._decode_sdpa,
            compute_kernel_config=self._sdpa_decode,
            memory_config=self._heads_layout if has_one_kv_head else ttnn.DRAM_MEMORY_CONFIG,
        )
        ttnn.deallocate(turned_q)
        if not has_one_kv_head:
            interleaved, attended = attended, ttnn.interleaved_to_sharded(attended, self._heads_layout)
            ttnn.deallocate(interleaved)
        heads = ttnn.experimental.nlp_concat_heads_decode(attended, num_heads=self._n_heads)
        ttnn.deallocate(attended)
        part = ttnn.linear(
            heads,
            self._wo,
            program_config=self._wo_program,
            memory_config=ttnn.L1_WIDTH_SHARDED_MEMORY_CONFIG,
            dtype=self._parts,
            compute_kernel_config=self._kernel,
        )
        ttnn.deallocate(heads)
        return self._mesh.sum_over_devices(part, self._residual)

    # ---------------------------------------------------------------- prefill

    def forward_prefill(self, x_TD: ttnn.Tensor, cache: KVCache, layout: PrefillPass) -> ttnn.Tensor:
        """A pass: normed [1, 1, T/n, D] -> [1, 1, T/n, D], each chip 1/n of the rows, in DRAM. Frees x."""
        own = ttnn.typecast(x_TD, self._dtype) if self._dtype != ttnn.bfloat16 else x_TD  # minimal_matmul: one dtype
        if own is not x_TD:
            ttnn.deallocate(x_TD)
        all_TD = self._mesh.gather_rows(own)
        qkv = self._matmul(all_TD, self._wqkv, ttnn.bfloat16)
        ttnn.deallocate(all_TD)
        q, k, v = ttnn.experimental.nlp_create_qkv_heads(
            qkv,
            num_heads=self._n_heads,
            num_kv_heads=self._n_kv_heads,
            transpose_k_heads=False,
            memory_config=ttnn.DRAM_MEMORY_CONFIG,
        )
        ttnn.deallocate(qkv)
        q_HTK, k_GTK = self._turn(q, layout.rotation), self._to_kv_dtype(self._turn(k, layout.rotation))
        v_GTK = self._to_kv_dtype(v)
        keys, values = cache.keys[self._layer], cache.values[self._layer]
        for pool, new in ((keys, k_GTK), (values, v_GTK)):  # the pass is one user, whose page table names all blocks
            ttnn.experimental.paged_fill_cache(pool, new, layout.fill_table, batch_idx=0)
        attended = self._attend(q_HTK, k_GTK, v_GTK, layout)
        for piece in layout.continuations:
            attended = self._attend_from_cache(attended, q_HTK, keys, values, layout.size, piece)
        for tensor in (q_HTK, k_GTK, v_GTK):
            ttnn.deallocate(tensor)
        heads_TD = self._to_weight_dtype(attended)
        part = self._matmul(heads_TD, self._wo, self._parts)
        ttnn.deallocate(heads_TD)
        return self._mesh.sum_and_split_rows(part)

    def _matmul(self, x: ttnn.Tensor, weight: ttnn.Tensor, dtype: ttnn.DataType) -> ttnn.Tensor:
        return ttnn.experimental.minimal_matmul(
            x,
            weight,
            dtype=dtype,
            memory_config=ttnn.DRAM_MEMORY_CONFIG,
            compute_kernel_config=self._kernel,
        )

    def _turn(self, heads: ttnn.Tensor, rotation: Rotation) -> ttnn.Tensor:
        turned = ttnn.experimental.rotary_embedding_llama(
            heads, rotation.cos, rotation.sin, rotation.swap, is_decode_mode=False
        )
        ttnn.deallocate(heads)
        return turned

    def _to_kv_dtype(self, heads: ttnn.Tensor) -> ttnn.Tensor:
        """Attention sees keys and values as the cache will give them back: rounded once, before both uses."""
        rounded = ttnn.typecast(heads, self._kv_dtype)
        ttnn.deallocate(heads)
        return rounded

    def _attend(self, q: ttnn.Tensor, k: ttnn.Tensor, v: ttnn.Tensor, layout: PrefillPass) -> ttnn.Tensor:
        """Every piece among its own rows -> the heads side by side, [1, 1, T, H*K]."""
        return ttnn.transformer.scaled_dot_product_attention(
            q,
            k,
            v,
            is_causal=True,
            cu_window_seqlens=layout.windows,
            program_config=sdpa_program(self._chunk),
            compute_kernel_config=self._sdpa_prefill,
            output_concat_heads=True,
        )

    def _attend_from_cache(
        self,
        attended: ttnn.Tensor,
        q: ttnn.Tensor,
        keys: ttnn.Tensor,
        values: ttnn.Tensor,
        size: int,
        piece: Continuation,
    ) -> ttnn.Tensor:
        """A piece that goes on from the cache, among all of its prompt's positions: its rows of `attended` anew.

        The operation that fills a paged cache puts them there, 64 by 64, by data and not by shape.
        """
        rows = ttnn.slice(q, piece.first_row, piece.end_row, slice_dim=2, num_devices=size // piece.rows)
        seen = ttnn.transformer.chunked_scaled_dot_product_attention(
            rows,
            keys,
            values,
            piece.page_table,
            chunk_start_idx_tensor=piece.start,
            program_config=sdpa_program(min(self._chunk, START_UNIT)),
            compute_kernel_config=self._sdpa_prefill,
        )
        ttnn.deallocate(rows)
        side_by_side = ttnn.experimental.nlp_concat_heads(seen, memory_config=ttnn.DRAM_MEMORY_CONFIG)
        ttnn.deallocate(seen)
        width = attended.shape[-1]
        blocks = ttnn.reshape(attended, (size // KV_BLOCK, 1, KV_BLOCK, width))
        ttnn.experimental.paged_fill_cache(blocks, side_by_side, piece.put_back, batch_idx=0)
        ttnn.deallocate(side_by_side)
        return ttnn.reshape(blocks, (1, 1, size, width))

    def _to_weight_dtype(self, heads: ttnn.Tensor) -> ttnn.Tensor:
        """In the dtype that wo's matmul wants, [1, 1, T, H*K]. Frees heads, or returns them."""
        if self._dtype == ttnn.bfloat16:
            return heads
        rounded = ttnn.typecast(heads, self._dtype)
        ttnn.deallocate(heads)
        return rounded


def sdpa_program(rows: int) -> ttnn.SDPAProgramConfig:
    return ttnn.SDPAProgramConfig(
        compute_with_storage_grid_size=GRID, exp_approx_mode=False, q_chunk_size=rows, k_chunk_size=rows
    )


def _fused_qkv(read: ReadTensor, layer: int, n_devices: int, chip: int) -> torch.Tensor:
    """[1, 1, D, columns of a chip]: its query heads, its key heads, its value heads."""
    weights = [read(f"layers.{layer}.attention.{w}.weight") for w in ("wq", "wk", "wv")]
    return torch.cat([weight.chunk(n_devices)[chip] for weight in weights]).T[None, None]
