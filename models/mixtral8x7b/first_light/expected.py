"""What is right for a call of an operation, and how far a chip may be from it."""

from typing import Any

import torch

from models.mixtral8x7b.first_light.checks import NO_NUMBER
from ttnn_cpu.witness.bounds import BITS, BOUNDS, Bound
from ttnn_cpu.witness.calls import RecordedCall
from ttnn_cpu.witness.values import Recorded, as_torch

# The bounds were found at one shape of each operation, with sums of 128 products and fewer; Mixtral's have 14336.
OTHER_SHAPES = 3.0
_JOINS = {"all_gather": BITS, "reduce_scatter": Bound(0.0, 0.9999, 0.02)}  # bfp8 is rounded on every chip on the way


def right_results(call: RecordedCall, mesh: Any) -> list[Recorded]:
    """By the CPU backend, on a mesh of its own, out of the very inputs that the chips had. The one place that says what
    is right: today its default mode, which rounds once."""
    return call.on_cpu(mesh)


def n_no_numbers(found: Recorded, right: Recorded) -> int:
    """How many values are nan, infinite or beyond all that the model computes, where numbers belong."""
    values, expected = as_torch(found), as_torch(right)
    if not values.is_floating_point():
        return 0
    return int((_is_none(values) & ~_is_none(expected)).sum())


def _is_none(values: torch.Tensor) -> torch.Tensor:
    return ~torch.isfinite(values) | (values.abs() >= NO_NUMBER)


def bound_of(operation: str) -> Bound:
    """Bit for bit where the kernels are so, and for an operation without a bound. Of the others how many bits are equal
    depends on the values alone."""
    bound = BOUNDS.get(operation) or _JOINS.get(operation, BITS)
    return bound if bound is BITS else Bound(0.0, 1 - OTHER_SHAPES * (1 - bound.pcc), OTHER_SHAPES * bound.rms)
