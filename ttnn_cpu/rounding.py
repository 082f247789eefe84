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
"""

from __future__ import annotations

import torch

from ttnn_cpu.enums import DataType
from ttnn_cpu.loops import Loop, over_values
from ttnn_cpu.rounding_loops import round_on_host

GROUP = 16
BITS = {DataType.BFLOAT8_B: 7, DataType.BFLOAT4_B: 3}
_CANONICAL_NAN = torch.tensor(0x7FC00000, dtype=torch.int32).view(torch.float32)


def on_host(values: torch.Tensor, dtype: DataType, pad_value: float = 0.0) -> torch.Tensor:
    """float32 `values` -> float32 values that `dtype` holds exactly. A last dim that is no whole number of tiles is
    padded with `pad_value`, which takes part in the last group's exponent as on the host."""
    if dtype is DataType.FLOAT32:
        return values
    if dtype is DataType.BFLOAT16:
        return _round_bfloat16(values)
    return in_groups(values, round_on_host, BITS[dtype], pad_value=pad_value)


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


def in_groups(values: torch.Tensor, loop: Loop, *settings: object, pad_value: float = 0.0) -> torch.Tensor:
    """`values` through a loop of `rounding_loops` over groups. A last dim that is no whole number of groups is padded
    with zeros, or that is no whole number of tiles with a `pad_value` other than zero."""
    width = values.shape[-1] if values.dim() else 1
    extra = -width % (GROUP if pad_value == 0.0 else 2 * GROUP)
    if extra:
        grown = torch.nn.functional.pad(values, (0, extra), value=pad_value)
        return in_groups(grown, loop, *settings)[..., :width].contiguous()
    values = values.contiguous()
    out = torch.empty_like(values)
    over_values(loop, (values,), out, *settings, group=GROUP)
    return out
