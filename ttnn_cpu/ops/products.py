"""What matrix products compute, whatever their programs look like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ttnn_cpu import chip_matmul, chip_rounding, chip_vector
from ttnn_cpu.by_rows import ByRows, Wanted, of_rows, rows_of
from ttnn_cpu.configs import WormholeComputeKernelConfig
from ttnn_cpu.dispatch import Values
from ttnn_cpu.enums import DataType, UnaryOpType
from ttnn_cpu.modes import is_chip, is_rounded_once
from ttnn_cpu.narrow import Narrow
from ttnn_cpu.ops.elementwise import activate, aligned
from ttnn_cpu.tensor import Tensor, Unmade, made

TAKES = ByRows, Narrow  # of its operands


def product(a: Values, b: Values) -> Values:
    """[Da, *, M, K] @ [Db, *, K, N] -> [max(Da, Db), *, M, N] with batch dims broadcast.

    A weight without batch dims takes one 2-D product for all rows, or one batched product over the devices, so that
    torch need not copy it for every batch.
    """
    rank = max(a.dim(), b.dim()) - 1
    a, b = aligned(a, rank), aligned(b, rank)
    k, n = b.shape[-2:]
    if b.shape[1:-2].numel() != 1:
        return torch.matmul(a, b)
    if b.shape[0] == 1:
        return (a.reshape(-1, k) @ b.reshape(k, n)).reshape(*a.shape[:-1], n)
    rows = a.shape[1:-1].numel()
    left = a.reshape(a.shape[0], rows, k).expand(b.shape[0], rows, k)
    return torch.bmm(left, b.reshape(-1, k, n)).reshape(b.shape[0], *a.shape[1:-1], n)


def multiplied(
    operation: str,
    a: Values,
    b: Values,
    row: Values | None,
    activations: Sequence[UnaryOpType],
    kernel: WormholeComputeKernelConfig | None,
    block: int,
    ends_in_l1: bool,
) -> Values:
    """a @ b + row, then the activations; what the chip does follows from the rest, as `chip_matmul` says."""
    rank = max(a.dim(), b.dim()) - 1
    if not is_chip():
        y = product(a, b)
        return activate(y if row is None else y + aligned(row, rank), activations)
    unit = chip_matmul.matrix_unit(operation, kernel, block, ends_in_l1)
    y = chip_matmul.product(aligned(a, rank), aligned(b, rank), unit)
    if row is not None:
        y = chip_rounding.sum_of_two(y, aligned(row, rank))
    return chip_vector.activate(y, activations, unit.in_fp32)


def multiplied_by_rows(
    operation: str,
    a: Tensor,
    b: Tensor,
    values: Sequence[Values | Unmade],
    activations: Sequence[UnaryOpType],
    *how: Any,
) -> Values | ByRows:
    """`multiplied` of the values of a, b and, if there is one, bias.

    Where a and b are matrices of at most 8 bits of significand: in the order of sums that `product_loops` states and,
    where there is no bias, later, of the rows that count.
    """
    are_matrices = all(extent == 1 for tensor in (a, b) for extent in tensor.spec.shape[:-2])
    few_bits = DataType.FLOAT32 not in (a.spec.dtype, b.spec.dtype)
    if not (is_rounded_once() and are_matrices and few_bits):
        left, right, *row = map(made, values)
        return multiplied(operation, left, right, row[0] if row else None, activations, *how)
    shape = a.spec.shape[:-1] if a.spec.shape.rank >= b.spec.shape.rank else (*b.spec.shape[:-2], a.spec.shape[-2])
    x, w, *biases = values

    def times(rows: Values, counts: np.ndarray) -> Values:
        narrow = w if isinstance(w, Narrow) else b.storage.narrowed(made(w))
        return narrow.times(rows, counts) if narrow else product(rows, matrices(made(w)))

    def whole() -> Values:
        y = of_rows(matrices(made(x)), times).reshape(-1, *shape, b.spec.shape[-1])
        return activate(y + aligned(made(biases[0]), len(shape) + 1) if biases else y, activations)

    def some(wanted: Wanted) -> Values:
        return activate(times(rows_of(x if isinstance(x, ByRows) else made(x), wanted), wanted.counts), activations)

    return whole() if biases else ByRows(whole, some, x.source if isinstance(x, ByRows) else made(x))


def matrices(values: Values) -> Values:
    """[D, 1, .., M, N] -> [D, M, N]."""
    return values.reshape(values.shape[0], *values.shape[-2:])


def rounding(values: Values, dtype: DataType) -> Values:
    """Of what `multiplied` gives."""
    return (chip_rounding.packed_once if is_chip() else chip_rounding.packed)(values, dtype)
