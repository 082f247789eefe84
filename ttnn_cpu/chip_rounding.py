"""Rounding of float32 values as a Wormhole chip does it when it writes the result of an operation.

word: the 32 bits of a value; e: its exponent field; m: its 8-bit significand, the hidden one and seven bits.

bfloat16       (word + 0x8000) & 0xffff0000: nearest, ties away from zero. Zeros and denormals become +0, nan becomes
               the infinity of its sign.
block floats   of 16 elements, as in `rounding`: S is the largest e. m is cut, not rounded, from the word and moved
               right by S - e + 1 to nearest, ties away from zero: q = (m + (1 << S - e)) >> S - e + 1, at most 127.
               bfloat8_b is sign * q * 2 ** (S - 133), and a q of 0 is +0. bfloat4_b keeps the upper 3 of q's 7 bits.

`cast` rounds to block floats by just that. `packed` first rounds to bfloat16 as above and then m to 7 bits, ties away,
with the carry into e: a value may be rounded up three times. So one number has two forms in bfloat8_b: beside an
element of 2, 1.0078125 (m = 129) becomes 1.0 by `cast` (129 / 4 = 32.25 steps of 1/32, 32) and 1.03125 by `packed`
(130 / 4 = 32.5, 33).

Two operations round before the packer does. `product`: the vector unit multiplies in float32 and rounds to bfloat16
itself, ties to even. `sum_of_two`: the matrix unit, which adds bfloat16, first shifts both to the larger exponent and
rounds each to 11 bits there, ties away; so 175 steps and 29/64 of one become 175.5 and then 176.

Where this comes from: bit for bit what the kernels of ttnn 0.81.1 wrote on ttsim 1.10.0, a functional simulator of the
chip (tests/data): bfloat16, `product`, `sum_of_two`, `cast` from bfloat16 and float32, `packed` in
paged_fused_update_cache, multiply and reduce_scatter, `packed_once` in matmuls, where `chip_values` takes it (by
default they take `packed`, as their sums are not the destination's own). Inferred: `packed` for all other results in
block floats, of which the model has none; bfloat4_b and the special values, from Tenstorrent's public documentation of
the packers (tt-isa-documentation, FormatConversion).
"""

from __future__ import annotations

import torch

from ttnn_cpu.enums import DataType
from ttnn_cpu.loops import over_values
from ttnn_cpu.rounding import BITS, in_groups
from ttnn_cpu.rounding_loops import add_on_matrix_unit, round_on_chip, to_bfloat16_on_chip

_8_BITS = 0, -0x10000  # of the significand: what is added to a word, what is kept of it
_7_BITS = 0x10000, -0x20000
_8_THEN_7_BITS = 0x18000, -0x20000  # the first rounding leaves zeros behind: both in one addition


def packed(values: torch.Tensor, dtype: DataType) -> torch.Tensor:
    """float32 results of arithmetic -> what stands in memory, as float32."""
    return _packed(values, dtype, to_even_first=False)


def packed_once(values: torch.Tensor, dtype: DataType) -> torch.Tensor:
    """What stands in memory of values that are the destination's own, bfloat16 or float32: to block floats they are
    rounded to 7 bits without being rounded to bfloat16 before."""
    if dtype not in BITS:
        return packed(values, dtype)
    return in_groups(values, round_on_chip, False, *_7_BITS, BITS[dtype])


def product(values: torch.Tensor, dtype: DataType) -> torch.Tensor:
    """The same for float32 products of two tensors."""
    return _packed(values, dtype, to_even_first=True)


def _packed(values: torch.Tensor, dtype: DataType, to_even_first: bool) -> torch.Tensor:
    if dtype is DataType.FLOAT32:
        return values
    if dtype is DataType.BFLOAT16:
        values = values.contiguous()
        out = torch.empty_like(values)
        over_values(to_bfloat16_on_chip, (values,), out, to_even_first)
        return out
    return in_groups(values, round_on_chip, to_even_first, *_8_THEN_7_BITS, BITS[dtype])


def sum_of_two(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a + b as the matrix unit adds bfloat16 and block floats; float32, and exactly what it then packs."""
    a, b = (operand.contiguous() for operand in torch.broadcast_tensors(a, b))
    out = torch.empty_like(a)
    over_values(add_on_matrix_unit, (a, b), out)
    return out


def cast(values: torch.Tensor, dtype: DataType) -> torch.Tensor:
    """The same for `typecast`."""
    if dtype not in BITS:
        return packed(values, dtype)
    return in_groups(values, round_on_chip, False, *_8_BITS, BITS[dtype])


def moved(values: torch.Tensor, dtype: DataType) -> torch.Tensor:
    """Values of `dtype` that an operation only puts in other places: as they are. But block floats get new neighbours:
    they are rounded anew (they have no 8th bit, so either rule will do), which changes no group that stays together."""
    return cast(values, dtype) if dtype in BITS else values


def as_is(values: torch.Tensor, dtype: DataType) -> torch.Tensor:
    """Values that the operation has rounded to `dtype` itself."""
    return values
