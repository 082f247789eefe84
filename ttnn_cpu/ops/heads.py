"""Attention heads: split the fused QKV projection, join the heads' outputs."""

from __future__ import annotations

from collections.abc import Sequence

from ttnn_cpu.checks import check_dtype, check_layout, check_options, check_rank, check_type, fail, not_implemented
from ttnn_cpu.chip_rounding import moved
from ttnn_cpu.cores import CoreRangeSet, row_major_cores
from ttnn_cpu.device import WORMHOLE_GRID
from ttnn_cpu.dispatch import Values, mesh_of, run
from ttnn_cpu.enums import FLOATS, TILE_SIZE, BufferType, DataType, Layout, TensorMemoryLayout
from ttnn_cpu.garbage import garbage
from ttnn_cpu.memory import MemoryConfig, l1_sharded
from ttnn_cpu.spec import TensorSpec, round_up, tensor_spec
from ttnn_cpu.tensor import Tensor

MAX_DECODE_USERS = 32


def _head_dim(operation: str, width: int, num_heads: int, num_kv_heads: int) -> int:
    if width % (num_heads + 2 * num_kv_heads):
        raise fail(
            operation,
            f"Input shape {width} must be divisible by num_heads + 2*num_kv_heads = {num_heads + 2 * num_kv_heads}",
        )
    head_dim = width // (num_heads + 2 * num_kv_heads)
    if head_dim % TILE_SIZE:
        raise fail(operation, f"head_dim {head_dim} must be a multiple of the tile width {TILE_SIZE}")
    return head_dim


def _split(values: Values, num_heads: int, num_kv_heads: int, head_dim: int) -> Sequence[Values]:
    """[.., (heads + 2 kv heads) * head_dim] -> q, k, v [.., heads, head_dim]: all q heads first, then k, then v."""
    heads = values.reshape(*values.shape[:-1], num_heads + 2 * num_kv_heads, head_dim)
    return heads.split([num_heads, num_kv_heads, num_kv_heads], dim=-2)


