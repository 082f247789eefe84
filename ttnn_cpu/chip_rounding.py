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
paged_fused_update_cache. Inferred: `packed` for all other results in block floats; bfloat4_b and the special values,
from Tenstorrent's public documentation of the packers (tt-isa-documentation, FormatConversion).
"""

from __future__ import annotations

import math
from functools import partial

import torch

from ttnn_cpu.enums import DataType
from ttnn_cpu.rounding import BITS, LEAST_EXPONENT, decoded, in_groups

_SUM_BITS = 11
_HALF = torch.tensor(0.5)
_LARGEST_DENORMAL = 2.0**-126 - 2.0**-149
_ROUND_TO_8_BITS, _8_BITS = 0x8000, -0x10000  # of the significand: what is added to a word, what is kept of it
_ROUND_TO_8_THEN_7_BITS, _7_BITS = 0x18000, -0x20000  # the first rounding leaves zeros behind: both in one addition
# A q of 8 bits that is half way between two integers is lifted off the tie, and no other reaches one.
_AWAY_FROM_TIES = 1 + 2.0**-20


def packed(values: torch.Tensor, dtype: DataType) -> torch.Tensor:
    """float32 results of arithmetic -> what stands in memory, as float32."""
    if dtype is DataType.FLOAT32:
        return values
    # one cheap pass tells whether there can be a nan at all (inf - inf is a harmless false alarm)
    if math.isnan(values.sum().item()):
        values = torch.where(torch.isnan(values), torch.copysign(torch.tensor(torch.inf), values), values)
    if dtype is DataType.BFLOAT16:
        return _words(values, _ROUND_TO_8_BITS, _8_BITS).view(torch.float32)
    return in_groups(values, partial(_round_groups, add=_ROUND_TO_8_THEN_7_BITS, keep=_7_BITS, bits=BITS[dtype]))


def product(values: torch.Tensor, dtype: DataType) -> torch.Tensor:
    """The same for float32 products of two tensors."""
    return packed(values if dtype is DataType.FLOAT32 else values.to(torch.bfloat16).float(), dtype)


def sum_of_two(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a + b as the matrix unit adds bfloat16 and block floats; float32, and exactly what it then packs."""
    exponent = torch.maximum(a.abs(), b.abs()).view(torch.int32).bitwise_and(0x7F800000)
    up = (((253 + _SUM_BITS) << 23) - exponent.clamp(min=_SUM_BITS << 23)).view(torch.float32)
    return (_nearest(a * up) + _nearest(b * up)) / up


def _nearest(values: torch.Tensor) -> torch.Tensor:
    """To whole numbers, ties away from zero."""
    return torch.trunc(values + torch.copysign(_HALF, values))


def cast(values: torch.Tensor, dtype: DataType) -> torch.Tensor:
    """The same for `typecast`."""
    if dtype not in BITS:
        return packed(values, dtype)
    return in_groups(values, partial(_round_groups, add=0, keep=_8_BITS, bits=BITS[dtype]))


def moved(values: torch.Tensor, dtype: DataType) -> torch.Tensor:
    """Values of `dtype` that an operation only puts in other places: as they are. But block floats get new neighbours:
    they are rounded anew (they have no 8th bit, so either rule will do), which changes no group that stays together."""
    return cast(values, dtype) if dtype in BITS else values


def _words(values: torch.Tensor, add: int, keep: int) -> torch.Tensor:
    """(word + add) & keep, int32; +0 for zeros and denormals."""
    return torch.nn.functional.hardshrink(values, _LARGEST_DENORMAL).view(torch.int32).add_(add).bitwise_and_(keep)


def _round_groups(groups: torch.Tensor, out: torch.Tensor, add: int, keep: int, bits: int) -> None:
    """[n, 16] float32 -> the same shape, into `out`, in float arithmetic that is exact as in `rounding`."""
    word = _words(groups, add, keep)
    exponent = word.bitwise_and(0x7F800000).amax(-1, keepdim=True)
    safe = exponent.clamp(LEAST_EXPONENT << 23, 254 << 23)
    up = (((127 + 133) << 23) - safe).view(torch.float32)
    torch.mul(word.view(torch.float32), up.mul_(_AWAY_FROM_TIES), out=out)
    out.round_().clamp_(-127.0, 127.0)
    if bits < 7:
        out.mul_(2.0 ** (bits - 7)).trunc_()
    out.mul_((safe - ((bits - 1) << 23)).view(torch.float32)).add_(0.0)  # -0 + 0 = +0
    odd = ((exponent != 0) & (exponent != safe)).squeeze(-1)
    if odd.any():
        out[odd] = _round_groups_in_integers(word[odd], bits)


def _round_groups_in_integers(word: torch.Tensor, bits: int) -> torch.Tensor:
    """The formula as it stands, for groups with an infinity or with a tiny largest exponent."""
    exponent = (word >> 23) & 255
    shared = exponent.amax(-1, keepdim=True)
    shift = (shared - exponent).clamp(max=29)
    significand = ((word >> 16) & 0x7F) | 0x80
    q = ((significand + (1 << shift)) >> (shift + 1)).clamp(max=127)
    return decoded(word, shared, torch.where(exponent == 0, 0, q) >> (7 - bits), bits)
