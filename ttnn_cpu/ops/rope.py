"""Rotary embedding with Meta's interleaved pairs: x * cos + (x @ T) * sin.

T is the transformation matrix that the caller passes: one 32 x 32 tile, applied to every 32 columns of a head. With
T[2i, 2i+1] = 1 and T[2i+1, 2i] = -1 the product turns the pair (a, b) into (-b, a).
"""

from __future__ import annotations

from functools import lru_cache

import torch

from ttnn_cpu import chip_matmul, chip_rounding
from ttnn_cpu.checks import check_options, check_rank, check_type, fail
from ttnn_cpu.configs import WormholeComputeKernelConfig
from ttnn_cpu.cores import CoreRangeSet
from ttnn_cpu.dispatch import Values, mesh_of, run
from ttnn_cpu.enums import TILE_SIZE, DataType, Layout, TensorMemoryLayout
from ttnn_cpu.loops import in_threads
from ttnn_cpu.memory import MemoryConfig
from ttnn_cpu.modes import is_chip
from ttnn_cpu.spec import tensor_spec
from ttnn_cpu.tensor import Tensor
from ttnn_cpu.vector_loops import rotate

_STEPS = TILE_SIZE // 8  # of a value


def _check_inputs(operation: str, *tensors: Tensor) -> None:
    mesh_of(operation, *tensors)
    for tensor in tensors:
        check_rank(operation, "every tensor", tensor, 4)
        if tensor.spec.layout is not Layout.TILE:
            raise fail(operation, "every tensor must be tilized")
        if tensor.spec.dtype is not DataType.BFLOAT16:
            raise fail(operation, f"All input tensors must have dtype = bfloat16, got {tensor.spec.dtype.name}")


def _rotate(x: Values, cos: Values, sin: Values, tiles: Values, start: int, n_lines: int) -> Values:
    """x [D, n, rows, W]; of cos and sin [1 or D, 1 or n, .., W] and of tiles [1 or D, 1 or .., 32, 32] the n_lines from
    `start` on, each for rows / n_lines of the rows."""
    if is_chip():
        lines = slice(start, start + n_lines)
        return _rotate_on_chip(x, cos[:, :, lines], sin[:, :, lines], tiles[:, lines] if tiles.shape[1] > 1 else tiles)
    devices, own = max(each.shape[0] for each in (x, cos, sin, tiles)), cos.shape[1]
    x = x.expand(devices, *x.shape[1:]).contiguous()
    out = torch.empty_like(x)
    n_tables = devices if own > 1 else max(cos.shape[0], sin.shape[0])
    tables = (each.expand(n_tables, -1, -1, -1).reshape(n_tables * own, *each.shape[2:]) for each in (cos, sin))
    shape = (devices * x.shape[1], *x.shape[2:])
    given = [each.contiguous().numpy() for each in (x.view(shape), *tables, tiles)]
    made = out.view(shape).numpy()
    in_threads(lambda first, end: rotate(*given, start, n_lines, made, first, end), shape[0], x.numel() * _STEPS)
    return out


