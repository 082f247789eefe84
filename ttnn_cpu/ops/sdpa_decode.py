"""Attention of one new token per user against the paged cache."""

from __future__ import annotations

from typing import NoReturn

import torch
from torch.nn.functional import pad

from ttnn_cpu import chip_attention
from ttnn_cpu.checks import check_dtype, check_layout, check_options, check_rank, check_type, fail, not_implemented
from ttnn_cpu.configs import SDPAProgramConfig, WormholeComputeKernelConfig
from ttnn_cpu.dispatch import Values, mesh_of, run
from ttnn_cpu.enums import FLOATS, TILE_SIZE, DataType, Layout
from ttnn_cpu.garbage import garbage
from ttnn_cpu.halves import Halves
from ttnn_cpu.loops import in_threads
from ttnn_cpu.memory import DRAM_MEMORY_CONFIG, MemoryConfig
from ttnn_cpu.modes import is_chip
from ttnn_cpu.ops.kv_cache import check_pages
from ttnn_cpu.ops.sdpa import gathered
from ttnn_cpu.paged_loops import attend_to_pages, can_read
from ttnn_cpu.spec import tensor_spec
from ttnn_cpu.tensor import Tensor, made

_OPERATION = "paged_scaled_dot_product_attention_decode"


def paged_scaled_dot_product_attention_decode(
    input_tensor_q: Tensor,
    input_tensor_k: Tensor,
    input_tensor_v: Tensor,
    page_table_tensor: Tensor,
    *,
    is_causal: bool = True,
    cur_pos_tensor: Tensor | None = None,
    scale: float | None = None,
    memory_config: MemoryConfig | None = None,
    program_config: SDPAProgramConfig | None = None,
    compute_kernel_config: WormholeComputeKernelConfig | None = None,
) -> Tensor:
    """q [1, B, H, D] against caches [NB, KV, block, D] -> [1, B, H, D] in q's dtype, in DRAM by default.

    User u sees the tokens 0 .. cur_pos[u] of the blocks page_table[u]; the row of a position of -1 is not
    written: garbage.
    cur_pos [B] and page table [B, pages] are int32 row major. A user's result does not depend on the other users.
    """
    check_options(_OPERATION, memory_config=memory_config, compute_kernel_config=compute_kernel_config)
    mesh_of(_OPERATION, input_tensor_q, input_tensor_k, input_tensor_v, page_table_tensor, cur_pos_tensor)
    q, cache = input_tensor_q.spec, input_tensor_k.spec
    for tensor in (input_tensor_q, input_tensor_k, input_tensor_v):
        check_rank(_OPERATION, "Q, K and V", tensor, 4)
        check_layout(_OPERATION, "Q, K and V", tensor, Layout.TILE)
        if tensor.spec.dtype not in FLOATS - {DataType.FLOAT32}:
            raise fail(_OPERATION, f"Unsupported data type {tensor.spec.dtype.name}.")
    if is_causal is not True:
        raise not_implemented(_OPERATION, "is_causal", is_causal)
    if cur_pos_tensor is None:
        raise fail(_OPERATION, "Must have cur_pos tensor for paged attention in causal mode")
    one, users, heads, head_dim = q.shape
    _, kv_heads, _, cache_dim = cache.shape
    if input_tensor_v.spec.shape != cache.shape or cache_dim != head_dim:
        raise fail(
            _OPERATION,
            f"Q, K, V must have same hidden size, got {q.shape!r}, {cache.shape!r}, {input_tensor_v.spec.shape!r}",
        )
    if one != 1:
        raise fail(_OPERATION, f"Q must be [1, users, heads, head_dim], got {q.shape!r}")
    if heads % kv_heads:
        raise fail(_OPERATION, f"GQA expects Q to have a multiple of K heads, but got {heads} and {kv_heads}")
    check_dtype(_OPERATION, "Expect cur_pos to be INT32: it", cur_pos_tensor, DataType.INT32)
    check_dtype(_OPERATION, "page_table_tensor", page_table_tensor, DataType.INT32)
    check_layout(_OPERATION, "page_table_tensor", page_table_tensor, Layout.ROW_MAJOR)
    check_rank(_OPERATION, "page_table_tensor", page_table_tensor, 2)
    if cur_pos_tensor.spec.shape != (users,) or page_table_tensor.spec.shape[0] != users:
        raise fail(
            _OPERATION,
            f"cur_pos and page table must have batch size equal to Q, got {cur_pos_tensor.spec.shape!r}, "
            f"{page_table_tensor.spec.shape!r} and {users}",
        )
    if program_config is not None:
        _check_program(program_config, users, page_table_tensor.spec.shape[1] * input_tensor_k.spec.shape[2])
    factor = head_dim**-0.5 if scale is None else scale

    def compute(qs: Values, ks: Values | Halves, vs: Values | Halves, table: Values, positions: Values) -> Values:
        if table.shape[0] != 1 or positions.shape[0] != 1:
            raise not_implemented(_OPERATION, "a page table or cur_pos that differs between devices", table.shape)
        if is_chip():
            chip = program_config, compute_kernel_config
            return _as_chips_do(qs[:, 0], ks, vs, table[0], positions[0], factor, *chip).unsqueeze(1)
        return attend(qs[:, 0], ks, vs, table[0], positions[0], factor).unsqueeze(1)

    spec = tensor_spec(q.shape, q.dtype, Layout.TILE, memory_config or DRAM_MEMORY_CONFIG)
    inputs = [input_tensor_q, input_tensor_k, input_tensor_v, page_table_tensor, cur_pos_tensor]
    settings = (factor, program_config, compute_kernel_config)
    return run(_OPERATION, inputs, [spec], compute, takes=(Halves,), settings=settings)[0]


