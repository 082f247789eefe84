"""What is right for a call of an operation, and how far a chip may be from it."""

from typing import Any

from ttnn_cpu.witness.bounds import BITS, BOUNDS, Bound
from ttnn_cpu.witness.calls import RecordedCall
from ttnn_cpu.witness.compare import Difference, difference
from ttnn_cpu.witness.values import Recorded

# The bounds were found at one shape of each operation, with sums of 128 products and fewer; Mixtral's have 14336.
OTHER_SHAPES = 3.0
_JOINS = {"all_gather": BITS, "reduce_scatter": Bound(0.0, 0.9999, 0.02)}  # bfp8 is rounded on every chip on the way


def right_results(call: RecordedCall, mesh: Any) -> list[Recorded]:
    """By the CPU backend, on a mesh of its own, out of the very inputs that the chips had. The one place that says what
    is right: today its default mode, which rounds once."""
    return call.on_cpu(mesh)


def found_difference(call: RecordedCall, mesh: Any) -> Difference:
    """Raises AssertionError where the results are not even of one form."""
    return difference(right_results(call, mesh), list(call.results))


def bound_of(operation: str) -> Bound:
    """Bit for bit where the kernels are so, and for an operation without a bound. Of the others how many bits are equal
    depends on the values alone."""
    bound = BOUNDS.get(operation) or _JOINS.get(operation, BITS)
    return bound if bound is BITS else Bound(0.0, 1 - OTHER_SHAPES * (1 - bound.pcc), OTHER_SHAPES * bound.rms)