def _rotate_on_chip(x: Values, cos: Values, sin: Values, tiles: Values) -> Values:
    lines = cos.shape[2]
    cos, sin = (table.repeat_interleave(x.shape[2] // lines, 2) for table in (cos, sin))
    blocks = x.reshape(*x.shape[:2], tiles.shape[1], -1, TILE_SIZE)
    turned = torch.matmul(blocks, tiles.unsqueeze(1)).reshape(-1, *x.shape[1:])
    products = (chip_matmul.product_of_each(*pair) for pair in ((x, cos), (turned, sin)))
    return chip_rounding.sum_of_two(*(chip_rounding.packed(one, DataType.BFLOAT16) for one in products))


def rotary_embedding_llama(
    input_tensor: Tensor,
    cos_cache: Tensor,
    sin_cache: Tensor,
    trans_mat: Tensor,
    *,
    is_decode_mode: bool = False,
    memory_config: MemoryConfig | None = None,
    compute_kernel_config: WormholeComputeKernelConfig | None = None,
) -> Tensor:
    """bf16 tiles.

    Prefill: x [B, H, S, D], cos and sin [1, 1 or H, >= S, D] (the first S rows are used), trans_mat [1, 1, 32, 32].
    Decode: x [1, B, H, D], cos and sin [1, B, 1, D], trans_mat [1, 1, 32 * cores, 32], all height sharded in L1, one
    user per core; a core uses the cos, sin and trans_mat shards that stand on it.
    """
    operation = "rotary_embedding_llama"
    check_options(operation, memory_config=memory_config, compute_kernel_config=compute_kernel_config)
    check_type(operation, "is_decode_mode", is_decode_mode, bool)
    _check_inputs(operation, input_tensor, cos_cache, sin_cache, trans_mat)
    have = input_tensor.spec
    head_dim = have.shape[-1]
    _check_tables(operation, cos_cache, sin_cache, trans_mat, head_dim)
    inputs = [input_tensor, cos_cache, sin_cache, trans_mat]
    if is_decode_mode:
        for name, tensor in (
            ("Sharded inputs", input_tensor),
            ("transformation matrix", trans_mat),
            ("cos", cos_cache),
        ):
            _check_height_sharded(operation, name, tensor)
        if cos_cache.spec.shape[1] != have.shape[1]:
            raise fail(operation, "Cos and Sin must have the same batch size as the input")
        turn = _DecodeRotation(operation, input_tensor, cos_cache, trans_mat)
        return run(operation, inputs, [have], turn)[0]
    if input_tensor.is_sharded():
        raise fail(operation, "a sharded input needs is_decode_mode=True")
    if trans_mat.spec.shape[-2] != TILE_SIZE:
        raise fail(operation, "Transformation matrix must have 3rd dim equal to TILE_HEIGHT")
    length, table_heads = have.shape[-2], cos_cache.spec.shape[1]
    if cos_cache.spec.shape[-2] < length:
        raise fail(operation, f"Cos has {cos_cache.spec.shape[-2]} rows for a sequence of {length}")
    if table_heads not in (1, have.shape[1]):
        raise fail(operation, f"Cos must have 1 or {have.shape[1]} heads, got {table_heads}")
    spec = tensor_spec(have.shape, have.dtype, Layout.TILE, memory_config or have.memory_config)

    def compute(x: Values, cos: Values, sin: Values, tile: Values) -> Values:
        batches = 1 if table_heads == 1 else have.shape[0]
        cos, sin = (table[:, 0].repeat(1, batches, 1, 1) if batches > 1 else table[:, 0] for table in (cos, sin))
        turned = _rotate(x.flatten(1, 2), cos, sin, tile[:, 0], 0, length)
        return turned.reshape(-1, *have.shape)

    return run(operation, inputs, [spec], compute)[0]


def rotary_embedding_llama_fused_qk(
    q_input_tensor: Tensor,
    k_input_tensor: Tensor,
    cos_cache: Tensor,
    sin_cache: Tensor,
    trans_mat: Tensor,
    *,
    compute_kernel_config: WormholeComputeKernelConfig | None = None,
) -> tuple[Tensor, Tensor]:
    """Decode rotation of q [1, B, H, D] and k [1, B, KV, D], which stand on different cores.

    cos and sin [1, 2 B, 1, D] and trans_mat [1, 1, 32 * 2 B, 32] hold one shard for every core of q and of k.
    """
    operation = "rotary_embedding_llama_fused_qk"
    check_options(operation, compute_kernel_config=compute_kernel_config)
    inputs = [q_input_tensor, k_input_tensor, cos_cache, sin_cache, trans_mat]
    _check_inputs(operation, *inputs)
    for name, tensor in zip(("Q input", "K input", "Cos", "Sin", "Trans mat"), inputs, strict=True):
        _check_height_sharded(operation, name, tensor)
    q, k = q_input_tensor.spec, k_input_tensor.spec
    if set(_cores(q_input_tensor).cores) & set(_cores(k_input_tensor).cores):
        raise fail(operation, "Q and K must not overlap")
    _check_tables(operation, cos_cache, sin_cache, trans_mat, q.shape[-1])
    if k.shape[-1] != q.shape[-1]:
        raise fail(operation, f"Q and K must have one head_dim, got {q.shape!r} and {k.shape!r}")
    if cos_cache.spec.shape[1] != q.shape[1] + k.shape[1]:
        raise fail(
            operation,
            "Cos and Sin are repeated for Q and K, so they must have the same batch size as the sum of Q and K batch "
            "sizes",
        )
    if _cores(trans_mat).num_cores() < q.shape[1] + k.shape[1]:
        raise fail(operation, "Transformation matrix is repeated for Q and K must be sharded over core grid of Q and K")
    turn_q = _DecodeRotation(operation, q_input_tensor, cos_cache, trans_mat)
    turn_k = _DecodeRotation(operation, k_input_tensor, cos_cache, trans_mat)

    def compute(qs: Values, ks: Values, cos: Values, sin: Values, tiles: Values) -> tuple[Values, Values]:
        return turn_q(qs, cos, sin, tiles), turn_k(ks, cos, sin, tiles)

    q_out, k_out = run(operation, inputs, [q, k], compute)
    return q_out, k_out


class _DecodeRotation:
    """Rotates user i of a height-sharded tensor with the table rows and the tile that stand on the user's core."""

    def __init__(self, operation: str, tensor: Tensor, table: Tensor, trans_mat: Tensor) -> None:
        users = tensor.spec.shape[1]
        self.rows = _shards_on(operation, _cores(tensor), _cores(table), users, table.spec.shape[1])
        tiles = trans_mat.spec.shape[-2] // TILE_SIZE
        self.tiles = _shards_on(operation, _cores(tensor), _cores(trans_mat), users, tiles)

    def __call__(self, x: Values, cos: Values, sin: Values, trans_mat: Values) -> Values:
        tiles = trans_mat.reshape(trans_mat.shape[0], -1, TILE_SIZE, TILE_SIZE)
        cos, sin, start = cos[:, :, :, 0], sin[:, :, :, 0], 0
        if isinstance(self.rows, slice) and self.tiles == self.rows:  # as they should be: nothing need be taken out
            start = self.rows.start
        else:
            cos, sin, tiles = cos[:, :, self.rows], sin[:, :, self.rows], tiles[:, self.tiles]
        turned = _rotate(x.flatten(2, 3), cos, sin, tiles, start, x.shape[2])
        return turned.reshape(-1, *x.shape[1:])


@lru_cache(maxsize=64)
def _shards_on(operation: str, cores: CoreRangeSet, table: CoreRangeSet, users: int, shards: int) -> slice | list[int]:
    """For the first `users` of `cores`: which shard of a tensor laid on `table` stands there."""
    place = {core: index for index, core in enumerate(table.cores[:shards])}
    found = [place.get(core, -1) for core in cores.cores[:users]]
    if -1 in found:
        raise fail(
            operation, f"cos, sin and trans_mat must have a shard on every core of the input {cores}, got {table}"
        )
    return slice(found[0], found[0] + users) if found == list(range(found[0], found[0] + users)) else found


def _cores(tensor: Tensor) -> CoreRangeSet:
    spec = tensor.spec.memory_config.shard_spec
    assert spec is not None
    return spec.grid


def _check_height_sharded(operation: str, name: str, tensor: Tensor) -> None:
    if tensor.spec.memory_config.memory_layout is not TensorMemoryLayout.HEIGHT_SHARDED:
        raise fail(operation, f"{name} tensor must be HEIGHT_SHARDED.")


def _check_tables(operation: str, cos: Tensor, sin: Tensor, trans_mat: Tensor, head_dim: int) -> None:
    if cos.spec.shape != sin.spec.shape or cos.spec.memory_config != sin.spec.memory_config:
        raise fail(operation, f"Cos and Sin dims must match, got {cos.spec} and {sin.spec}")
    if cos.spec.shape[0] != 1 or cos.spec.shape[-1] != head_dim:
        raise fail(operation, f"Cos dims must match input dims: cos.shape = {cos.spec.shape!r}, head_dim = {head_dim}")
    if head_dim % TILE_SIZE:
        raise fail(operation, f"head_dim {head_dim} must be a multiple of {TILE_SIZE}")
    if trans_mat.spec.shape[:2] != (1, 1) or trans_mat.spec.shape[-1] != TILE_SIZE:
        raise fail(operation, f"Transformation matrix must be [1, 1, 32 * n, 32], got {trans_mat.spec.shape!r}")
