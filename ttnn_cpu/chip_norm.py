"""rms_norm and softmax as the kernels compute them, with a float32 destination, to the bit.

Each step goes through a buffer in L1, in float32, and enters the matrix unit cut to tf32. Sums over the cores of a
sharded norm go twice: over the cores of a grid's row, then, on the first core, its own row's parts and the other rows'
sums.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from ttnn_cpu.checks import not_implemented
from ttnn_cpu.chip_matmul import MatrixUnit, matrix_unit, product_of_each, row_sum, to_tf32
from ttnn_cpu.chip_rounding import sum_of_two
from ttnn_cpu.chip_vector import exp, reciprocal, reciprocal_root
from ttnn_cpu.configs import LayerNormShardedMultiCoreProgramConfig, WormholeComputeKernelConfig
from ttnn_cpu.enums import TILE_SIZE


def rms_norm(
    x: torch.Tensor,
    weight: torch.Tensor | None,
    epsilon: float,
    kernel: WormholeComputeKernelConfig | None,
    shards: LayerNormShardedMultiCoreProgramConfig | None,
) -> torch.Tensor:
    """[.., W] and a weight that broadcasts with it."""
    unit = _unit("rms_norm", kernel)
    multiplied = _multiplier(unit)
    squares = multiplied(x, x)
    total = row_sum(squares, unit) if shards is None else _sum_over_cores(squares, unit, shards)
    mean = to_tf32(total * (torch.ones(()) / x.shape[-1]))
    root = reciprocal_root(sum_of_two(mean, to_tf32(torch.tensor([epsilon]))))
    normed = multiplied(x, to_tf32(root))
    return normed if weight is None else multiplied(to_tf32(normed), weight)


def softmax(
    x: torch.Tensor, kernel: WormholeComputeKernelConfig | None, factor: float = 1.0, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Along the last dim of x * factor + mask."""
    unit = _unit("softmax", kernel)
    multiplied = _multiplier(unit)
    x = to_tf32(x)
    if mask is not None:
        scaled = to_tf32(multiplied(x, torch.tensor([factor])))
        x = to_tf32(sum_of_two(scaled, mask))
    exponents = to_tf32(exp(sum_of_two(x, -x.amax(-1, keepdim=True))))
    return multiplied(exponents, to_tf32(reciprocal(row_sum(exponents, unit), unit.in_fp32)))


def _unit(operation: str, kernel: WormholeComputeKernelConfig | None) -> MatrixUnit:
    unit = matrix_unit(operation, kernel, 0, ends_in_l1=False)
    if not unit.in_fp32:
        raise not_implemented(f"{operation} in chip_values", "compute_kernel_config", kernel)
    return unit


def _multiplier(unit: MatrixUnit) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    return lambda a, b: product_of_each(a, b, unit.phases, unit.in_fp32)


def _sum_over_cores(x: torch.Tensor, unit: MatrixUnit, shards: LayerNormShardedMultiCoreProgramConfig) -> torch.Tensor:
    parts = [row_sum(part, unit) for part in x.split(shards.block_w * TILE_SIZE, -1)]
    across = shards.grid.x
    if shards.grid.y == 1 or across == 1:
        return _sum_of_parts(parts, unit)
    other_rows = [_sum_of_parts(parts[i : i + across], unit) for i in range(across, len(parts), across)]
    return _sum_of_parts(parts[:across] + other_rows, unit)


def _sum_of_parts(parts: list[torch.Tensor], unit: MatrixUnit) -> torch.Tensor:
    """Each part [.., 1] is the first column of a tile."""
    tiles = [torch.nn.functional.pad(part, (0, TILE_SIZE - 1)) for part in parts]
    return row_sum(torch.cat(tiles, -1), unit)