def _as_chips_do(
    q: Values,
    k_cache: Values | Halves,
    v_cache: Values | Halves,
    table: Values,
    positions: Values,
    scale: float,
    program: SDPAProgramConfig | None,
    kernel: WormholeComputeKernelConfig | None,
) -> Values:
    """As `attend`, of q that is not scaled."""
    devices, blocks, kv_heads, block, _ = k_cache.shape
    devices = max(len(q), devices)

    def keys(users: list[int], low: int, high: int) -> tuple[Values, Values]:
        pages = torch.arange(low // block, high // block)
        named = torch.where(pages * block <= positions[users].unsqueeze(1), table[users][:, pages], 0)
        return gathered(k_cache, named, blocks), gathered(v_cache, named, blocks)

    q = q.expand(devices, *q.shape[1:])
    out = chip_attention.decode(q, keys, positions.tolist(), kv_heads, scale, program, kernel)
    unused = positions < 0
    out[:, unused] = garbage(tuple(q.shape[1:]), DataType.BFLOAT16)[0, unused]
    return out


def _check_program(config: SDPAProgramConfig, users: int, positions: int) -> None:
    check_type(_OPERATION, "program_config", config, SDPAProgramConfig)
    size = config.k_chunk_size
    if size & (size - 1) or size < 0 or 0 < size < 32:
        raise fail(_OPERATION, f"User provided k_chunk_size must be power of 2 and at least 32, or 0, got: {size}")
    cores = config.grid.x * config.grid.y
    if cores < users:
        raise fail(_OPERATION, f"Cores available ({cores}) must be >= batch size ({users})")
    if size and positions % size:  # ttnn takes it, and its kernel reads blocks that nobody named
        raise fail(
            _OPERATION,
            f"the page table's {positions} positions end inside a chunk of {size} keys, of which the kernel reads the "
            "whole, with block numbers from behind the table; widen the table",
        )


def attend(
    q: Values, keys: Values | Halves, values: Values | Halves, table: Values, positions: Values, scale: float
) -> Values:
    """q [D, B, H, W], caches [D, NB, KV, block, W], table [B, pages], positions [B] -> [D, B, H, W].

    The arithmetic of a user's row depends on its own length only, to the last bit.
    """
    if isinstance(keys, Halves) != isinstance(values, Halves):
        keys, values = made(keys), made(values)
    if missing := -q.shape[3] % TILE_SIZE:
        q, keys, values = (pad(made(given), (0, missing)) for given in (q, keys, values))
        return attend(q, keys, values, table, positions, scale)[..., :-missing]
    k, v = (cache.halves if isinstance(cache, Halves) else cache.contiguous().numpy() for cache in (keys, values))
    devices = max(q.shape[0], k.shape[0], v.shape[0])
    _, users, heads, width = q.shape
    of_users, at = table.contiguous().numpy(), positions.contiguous().numpy()
    if not can_read(at, of_users, k.shape[1], k.shape[3]):
        _refuse(table, positions, k.shape[1], k.shape[3])
    if at.min() < 0:
        out = garbage((users, heads, width), DataType.BFLOAT16).expand(devices, -1, -1, -1).clone()
    else:
        out = torch.empty(devices, users, heads, width)
    given = q.contiguous().numpy(), k, v, of_users, at, scale, out.numpy()
    steps = int(at.sum() + users) * devices * heads * width // 4
    in_threads(lambda first, end: attend_to_pages(*given, first, end), devices * users, steps)
    return out


def _refuse(table: Values, positions: Values, blocks: int, block: int) -> NoReturn:
    """Says what is wrong with pages that cannot be read."""
    reach = table.shape[1] * block
    user = int(positions.argmax())
    if int(positions[user]) >= reach:
        raise fail(
            _OPERATION,
            f"cur_pos {int(positions[user])} is beyond the {table.shape[1]} pages of {block} tokens of user {user}",
        )
    check_pages(_OPERATION, table[torch.arange(0, reach, block) <= positions.unsqueeze(1)], blocks)
    raise AssertionError("pages that cannot be read are no blocks")
