"""Scaled dot product attention: causal prefill, chunked prefill against a paged cache, paged decode.

Query head h reads KV head h // (heads / kv heads).
"""

from __future__ import annotations

import struct
from itertools import pairwise

import torch
from torch.nn.functional import scaled_dot_product_attention as torch_sdpa

from ttnn_cpu import chip_attention
from ttnn_cpu.checks import check_dtype, check_layout, check_options, check_rank, check_type, fail, not_implemented
from ttnn_cpu.configs import SDPAProgramConfig, WormholeComputeKernelConfig
from ttnn_cpu.dispatch import Values, mesh_of, run
from ttnn_cpu.enums import FLOATS, TILE_SIZE, DataType, Layout
from ttnn_cpu.halves import Halves
from ttnn_cpu.memory import DRAM_MEMORY_CONFIG, MemoryConfig
from ttnn_cpu.modes import is_chip
from ttnn_cpu.ops.kv_cache import check_pages
from ttnn_cpu.spec import tensor_spec
from ttnn_cpu.tensor import Tensor

_QUERY_BLOCK = 512  # rows per pass of chunked attention: bounds the mask, 512 x 32k float32 = 64 MB


def _check_operands(operation: str, q: Tensor, k: Tensor, v: Tensor) -> None:
    mesh_of(operation, q, k, v)
    for tensor in (q, k, v):
        check_rank(operation, "Q, K and V", tensor, 4)
        if tensor.spec.layout is not Layout.TILE:
            raise fail(operation, "Inputs to SDPA must be tilized")
        if tensor.spec.dtype not in FLOATS - {DataType.FLOAT32}:
            raise fail(
                operation,
                f"Data type of input tensor must be BFLOAT16, BFLOAT8_B, or BFLOAT4_B and is {tensor.spec.dtype.name}",
            )
    if k.spec.shape != v.spec.shape:
        raise fail(operation, f"K and V must have one shape, got {k.spec.shape!r} and {v.spec.shape!r}")
    if q.spec.shape[3] != k.spec.shape[3]:
        raise fail(operation, f"Q, K, V must have same hidden size, got {q.spec.shape!r} and {k.spec.shape!r}")


def _check_heads(operation: str, heads: int, kv_heads: int) -> None:
    if heads % kv_heads:
        raise fail(operation, f"Q num_heads must be >= K num_heads and divisible by it. Got Q: {heads}, K: {kv_heads}")


def _check_program(operation: str, config: SDPAProgramConfig | None) -> None:
    if config is None:
        return
    check_type(operation, "program_config", config, SDPAProgramConfig)
    for name, size in (("q_chunk_size", config.q_chunk_size), ("k_chunk_size", config.k_chunk_size)):
        if size <= 0 or size % TILE_SIZE:
            raise fail(operation, f"{name} must be a positive multiple of TILE_SIZE. Got {name}: {size}, TILE_SIZE: 32")


def _check_table(operation: str, page_table: Tensor, batch: int) -> None:
    check_rank(operation, "page_table_tensor", page_table, 2)
    check_dtype(operation, "Page table must be int32: page_table_tensor", page_table, DataType.INT32)
    check_layout(operation, "page_table_tensor", page_table, Layout.ROW_MAJOR)
    if page_table.spec.shape[0] != batch:
        raise fail(
            operation,
            "Page table batch size must match input batch size. "
            f"Got Page table: {page_table.spec.shape[0]}, Input: {batch}",
        )


