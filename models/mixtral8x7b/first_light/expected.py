"""What is right for a call of an operation, and how far from it what was found may be: by what computed it.

the CPU backend     to the bit what it gives again: it rounds once
simulated chips     to the bit what `ttnn_cpu.chip_values` gives, the rule of their kernels
chips               the same, but within BOUNDS where the kernels do not just round once: no chip has met the rule yet,
                    and is to be no further from it than rounding once is from the simulated ones
both kinds          by rounding once, within three times BOUNDS, where the rule is not known (sums over a line, decode's
                    attention in another fidelity) or takes minutes (prefill's experts at Mixtral's sizes)
"""

from dataclasses import dataclass
from math import prod
from typing import Any

import torch

import ttnn_cpu
from models.mixtral8x7b.first_light.checks import NO_NUMBER
from models.mixtral8x7b.machine import Machine
from ttnn_cpu.witness.bounds import BITS, BOUNDS, Bound
from ttnn_cpu.witness.calls import RecordedCall
from ttnn_cpu.witness.values import Recorded, as_torch

_MATMULS = ("linear", "matmul", "sparse_matmul", "experimental.minimal_matmul")
MOST_PRODUCTS = 1 << 36  # on all chips: some two minutes of one core in HiFi2
# The bounds were found at one shape of each operation, with sums of 128 products and fewer; Mixtral's have 14336.
OTHER_SHAPES = 3.0
_JOINS = {"all_gather": BITS, "reduce_scatter": Bound(0.0, 0.9999, 0.02)}  # bfp8 is rounded on every chip on the way


@dataclass(frozen=True)
class Expected:
    results: list[Recorded]
    bound: Bound


def expected(call: RecordedCall, mesh: Any, target: str, machine: Machine) -> Expected:
    """Computed on `mesh`, the CPU backend's own, out of the very inputs that the call had."""
    if target == "cpu":
        return Expected(call.on_cpu(mesh), BITS)
    bound = BOUNDS.get(call.operation) or _JOINS.get(call.operation, BITS)
    right = None if _is_too_much(call) or _is_over_a_line(call, machine) else _as_chips(call, mesh)
    if right is None:
        return Expected(call.on_cpu(mesh), _at_other_shapes(bound))
    return Expected(right, BITS if target == "sim" or bound is BITS else _however_few_bits(bound))


def _as_chips(call: RecordedCall, mesh: Any) -> list[Recorded] | None:
    """None where the rule is not known."""
    try:
        with ttnn_cpu.chip_values():
            return call.on_cpu(mesh)
    except NotImplementedError:
        return None


def _is_too_much(call: RecordedCall) -> bool:
    if call.operation not in _MATMULS:
        return False
    first, made = call.inputs[0], call.results[0]
    return prod(made.shape) * first.shape[-1] * first.n_chips > MOST_PRODUCTS


def _is_over_a_line(call: RecordedCall, machine: Machine) -> bool:
    return call.operation == "reduce_scatter" and machine.fabric != "ring"


def _at_other_shapes(bound: Bound) -> Bound:
    """Bit for bit where the kernels are so at any."""
    if bound is BITS:
        return bound
    return Bound(0.0, 1 - OTHER_SHAPES * (1 - bound.pcc), OTHER_SHAPES * bound.rms)


def _however_few_bits(bound: Bound) -> Bound:
    """How many are equal depends on the values alone."""
    return Bound(0.0, bound.pcc, bound.rms)


def n_no_numbers(found: Recorded, right: Recorded) -> int:
    """How many values are nan, infinite or beyond all that the model computes, where numbers belong."""
    values, wanted = as_torch(found), as_torch(right)
    if not values.is_floating_point():
        return 0
    return int((_is_none(values) & ~_is_none(wanted)).sum())


def _is_none(values: torch.Tensor) -> torch.Tensor:
    return ~torch.isfinite(values) | (values.abs() >= NO_NUMBER)
