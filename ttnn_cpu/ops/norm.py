"""RMS norm and softmax."""

from __future__ import annotations

import torch

from ttnn_cpu import chip_norm
from ttnn_cpu.checks import check_dtype, check_layout, check_options, check_type, dim_of, fail, not_implemented
from ttnn_cpu.configs import (
    LayerNormDefaultProgramConfig,
    LayerNormShardedMultiCoreProgramConfig,
    WormholeComputeKernelConfig,
)
from ttnn_cpu.dispatch import Values, mesh_of, run
from ttnn_cpu.enums import BLOCK_FLOATS, FLOATS, TILE_SIZE, DataType, Layout, TensorMemoryLayout
from ttnn_cpu.loops import in_threads
from ttnn_cpu.memory import MemoryConfig
from ttnn_cpu.modes import is_chip
from ttnn_cpu.spec import tensor_spec
from ttnn_cpu.tensor import Tensor
from ttnn_cpu.vector_loops import normalize


def rms_norm(
    input_tensor: Tensor,
    *,
    epsilon: float = 1e-12,
    weight: Tensor | None = None,
    memory_config: MemoryConfig | None = None,
    program_config: LayerNormDefaultProgramConfig | LayerNormShardedMultiCoreProgramConfig | None = None,
    compute_kernel_config: WormholeComputeKernelConfig | None = None,
) -> Tensor:
    """x / sqrt(mean(x ** 2) + epsilon) * weight over the last dim; tiles, result in the input's dtype.

    The weight of a width W is row major [1, 1, W / 32, 32] or one row [.., W] in tiles. A sharded input stays sharded.
    """
    check_options("rms_norm", memory_config=memory_config, compute_kernel_config=compute_kernel_config)
    mesh_of("rms_norm", input_tensor, weight)
    have = input_tensor.spec
    if have.layout is not Layout.TILE:
        raise fail("rms_norm", "does not support ROW_MAJOR input tensors. Use TILE layout.")
    if have.dtype not in FLOATS:
        raise fail("rms_norm", f"works on float dtypes, got {have.dtype.name}")
    if weight is not None:
        _check_weight(input_tensor, weight)
    placement = memory_config or have.memory_config
    if input_tensor.is_sharded():
        if have.memory_config.memory_layout is TensorMemoryLayout.HEIGHT_SHARDED:
            raise fail("rms_norm", "Height sharded inputs are not supported.")
        if placement.memory_layout is not have.memory_config.memory_layout:
            raise fail("rms_norm", "Sharded inputs require sharded outputs.")
    if program_config is not None:
        _check_program(input_tensor, program_config)
    width = have.shape[-1]

    shards = program_config if isinstance(program_config, LayerNormShardedMultiCoreProgramConfig) else None

    def compute(x: Values, w: Values | None = None) -> Values:
        if w is not None:
            w = w.reshape(w.shape[0], *(1,) * (x.dim() - 2), -1)[..., :width]
        if is_chip():
            return chip_norm.rms_norm(x, w, epsilon, compute_kernel_config, shards)
        return normalized(x, torch.ones(1, width) if w is None else w.reshape(w.shape[0], width), epsilon)

    spec = tensor_spec(have.shape, have.dtype, Layout.TILE, placement)
    inputs = [input_tensor] if weight is None else [input_tensor, weight]
    return run("rms_norm", inputs, [spec], compute, settings=(program_config, compute_kernel_config))[0]


def normalized(x: Values, weights: Values, epsilon: float) -> Values:
    """x [1 or D, .., W], weights [1 or D, W]."""
    x = x.expand(max(len(x), len(weights)), *x.shape[1:]).contiguous()
    rows, out = x.reshape(-1, x.shape[-1]), torch.empty_like(x)
    given = rows.numpy(), weights.contiguous().numpy(), epsilon, out.numpy().reshape(rows.shape)
    in_threads(lambda first, end: normalize(*given, first, end), len(rows), 2 * rows.numel())
    return out


