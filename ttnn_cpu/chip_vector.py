"""What the vector unit makes of values in the destination: the approximations of silu as the kernels have them.

In float32, each product with its sum rounded once. With a float32 destination exp is a polynomial of degree 5 on
[-ln 2 / 2, ln 2 / 2] and 1 / x a quadratic with two steps of Newton's; with a bfloat16 one exp is a quadratic in the
fraction of x / ln 2 (Moroz and others, 2022, exp_21f), 1 / x has one step, and the result is rounded to bfloat16.

The constants are those of the kernels of ttnn 0.81.1 (Apache-2.0; its exp is after code by Norbert Juffa, BSD).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from ttnn_cpu.checks import not_implemented
from ttnn_cpu.chip_vector_loops import silu_of_bfloat16, silu_of_float32
from ttnn_cpu.enums import UnaryOpType
from ttnn_cpu.loops import over_rows


def _silu(values: torch.Tensor, in_fp32: bool) -> torch.Tensor:
    words = values.contiguous()
    out = torch.empty_like(words)
    over_rows(silu_of_float32 if in_fp32 else silu_of_bfloat16, (words.view(-1),), out.view(-1))
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
