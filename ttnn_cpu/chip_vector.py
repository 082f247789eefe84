"""What the vector unit makes of values in the destination: the approximations of exp, 1 / x, 1 / sqrt(x)
and silu that the kernels have.

In float32, each product with its sum rounded once. With a float32 destination exp is a polynomial of degree 5 on
[-ln 2 / 2, ln 2 / 2], 1 / x a quadratic with two steps of Newton's, 1 / sqrt(x) a guess from the bits with two steps;
with a bfloat16 one exp is a quadratic in the fraction of x / ln 2 (Moroz and others, 2022, exp_21f), 1 / x has one
step, and the result is rounded to bfloat16. Attention has two of its own: for
differences of maxima a polynomial of degree 4, or 2; in decode, one that writes the bits of a line (Schraudolph, 1999).

The constants are those of the kernels of ttnn 0.81.1 (Apache-2.0; its exp is after code by Norbert Juffa, BSD).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from ttnn_cpu.checks import not_implemented
from ttnn_cpu.chip_vector_loops import (
    exp_of_bfloat16,
    exp_of_differences,
    exp_of_float32,
    line_of_exp,
    reciprocal_of_bfloat16,
    reciprocal_of_float32,
    reciprocal_root_of_float32,
    silu_of_bfloat16,
    silu_of_float32,
)
from ttnn_cpu.enums import UnaryOpType
from ttnn_cpu.loops import Loop, over_values


def exp(values: torch.Tensor) -> torch.Tensor:
    """With a float32 destination."""
    return _each(exp_of_float32, values)


def exp_short(values: torch.Tensor) -> torch.Tensor:
    """With a bfloat16 destination, before it is rounded to that."""
    return _each(exp_of_bfloat16, values)


def exp_of_line(values: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """exp(values * scale), the fast and coarse one."""
    return _each(line_of_exp, values, scale.item())


def exp_of_difference(values: torch.Tensor, in_fp32: bool) -> torch.Tensor:
    """As attention has it for the difference of two maxima."""
    return _each(exp_of_differences, values, in_fp32)


def reciprocal(values: torch.Tensor, in_fp32: bool) -> torch.Tensor:
    return _each(reciprocal_of_float32 if in_fp32 else reciprocal_of_bfloat16, values)


def reciprocal_root(values: torch.Tensor) -> torch.Tensor:
    """1 / sqrt of positive values, with a float32 destination."""
    return _each(reciprocal_root_of_float32, values)


def _silu(values: torch.Tensor, in_fp32: bool) -> torch.Tensor:
    return _each(silu_of_float32 if in_fp32 else silu_of_bfloat16, values)


def _each(loop: Loop, values: torch.Tensor, *settings: object) -> torch.Tensor:
    values = values.contiguous()
    out = torch.empty_like(values)
    over_values(loop, (values,), out, *settings)
    return out


_ACTIVATIONS: dict[UnaryOpType, Callable[[torch.Tensor, bool], torch.Tensor]] = {
    UnaryOpType.RELU: lambda values, _: torch.relu(values),
    UnaryOpType.SILU: _silu,
}


def activate(values: torch.Tensor, activations: Sequence[UnaryOpType], in_fp32: bool) -> torch.Tensor:
    for activation in activations:
        if activation not in _ACTIVATIONS:
            raise not_implemented(f"{activation.name} in chip_values", "activation", activation)
        values = _ACTIVATIONS[activation](values, in_fp32)
    return values