def _check_weight(input_tensor: Tensor, weight: Tensor) -> None:
    width, have = input_tensor.spec.shape[-1], weight.spec
    if have.dtype not in FLOATS - BLOCK_FLOATS:
        raise not_implemented("rms_norm", "weight dtype", have.dtype)
    if have.layout is Layout.ROW_MAJOR:
        if (
            have.shape[-1] != TILE_SIZE
            or have.shape.rank < 2
            or have.shape != (*have.shape[:-2], width // TILE_SIZE, TILE_SIZE)
        ):
            raise fail(
                "rms_norm",
                "Gamma's last padded dim needs to equal tile width and gamma's volume needs to align with last "
                f"padded dim of input. Got gamma {have.shape!r} for width {width}",
            )
        if any(extent != 1 for extent in have.shape[:-2]):
            raise fail("rms_norm", f"Gamma's leading dims must be 1, got {have.shape!r}")
    elif have.shape[-1] != width or any(extent != 1 for extent in have.shape[:-1]):
        raise fail("rms_norm", f"Input and gamma padded widths must match. Got gamma {have.shape!r} for width {width}")


def _check_program(
    input_tensor: Tensor, config: LayerNormDefaultProgramConfig | LayerNormShardedMultiCoreProgramConfig
) -> None:
    check_type(
        "rms_norm", "program_config", config, LayerNormDefaultProgramConfig, LayerNormShardedMultiCoreProgramConfig
    )
    if isinstance(config, LayerNormDefaultProgramConfig):
        return
    if config.inplace:
        raise not_implemented("rms_norm", "program_config.inplace", True)
    placement = input_tensor.spec.memory_config
    if placement.memory_layout is not TensorMemoryLayout.WIDTH_SHARDED or placement.shard_spec is None:
        raise fail("rms_norm", "a sharded program_config needs a width sharded input")
    tiles = input_tensor.spec.padded_shape[-1] // TILE_SIZE
    cores = placement.shard_spec.num_cores()
    if config.block_h != placement.shard_spec.shape[0] // TILE_SIZE:
        raise fail("rms_norm", f"block_h ({config.block_h}) must equal the shard height in tiles")
    if -(-tiles // cores) != config.block_w:
        raise fail(
            "rms_norm", f"block_w ({config.block_w}) must equal to K (in tiles) / num_cores ({-(-tiles // cores)})"
        )
    if config.block_w % config.subblock_w:
        raise fail("rms_norm", "block_w must be divisible by subblock_w.")


def softmax(
    input_tensor: Tensor,
    dim: int = -1,
    *,
    memory_config: MemoryConfig | None = None,
    compute_kernel_config: WormholeComputeKernelConfig | None = None,
    numeric_stable: bool = True,
) -> Tensor:
    """exp(x) / sum(exp(x)) along `dim` of float tiles. Always computed stably; `numeric_stable` makes no difference."""
    check_options("softmax", memory_config=memory_config, compute_kernel_config=compute_kernel_config)
    check_type("softmax", "numeric_stable", numeric_stable, bool)
    mesh_of("softmax", input_tensor)
    check_layout("softmax", "the input", input_tensor, Layout.TILE)
    have = input_tensor.spec
    if have.dtype not in FLOATS:
        raise fail("softmax", f"works on float dtypes, got {have.dtype.name}")
    axis = dim_of("softmax", input_tensor, dim) + 1
    spec = tensor_spec(have.shape, have.dtype, Layout.TILE, memory_config or have.memory_config)
    settings = (axis, compute_kernel_config)

    def compute(x: Values) -> Values:
        if is_chip() and axis == x.dim() - 1:
            return chip_norm.softmax(x, compute_kernel_config)
        return torch.softmax(x, axis)

    return run("softmax", [input_tensor], [spec], compute, settings=settings)[0]


def scale_mask_softmax(
    input_tensor: Tensor,
    scale: float | None = None,
    mask: Tensor | None = None,
    *,
    memory_config: MemoryConfig | None = None,
    is_causal_mask: bool = False,
    compute_kernel_config: WormholeComputeKernelConfig | None = None,
    numeric_stable: bool = True,
) -> Tensor:
    """softmax(x * scale + mask) along the last dimension of float tiles; the mask is one row of bf16 tiles, for all.

    Always computed stably; `numeric_stable` makes no difference.
    """
    operation = "scale_mask_softmax"
    check_options(operation, memory_config=memory_config, compute_kernel_config=compute_kernel_config)
    check_type(operation, "numeric_stable", numeric_stable, bool)
    if mask is None:
        raise not_implemented(operation, "mask", None)
    if is_causal_mask:
        raise not_implemented(operation, "is_causal_mask", True)
    mesh_of(operation, input_tensor, mask)
    check_layout(operation, "the input", input_tensor, Layout.TILE)
    check_layout(operation, "the mask", mask, Layout.TILE)
    check_dtype(operation, "the mask", mask, DataType.BFLOAT16)
    have = input_tensor.spec
    if have.dtype not in FLOATS:
        raise fail(operation, f"works on float dtypes, got {have.dtype.name}")
    if mask.spec.shape != (1, 1, 1, have.shape[-1]):
        raise not_implemented(operation, "mask shape", mask.spec.shape)
    factor = 1.0 if scale is None else scale
    spec = tensor_spec(have.shape, have.dtype, Layout.TILE, memory_config or have.memory_config)

    def compute(x: Values, m: Values) -> Values:
        if is_chip():
            return chip_norm.softmax(x, compute_kernel_config, factor, m)
        return torch.softmax(x * factor + m, -1)

    return run(operation, [input_tensor, mask], [spec], compute, settings=(factor, compute_kernel_config))[0]
