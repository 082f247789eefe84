"""Matrix products as a Wormhole chip computes them, to the bit.

A factor is cut to 11 bits (tf32). Of these the second operand (the weight) gives its upper 5 bits in phases 0 and 2 and
the next 5 in phases 1 and 3; the first gives its upper 7 in phases 0 and 1 and the lower 4 in phases 2 and 3. LoFi is
phase 0, HiFi2 phases 0 and 1, HiFi3 0 to 2, HiFi4 all.

One step adds the products of one phase at 16 places of K to the destination. They are two groups of 8: in a group
each product, 12 bits, is rounded at the largest exponent of the group, halves away from zero, and the sum is exact.
Then both sums and the destination are rounded at the largest of their three exponents to 24 bits (to 11 with a bfloat16
destination), halves upwards, the destination's away from zero, added, and the total is rounded to the destination's
bits, halves away. With a float32 destination a total of -1 in the last place becomes -2 ** (exponent + 4), as it does
in the simulator: it takes cancellation to the last bit.

K goes in tiles of 32: all phases of one, in each the places 0-15 and then 16-31, then the next tile. After a block of
`in0_block_w` tiles the destination is packed to L1, where the packer adds (float32, or bfloat16 to nearest even), and
starts anew; the last block starts from what L1 holds. Where something follows in another pass (a bias, all of
minimal_matmul) the last block is added in L1 as well, and is cut to tf32 when it is read.

Where this comes from: it gives the bits that the kernels of ttnn 0.81.1 wrote on ttsim 1.10.0 (tests/data,
docs/chip_values.md); written after Tenstorrent's public documentation (tt-isa-documentation) and what ttsim
(Apache-2.0) computes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ttnn_cpu.checks import not_implemented
from ttnn_cpu.chip_matmul_loops import COLUMNS, add_to_destination, into_strips, multiply, multiply_each
from ttnn_cpu.configs import WormholeComputeKernelConfig
from ttnn_cpu.enums import TILE_SIZE, MathFidelity
from ttnn_cpu.loops import over_rows, over_values

_PHASES = {MathFidelity.LoFi: 1, MathFidelity.HiFi2: 2, MathFidelity.HiFi3: 3, MathFidelity.HiFi4: 4}
_TO_TF32 = -1 << 13


@dataclass(frozen=True)
class MatrixUnit:
    """How a call uses it. `block`: tiles of K between two packs, of which 0 are none; `ends_in_l1`: a second pass reads
    the sums from there."""

    phases: int
    in_fp32: bool
    block: int
    ends_in_l1: bool


def matrix_unit(operation: str, kernel: WormholeComputeKernelConfig | None, block: int, ends_in_l1: bool) -> MatrixUnit:
    if kernel is None or kernel.math_fidelity not in _PHASES:
        raise not_implemented(f"{operation} in chip_values", "compute_kernel_config", kernel)
    blocks_differ = kernel.packer_l1_acc or ends_in_l1
    return MatrixUnit(_PHASES[kernel.math_fidelity], kernel.fp32_dest_acc_en, block if blocks_differ else 0, ends_in_l1)


def product(a: torch.Tensor, b: torch.Tensor, unit: MatrixUnit) -> torch.Tensor:
    """[Da, *, M, K] @ [Db, *, K, N] of one rank -> [max(Da, Db), *, M, N], batch dims broadcast: what the
    destination holds in the end, as float32."""
    (k, n), n_weights = b.shape[-2:], b.shape[:-2].numel()
    if n_weights > 1:
        batch = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        a = a.expand(*batch, *a.shape[-2:])
        if b.shape[1:-2].numel() > 1:
            b = b.expand(*batch, k, n)
        n_weights = b.shape[:-2].numel()
    pairs = zip(a.reshape(n_weights, -1, k), b.reshape(n_weights, k, n), strict=True)
    return torch.stack([_product(x, w, unit) for x, w in pairs]).reshape(*a.shape[:-1], n)


def _product(x: torch.Tensor, w: torch.Tensor, unit: MatrixUnit) -> torch.Tensor:
    """[M, K] @ [K, N]"""
    k, n = w.shape
    missing = -k % TILE_SIZE
    if missing:
        x, w = torch.nn.functional.pad(x, (0, missing)), torch.nn.functional.pad(w, (0, 0, 0, missing))
    strips = np.zeros((-(-n // COLUMNS), k + missing, 3, COLUMNS), np.int16)
    into_strips(w.contiguous().view(torch.int32).numpy(), strips)
    out = torch.empty(len(x), len(strips) * COLUMNS)
    block = unit.block * TILE_SIZE or k + missing
    over_rows(multiply, (x.contiguous(),), out, strips, unit.phases, block, unit.in_fp32, unit.ends_in_l1, each=k)
    return to_tf32(out[:, :n]) if unit.ends_in_l1 and unit.in_fp32 else out[:, :n]


def to_tf32(values: torch.Tensor) -> torch.Tensor:
    """float32 cut to 11 bits, as it is on its way into the matrix unit."""
    return (values.contiguous().view(torch.int32) & _TO_TF32).view(torch.float32)


def product_of_each(a: torch.Tensor, b: torch.Tensor, phases: int = 4, in_fp32: bool = False) -> torch.Tensor:
    """a * b of single values, broadcast, by the same steps; here `a` gives 5 bits at a time and `b` 7 and 4."""
    a, b = (operand.contiguous() for operand in torch.broadcast_tensors(a, b))
    out = torch.empty_like(a)
    over_values(multiply_each, (a, b), out, phases, in_fp32, each=phases)
    return out


def row_sum(x: torch.Tensor, unit: MatrixUnit) -> torch.Tensor:
    """[.., W] -> [.., 1]: a product with a column of ones."""
    width = x.shape[-1]
    return product(x.reshape(1, -1, width), torch.ones(1, width, 1), unit).reshape(*x.shape[:-1], 1)


def added_to(held: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """held + (a + b) of one shape, where `held` is in a bfloat16 destination."""
    held, a, b = (operand.contiguous() for operand in (held, a, b))
    out = torch.empty_like(held)
    over_values(add_to_destination, (held, a, b), out)
    return out