def _per_query_head(values: Values, heads: int) -> Values:
    """[n, KV, S, D] -> [n, heads, S, D]. A plain copy: torch's flash attention takes it, its grouped form would hold
    all scores at once."""
    return values.repeat_interleave(heads // values.shape[1], dim=1)


def merged(values: Values, devices: int) -> Values:
    """[D, B, ..] -> [devices * B, ..]"""
    return values.expand(devices, *values.shape[1:]).reshape(-1, *values.shape[2:])


def scaled_dot_product_attention(
    input_tensor_q: Tensor,
    input_tensor_k: Tensor,
    input_tensor_v: Tensor,
    *,
    is_causal: bool = True,
    scale: float | None = None,
    memory_config: MemoryConfig | None = None,
    program_config: SDPAProgramConfig | None = None,
    compute_kernel_config: WormholeComputeKernelConfig | None = None,
    output_concat_heads: bool = False,
    cu_window_seqlens: Tensor | None = None,
) -> Tensor:
    """q [B, H, S, D], k and v [B, KV, S, D] -> [B, H, S, D], or [B, 1, S, H * D] with `output_concat_heads`.

    Causal only. With `cu_window_seqlens`, int32 or uint32 [2..1024], ascending from 0 to S, row t sees the rows from
    the start of its window to itself; windows may be empty. Result in q's dtype, in DRAM unless `memory_config` says
    otherwise. Scale 1 / sqrt(D) by default.
    """
    operation = "scaled_dot_product_attention"
    check_options(operation, memory_config=memory_config, compute_kernel_config=compute_kernel_config)
    check_type(operation, "output_concat_heads", output_concat_heads, bool)
    _check_operands(operation, input_tensor_q, input_tensor_k, input_tensor_v)
    _check_program(operation, program_config)
    if is_causal is not True:
        raise not_implemented(operation, "is_causal", is_causal)
    have, of_keys = input_tensor_q.spec, input_tensor_k.spec
    batch, heads, length, head_dim = have.shape
    if of_keys.shape[0] != batch:
        raise fail(operation, f"K and V batch must match. Got Q: {batch}, K: {of_keys.shape[0]}")
    if of_keys.shape[2] != length:
        raise fail(
            operation,
            f"Causal SDPA requires Q and K to have the same sequence length. Got Q: {length}, K: {of_keys.shape[2]}",
        )
    _check_heads(operation, heads, of_keys.shape[1])
    inputs = [input_tensor_q, input_tensor_k, input_tensor_v]
    if cu_window_seqlens is not None:
        _check_windows(operation, cu_window_seqlens)
        inputs.append(cu_window_seqlens)

    def compute(qs: Values, ks: Values, vs: Values, windows: Values | None = None) -> Values:
        devices = max(qs.shape[0], ks.shape[0], vs.shape[0])
        ends = [0, length] if windows is None else _window_ends(operation, windows, length)
        queries, keys, values = (merged(x, devices) for x in (qs, ks, vs))
        if is_chip():
            out = chip_attention.prefill(queries, keys, values, 0, ends, scale, program_config, compute_kernel_config)
        else:
            keys, values = (_per_query_head(x, heads) for x in (keys, values))
            out = _in_windows(queries, keys, values, ends, scale)
        out = out.reshape(devices, batch, heads, length, head_dim)
        return out.transpose(2, 3).reshape(devices, batch, 1, length, -1) if output_concat_heads else out

    shape = (batch, 1, length, heads * head_dim) if output_concat_heads else have.shape
    spec = tensor_spec(shape, have.dtype, Layout.TILE, memory_config or DRAM_MEMORY_CONFIG)
    return run(operation, inputs, [spec], compute, settings=(scale, program_config, compute_kernel_config))[0]


def _in_windows(q: Values, k: Values, v: Values, ends: list[int], scale: float | None) -> Values:
    out = torch.empty_like(q)
    for first, last in pairwise(ends):
        if first < last:
            own = slice(first, last)
            out[:, :, own] = torch_sdpa(q[:, :, own], k[:, :, own], v[:, :, own], is_causal=True, scale=scale)
    return out


def _check_windows(operation: str, windows: Tensor) -> None:
    check_rank(operation, "cu_window_seqlens", windows, 1)
    check_dtype(operation, "cu_window_seqlens", windows, DataType.INT32, DataType.UINT32)
    check_layout(operation, "cu_window_seqlens", windows, Layout.ROW_MAJOR)
    if not 2 <= windows.spec.shape[0] <= 1024:
        raise fail(operation, f"cu_window_seqlens must have between 2 and 1024 elements, got {windows.spec.shape[0]}.")


def _window_ends(operation: str, windows: Values, length: int) -> list[int]:
    ends = [int(end) for end in windows[0].tolist()]
    if windows.shape[0] != 1 or ends[0] != 0 or ends[-1] != length or ends != sorted(ends):
        raise fail(operation, f"cu_window_seqlens must rise from 0 to {length} on every chip, got {ends}")
    return ends


def gathered(cache: Values | Halves, pages: Values, blocks: int) -> Values:
    """cache [D, NB, KV, block, D'], pages [n, p] -> [D, n, KV, p * block, D']: the users' tokens in order.

    Raises RuntimeError for a page id that is no block.
    """
    check_pages("paged attention", pages, blocks)
    devices, _, heads, block, width = cache.shape
    numbers = pages.flatten()
    found = cache.blocks(numbers) if isinstance(cache, Halves) else cache.index_select(1, numbers)
    found = found.reshape(devices, *pages.shape, heads, block, width)
    return found.transpose(2, 3).reshape(devices, pages.shape[0], heads, pages.shape[1] * block, width)


def chunked_scaled_dot_product_attention(
    input_tensor_q: Tensor,
    input_tensor_k: Tensor,
    input_tensor_v: Tensor,
    page_table_tensor: Tensor,
    chunk_start_idx: int | None = None,
    *,
    chunk_start_idx_tensor: Tensor | None = None,
    scale: float | None = None,
    memory_config: MemoryConfig | None = None,
    program_config: SDPAProgramConfig | None = None,
    compute_kernel_config: WormholeComputeKernelConfig | None = None,
) -> Tensor:
    """Causal attention of a chunk q [B, H, C, D] that starts at `chunk_start_idx` (or at the int32 tensor [1]) against
    the paged cache [NB, KV, block, D], which holds all tokens up to the chunk's end; page table [B, pages] int32.

    The start must be a multiple of both chunk sizes of the program config. As in ttnn's binding a `scale` must be
    exact in float32 (TypeError otherwise).
    """
    operation = "chunked_scaled_dot_product_attention"
    check_options(operation, memory_config=memory_config, compute_kernel_config=compute_kernel_config)
    _check_operands(operation, input_tensor_q, input_tensor_k, input_tensor_v)
    mesh_of(operation, input_tensor_q, page_table_tensor, chunk_start_idx_tensor)
    _check_program(operation, program_config)
    if scale is not None and struct.unpack("f", struct.pack("f", scale))[0] != scale:
        raise TypeError(
            f"{operation}: scale={scale!r} is not exact in float32, which ttnn's binding refuses; leave it out"
        )
    q, cache = input_tensor_q.spec, input_tensor_k.spec
    batch, heads, length, _ = q.shape
    blocks, kv_heads, block, _ = cache.shape
    _check_heads(operation, heads, kv_heads)
    _check_table(operation, page_table_tensor, batch)
    capacity = page_table_tensor.spec.shape[1] * block
    inputs = [input_tensor_q, input_tensor_k, input_tensor_v, page_table_tensor]

    def check_start(start: int) -> None:
        if start < 0:
            raise fail(operation, f"chunk_start_idx must be non-negative, got {start}")
        for name, size in (
            (("q", program_config.q_chunk_size), ("k", program_config.k_chunk_size)) if program_config else ()
        ):
            if start % size:
                raise fail(
                    operation,
                    f"chunk_start_idx must be a multiple of {name}_chunk_size. Got chunk_start_idx: {start}, "
                    f"{name}_chunk_size: {size}",
                )
        if capacity < length + start:
            raise fail(
                operation,
                "K's sequence length must be >= Q's sequence length + chunk_start_idx. "
                f"Got K: {capacity}, Q: {length}, chunk_start_idx: {start}",
            )

    if chunk_start_idx_tensor is not None:
        if chunk_start_idx is not None:
            raise fail(operation, "give chunk_start_idx or chunk_start_idx_tensor, not both")
        check_dtype(operation, "chunk_start_idx_tensor", chunk_start_idx_tensor, DataType.INT32)
        if chunk_start_idx_tensor.spec.shape != (1,):
            raise fail(
                operation, f"chunk_start_idx tensor must have shape [1]. Got {chunk_start_idx_tensor.spec.shape!r}"
            )
        if 4 * page_table_tensor.spec.shape[1] % 32:
            raise fail(operation, "page table stick size must be a multiple of 32")
        inputs.append(chunk_start_idx_tensor)
    elif chunk_start_idx is None:
        raise fail(operation, "chunk_start_idx (int) is required for legacy chunked SDPA")
    else:
        check_start(chunk_start_idx)

    def compute(
        qs: Values, ks: Values | Halves, vs: Values | Halves, table: Values, start_values: Values | None = None
    ) -> Values:
        if table.shape[0] != 1 or (start_values is not None and start_values.shape[0] != 1):
            raise not_implemented(operation, "a page table or start that differs between devices", table.shape)
        start = chunk_start_idx if start_values is None else int(start_values[0, 0])
        assert start is not None
        check_start(start)
        end = start + length
        pages = table[0, :, : -(-end // block)]
        devices = max(qs.shape[0], ks.shape[0], vs.shape[0])
        queries = merged(qs, devices)
        k, v = (merged(gathered(x, pages, blocks), devices)[:, :, :end] for x in (ks, vs))
        if is_chip():
            seen = chip_attention.prefill(queries, k, v, start, None, scale, program_config, compute_kernel_config)
        else:
            seen = _causal_from(queries, _per_query_head(k, heads), _per_query_head(v, heads), start, scale)
        return seen.reshape(devices, *q.shape)

    spec = tensor_spec(q.shape, q.dtype, Layout.TILE, memory_config or DRAM_MEMORY_CONFIG)
    settings = (chunk_start_idx, scale, program_config, compute_kernel_config)
    return run(operation, inputs, [spec], compute, takes=(Halves,), settings=settings)[0]


def _causal_from(q: Values, k: Values, v: Values, start: int, scale: float | None) -> Values:
    """Row i of q [n, H, C, D] sees keys 0 .. start + i of k [n, H, start + C, D]."""
    out = torch.empty_like(q)
    for first in range(0, q.shape[2], _QUERY_BLOCK):
        last = min(first + _QUERY_BLOCK, q.shape[2])
        seen = start + last
        visible = torch.ones(last - first, seen, dtype=torch.bool).tril(start + first)
        part = torch_sdpa(q[:, :, first:last], k[:, :, :seen], v[:, :, :seen], attn_mask=visible, scale=scale)
        out[:, :, first:last] = part
    return out