def nlp_create_qkv_heads_decode(
    input_tensor: Tensor,
    *,
    num_heads: int,
    num_kv_heads: int | None = None,
    overlap_qk_coregrid: bool = True,
    memory_config: MemoryConfig | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """[1, 1, B, (H + 2 KV) * D] -> q [1, B, H, D], k and v [1, B, KV, D], one user per core, L1 height sharded.

    q and v stand on cores 0 to B - 1. k stands there too, or on the next B cores if `overlap_qk_coregrid` is False and
    the input is sharded (for an interleaved input ttnn overlaps the grids all the same). B <= 32; bf16 or float32.
    """
    operation = "nlp_create_qkv_heads_decode"
    check_options(operation, memory_config=memory_config)
    check_type(operation, "overlap_qk_coregrid", overlap_qk_coregrid, bool)
    mesh_of(operation, input_tensor)
    check_layout(operation, "the input", input_tensor, Layout.TILE)
    check_dtype(operation, "the input", input_tensor, DataType.BFLOAT16, DataType.FLOAT32)
    check_rank(operation, "the input", input_tensor, 4)
    one, also_one, users, width = input_tensor.spec.shape
    if (one, also_one) != (1, 1) or users > MAX_DECODE_USERS:
        raise fail(operation, f"Unsupported input shape = {input_tensor.spec.shape!r}")
    kv_heads = num_heads if num_kv_heads is None else num_kv_heads
    head_dim = _head_dim(operation, width, num_heads, kv_heads)
    if memory_config is not None:
        place = (memory_config.memory_layout, memory_config.buffer_type, memory_config.shard_spec)
        if place != (TensorMemoryLayout.HEIGHT_SHARDED, BufferType.L1, None):
            raise fail(
                operation,
                "the outputs choose their own cores: pass L1_HEIGHT_SHARDED_MEMORY_CONFIG without a shard spec",
            )
    shard = input_tensor.spec.memory_config.shard_spec
    apart = shard is not None and not overlap_qk_coregrid
    if shard is not None and apart and head_dim % shard.shape[1]:
        raise fail(
            operation, "We don't support partial heads in shards when q and k heads are not overlapping coregrid"
        )
    first = row_major_cores(0, users, WORMHOLE_GRID.x)
    second = row_major_cores(users, users, WORMHOLE_GRID.x) if apart else first

    def spec(heads: int, cores: CoreRangeSet) -> TensorSpec:
        placement = l1_sharded(TensorMemoryLayout.HEIGHT_SHARDED, cores, round_up(heads, TILE_SIZE), head_dim)
        return tensor_spec((1, users, heads, head_dim), input_tensor.spec.dtype, Layout.TILE, placement)

    def compute(x: Values) -> Sequence[Values]:
        return _split(x[:, 0], num_heads, kv_heads, head_dim)

    specs = [spec(num_heads, first), spec(kv_heads, second), spec(kv_heads, first)]
    q, k, v = run(operation, [input_tensor], specs, compute, rounding=moved)
    return q, k, v


def nlp_concat_heads_decode(input_tensor: Tensor, *, num_heads: int) -> Tensor:
    """[1, B, H, D] height sharded -> [1, 1, 32, num_heads * D] width sharded, one head per core.

    The result always has 32 rows; those from B on are not written: garbage.
    """
    operation = "nlp_concat_heads_decode"
    mesh_of(operation, input_tensor)
    check_rank(operation, "the input", input_tensor, 4)
    check_layout(operation, "the input", input_tensor, Layout.TILE)
    have = input_tensor.spec
    if have.memory_config.memory_layout is not TensorMemoryLayout.HEIGHT_SHARDED:
        raise fail(operation, "Input tensor must be sharded")
    one, users, heads, head_dim = have.shape
    if one != 1 or users > MAX_DECODE_USERS:
        raise fail(operation, f"Unsupported input shape = {have.shape!r}")
    if not 0 < num_heads <= heads:
        raise fail(operation, f"num_heads must be between 1 and the {heads} heads of the input, got {num_heads}")

    def compute(x: Values) -> Values:
        side_by_side = x[:, 0, :, :num_heads].reshape(x.shape[0], 1, 1, users, -1)
        if users == MAX_DECODE_USERS:
            return side_by_side
        out = garbage(spec.shape, spec.dtype).expand(x.shape[0], *spec.shape).clone()
        out[:, :, :, :users] = side_by_side
        return out

    cores = row_major_cores(0, num_heads, WORMHOLE_GRID.x)
    placement = l1_sharded(TensorMemoryLayout.WIDTH_SHARDED, cores, MAX_DECODE_USERS, head_dim)
    spec = tensor_spec((1, 1, MAX_DECODE_USERS, num_heads * head_dim), have.dtype, Layout.TILE, placement)
    return run(operation, [input_tensor], [spec], compute, rounding=moved)[0]


def nlp_create_qkv_heads(
    input: Tensor,
    *,
    num_heads: int,
    num_kv_heads: int | None = None,
    transpose_k_heads: bool = True,
    memory_config: MemoryConfig | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """[B, 1, S, (H + 2 KV) * D] -> q [B, H, S, D], k and v [B, KV, S, D]; k as [B, KV, D, S] if `transpose_k_heads`."""
    operation = "nlp_create_qkv_heads"
    check_options(operation, memory_config=memory_config)
    check_type(operation, "transpose_k_heads", transpose_k_heads, bool)
    mesh_of(operation, input)
    have = input.spec
    check_layout(operation, "the input", input, Layout.TILE)
    check_rank(operation, "the input", input, 4)
    if have.dtype not in FLOATS or input.is_sharded():
        raise not_implemented(operation, "a sharded or integer input", have)
    batch, one, length, width = have.shape
    if one != 1:
        raise fail(operation, f"Unsupported input sequence length {one} is not equal to 1")
    kv_heads = num_heads if num_kv_heads is None else num_kv_heads
    head_dim = _head_dim(operation, width, num_heads, kv_heads)
    placement = memory_config or have.memory_config
    k_shape = (batch, kv_heads, head_dim, length) if transpose_k_heads else (batch, kv_heads, length, head_dim)
    shapes = [(batch, num_heads, length, head_dim), k_shape, (batch, kv_heads, length, head_dim)]

    def compute(x: Values) -> Sequence[Values]:
        q, k, v = (part.transpose(2, 3).contiguous() for part in _split(x[:, :, 0], num_heads, kv_heads, head_dim))
        return q, k.transpose(-1, -2).contiguous() if transpose_k_heads else k, v

    specs = [tensor_spec(shape, have.dtype, Layout.TILE, placement) for shape in shapes]
    q, k, v = run(operation, [input], specs, compute, rounding=moved)
    return q, k, v


def nlp_concat_heads(input_tensor: Tensor, *, memory_config: MemoryConfig | None = None) -> Tensor:
    """[B, H, S, D] -> [B, 1, S, H * D]."""
    operation = "nlp_concat_heads"
    check_options(operation, memory_config=memory_config)
    mesh_of(operation, input_tensor)
    check_layout(operation, "the input", input_tensor, Layout.TILE)
    check_rank(operation, "the input", input_tensor, 4)
    have = input_tensor.spec
    if input_tensor.is_sharded():
        raise not_implemented(operation, "a sharded input", have.memory_config)
    batch, heads, length, head_dim = have.shape
    spec = tensor_spec(
        (batch, 1, length, heads * head_dim), have.dtype, Layout.TILE, memory_config or have.memory_config
    )

    def compute(x: Values) -> Values:
        return x.transpose(2, 3).reshape(x.shape[0], batch, 1, length, heads * head_dim)

    return run(operation, [input_tensor], [spec], compute, rounding=moved)[0]
