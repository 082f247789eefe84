"""Rounding of float32 values to bfloat16, bfloat8_b and bfloat4_b, bit for bit as ttnn does it on the host: in
`from_torch` and wherever else a tensor is made there. What a chip writes it rounds by its own rules: `chip_rounding`.

bfloat16 is round to nearest, ties to even; every nan becomes 0x7fc0.

The block formats share one exponent among 16 consecutive elements of the last dim (one row of one face of a tile):

1. S is the largest exponent field of the group. Elements with exponent field 0 (zeros and denormals) become +0.
2. The 24-bit significand of each element is shifted right by S - e. The shift truncates.
3. It is rounded to 7 (bfloat8_b) or 3 (bfloat4_b) bits, half to even, and clamped: S never grows.
4. A magnitude of 0 is +0. The value is sign * q * 2 ** (S - 127 - (bits - 1)).

Worked example, bfloat4_b (3 bits): in a group whose largest element is 1.0, S = 127 and the step is 2 ** -2.
0.30 becomes 0.25; 0.375, half way between 0.25 and 0.5, becomes 0.5 (the even one of 1 and 2 steps); 0.1 becomes 0;
1.9 would round to 8 steps, which 3 bits do not hold, and stays at 7 steps = 1.75.

The fast path does steps 2 to 4 in float arithmetic, which is exact there because every factor is a power of two. Groups
whose factors leave float32's range (S = 255 for inf and nan, or S < 24) take the path in integers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from ttnn_cpu.enums import DataType

GROUP = 16
# 256k float32 values: the passes over a chunk stay in the second-level cache
_CHUNK_GROUPS = (1 << 18) // GROUP
BITS = {DataType.BFLOAT8_B: 7, DataType.BFLOAT4_B: 3}
# below this exponent field the scale 2 ** (23 - E) is not a float32 number
LEAST_EXPONENT = 24
_CANONICAL_NAN = torch.tensor(0x7FC00000, dtype=torch.int32).view(torch.float32)


def on_host(values: torch.Tensor, dtype: DataType, pad_value: float = 0.0) -> torch.Tensor:
    """float32 `values` -> float32 values that `dtype` holds exactly. A last dim that is no whole number of tiles is
    padded with `pad_value`, which takes part in the last group's exponent as on the host."""
    if dtype is DataType.FLOAT32:
        return values
    if dtype is DataType.BFLOAT16:
        return _round_bfloat16(values)
    return in_groups(values, partial(_round_groups, bits=BITS[dtype]), pad_value)


def _round_bfloat16(values: torch.Tensor) -> torch.Tensor:
    rounded = values.to(torch.bfloat16).to(torch.float32)
    # one cheap pass tells whether there can be a nan at all (inf - inf is a harmless false alarm)
    if torch.isnan(rounded.sum()):
        rounded = torch.where(torch.isnan(rounded), _CANONICAL_NAN, rounded)
    return rounded


def as_bfloat16(values: torch.Tensor) -> torch.Tensor:
    """float32 -> torch.bfloat16, rounded as above unless bf16 holds them all: then each keeps its bits, nan as well.

    By the bits, since torch's own conversion gives nan another pattern.
    """
    if (values.view(torch.int32) & 0xFFFF).any():
        values = _round_bfloat16(values)
    return (values.view(torch.int32) >> 16).to(torch.int16).view(torch.bfloat16)


def in_groups(
    values: torch.Tensor, round_groups: Callable[[torch.Tensor, torch.Tensor], None], pad_value: float = 0.0
) -> torch.Tensor:
    """`values` through `round_groups(groups [n, 16], out [n, 16])`. A last dim that is no whole number of groups is
    padded with zeros, or that is no whole number of tiles with a `pad_value` other than zero."""
    width = values.shape[-1] if values.dim() else 1
    extra = -width % (GROUP if pad_value == 0.0 else 2 * GROUP)
    if extra:
        grown = torch.nn.functional.pad(values, (0, extra), value=pad_value)
        return in_groups(grown, round_groups)[..., :width].contiguous()
    groups = values.reshape(-1, GROUP)
    out = torch.empty_like(groups)
    for start in range(0, groups.shape[0], _CHUNK_GROUPS):
        round_groups(groups[start : start + _CHUNK_GROUPS], out[start : start + _CHUNK_GROUPS])
    return out.reshape(values.shape)


def _round_groups(groups: torch.Tensor, out: torch.Tensor, bits: int) -> None:
    """[n, 16] float32 -> the same shape, into `out`."""
    exponent = groups.view(torch.int32).bitwise_and(0x7F800000).amax(-1, keepdim=True)
    # A group of zeros and denormals has S = 0: with S = 24 its elements truncate to zero all the same.
    safe = exponent.clamp(LEAST_EXPONENT << 23, 254 << 23)
    up = (((127 + 150) << 23) - safe).view(torch.float32)
    torch.mul(groups, up, out=out)
    # now in units of the 24-bit significand at exponent S; trunc is the shift of step 2
    out.trunc_().mul_(2.0 ** (bits - 24)).round_()
    limit = float(2**bits - 1)
    out.clamp_(-limit, limit).mul_((safe - ((bits - 1) << 23)).view(torch.float32))
    out.add_(0.0)  # -0 + 0 = +0
    odd = ((exponent != 0) & (exponent != safe)).squeeze(-1)
    if odd.any():
        out[odd] = _round_groups_in_integers(groups[odd], bits)


def _round_groups_in_integers(groups: torch.Tensor, bits: int) -> torch.Tensor:
    """Steps 1 to 4 on the bit patterns, for groups with inf, nan or a tiny exponent."""
    word = groups.contiguous().view(torch.int32)
    exponent = (word >> 23) & 255
    shared = exponent.amax(-1, keepdim=True)
    significand = ((word & 0x7FFFFF) | 0x800000) >> (shared - exponent).clamp(max=31)
    drop = 24 - bits
    q = (significand + ((1 << (drop - 1)) - 1) + ((significand >> drop) & 1)) >> drop
    q = torch.where(exponent == 0, 0, q.clamp(max=2**bits - 1))
    return decoded(word, shared, q, bits)


def decoded(word: torch.Tensor, shared: torch.Tensor, q: torch.Tensor, bits: int) -> torch.Tensor:
    """The float32 values of magnitudes q under the exponent field `shared`, as ttnn reads a block float back; the signs
    are those of `word`. int32 [n, 16], `shared` [n, 1]."""
    # the leading one of q goes to the hidden place, the exponent is lowered by as much
    leading = ((q.float().view(torch.int32) >> 23) & 255) - 127
    shift = (bits - 1) - leading
    fraction = (q << (shift.clamp(0, 31) + 1)) & (2**bits - 1)
    pattern = (word & -0x80000000) | ((shared - shift) << 23) | (fraction << (23 - bits))
    return torch.where((q == 0) | (shift > shared), 0, pattern).to(torch.int32).view(torch.float32)
