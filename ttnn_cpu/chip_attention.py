"""Scaled dot product attention as the kernels compute it.

Keys go in chunks. Of each: scores (float32 with a float32 destination, else bfloat16), their maximum with that of the
chunks before (cut to bfloat16), exponentials of the scaled differences, their sum, and the product with the values
(bfloat16). With a chunk before: sum and output of that one are multiplied by the exponential of the difference of the
maxima, for which the scale is cut to bfloat16, and added. In the end the output is divided by the sum.

Prefill wants a float32 destination. Of the exponentials it adds tile to tile in L1, in float32, then along the tile.
Decode wants a bfloat16 one. With up to 16 heads it takes the exponential from a line, a fast and coarse one.

In decode the cores of a head share its chunks, and join what they have two by two.

Equal to the bit to what ttnn 0.81.1 gave on simulated chips (docs/chip_values.md says for what).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

from ttnn_cpu.checks import not_implemented
from ttnn_cpu.chip_matmul import MatrixUnit, matrix_unit, product, product_of_each, row_sum, to_tf32
from ttnn_cpu.chip_rounding import packed, sum_of_two
from ttnn_cpu.chip_vector import exp, exp_of_difference, exp_of_line, exp_short, reciprocal
from ttnn_cpu.configs import SDPAProgramConfig, WormholeComputeKernelConfig
from ttnn_cpu.enums import TILE_SIZE, DataType

_HALF_A_TILE = 16
_NONE_SEEN = -1e30  # a maximum of no scores
_UPPER_HALF = -1 << 16


@dataclass(frozen=True)
class _Partial:
    """Of the chunks so far: maximum and sum [.., rows, 1 or 32], output [.., rows, W]."""

    largest: torch.Tensor
    total: torch.Tensor
    out: torch.Tensor


def prefill(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    start: int,
    ends: Sequence[int] | None,
    scale: float | None,
    program: SDPAProgramConfig | None,
    kernel: WormholeComputeKernelConfig | None,
) -> torch.Tensor:
    """q [n, H, C, W], k and v [n, KV, start + C or more, W] -> [n, H, C, W]: row i sees the keys 0 .. start + i, or
    from the start of its window, whose bounds are `ends`, to itself."""
    operation = "scaled_dot_product_attention in chip_values"
    unit = matrix_unit(operation, kernel, 0, ends_in_l1=False)
    if program is None or not unit.in_fp32:
        raise not_implemented(operation, "program_config and compute_kernel_config", (program, kernel))
    n, heads, rows, width = q.shape
    kv_heads = k.shape[1]
    factor = torch.tensor(width**-0.5 if scale is None else scale)
    positions = start + torch.arange(rows)
    first = torch.zeros(rows, dtype=torch.int64)
    for begin, end in pairwise(ends or []):
        first[begin:end] = begin
    out = torch.empty_like(q)
    for top in range(0, rows, program.q_chunk_size):
        own = slice(top, min(top + program.q_chunk_size, rows))
        grouped = q[:, :, own].reshape(n, kv_heads, -1, width)
        lowest = int(first[own].min()) // program.k_chunk_size * program.k_chunk_size
        partial = None
        for low in range(lowest, int(positions[own][-1]) + 1, program.k_chunk_size):
            keys = slice(low, min(low + program.k_chunk_size, k.shape[2]))
            number = torch.arange(keys.start, keys.stop)
            seen = (number <= positions[own, None]) & (number >= first[own, None])
            seen = seen.repeat(heads // kv_heads, 1)
            partial = _with_chunk(partial, grouped, k[:, :, keys], v[:, :, keys], seen, factor, unit, _exp_in_fp32)
        assert partial is not None
        out[:, :, own] = _divided(partial, unit).reshape(n, heads, -1, width)
    return out


def decode(
    q: torch.Tensor,
    keys: Callable[[list[int], int, int], tuple[torch.Tensor, torch.Tensor]],
    last: Sequence[int],
    n_kv_heads: int,
    scale: float,
    program: SDPAProgramConfig | None,
    kernel: WormholeComputeKernelConfig | None,
) -> torch.Tensor:
    """q [D, B, H, W] -> [D, B, H, W]. `last` is the place of each user's last key, or -1, which gives zeros;
    `keys(users, low, high)` are those of these places and their values, both [D, users, KV, places, W]."""
    operation = "paged_scaled_dot_product_attention_decode in chip_values"
    unit = matrix_unit(operation, kernel, 0, ends_in_l1=False)
    if program is None or program.k_chunk_size == 0 or unit.in_fp32:
        raise not_implemented(operation, "program_config and compute_kernel_config", (program, kernel))
    devices, n_users, heads, width = q.shape
    of_heads = n_users * n_kv_heads
    n_cores = max(1, min(program.grid.x * program.grid.y // of_heads, program.max_cores_per_head_batch))
    exponential = _exp_of_line if heads <= _HALF_A_TILE else _exp_short
    factor, chunk = torch.tensor(scale), program.k_chunk_size
    out = torch.zeros_like(q)
    for n_chunks in {place // chunk + 1 for place in last if place >= 0}:
        users = [user for user, place in enumerate(last) if place >= 0 and place // chunk + 1 == n_chunks]
        ends = torch.tensor([last[user] for user in users]).view(-1, 1, 1, 1)
        grouped = q[:, users].reshape(devices, len(users), n_kv_heads, -1, width)
        partials: list[_Partial] = []
        for share in _shares(n_chunks, n_cores):
            partial = None
            for number in share:
                low = number * chunk
                k, v = keys(users, low, low + chunk)
                seen = torch.arange(low, low + chunk) <= ends
                partial = _with_chunk(partial, grouped, k, v, seen, factor, unit, exponential)
            assert partial is not None
            partials.append(partial)
        out[:, users] = _divided(_joined(partials, factor, unit), unit).reshape(devices, len(users), heads, width)
    return out


def _shares(n_chunks: int, n_cores: int) -> list[range]:
    """The chunks of each core that has some; the first has the last."""
    n_cores = min(n_chunks, n_cores)
    each, more = divmod(n_chunks, n_cores)
    starts = [core * each + min(core, more) for core in range(n_cores + 1)]
    return [range(*bounds) for bounds in pairwise(starts)][::-1]


def _joined(partials: list[_Partial], scale: torch.Tensor, unit: MatrixUnit) -> _Partial:
    """In rounds: every second with the one after it, and so on."""
    partials = list(partials)
    step = 1
    while step < len(partials):
        for core in range(0, len(partials) - step, 2 * step):
            partials[core] = _join(partials[core], partials[core + step], scale, unit)
        step *= 2
    return partials[0]


def _join(own: _Partial, other: _Partial, scale: torch.Tensor, unit: MatrixUnit) -> _Partial:
    largest = torch.maximum(own.largest, other.largest)
    parts = [(part, _bf16(exp_short((part.largest - largest) * _cut(scale)))) for part in (own, other)]
    one, two = (_cut(part.total * factor) for part, factor in parts)
    outs = (_bf16(product_of_each(part.out, factor, unit.phases)) for part, factor in parts)
    return _Partial(largest, _cut(one + two), _bf16(sum_of_two(*outs)))


def _with_chunk(
    before: _Partial | None,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    seen: torch.Tensor,
    scale: torch.Tensor,
    unit: MatrixUnit,
    exponential: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> _Partial:
    """q [.., rows, W], k and v [.., keys, W], `seen` [rows, keys] or as the scores."""
    scores = to_tf32(product(q, k.transpose(-1, -2), unit))
    largest = _cut(scores.masked_fill(~seen, _NONE_SEEN).amax(-1, keepdim=True))
    if before is not None:
        largest = torch.maximum(largest, before.largest)
    differences = _held(sum_of_two(scores, -largest), unit)
    exponents = exponential(differences, scale).masked_fill(~seen, 0.0)
    total = sum(exponents.split(TILE_SIZE, -1)) if unit.in_fp32 else row_sum(exponents, unit)
    assert isinstance(total, torch.Tensor)
    out = _bf16(product(exponents, v, unit))
    if before is None:
        return _Partial(largest, total, out)
    fading = _held(sum_of_two(before.largest, -largest), unit) * _cut(scale)
    factor = _bf16(exp_of_difference(fading, unit.in_fp32))
    total_before, out_before = (
        _held(product_of_each(to_tf32(x), factor, unit.phases, unit.in_fp32), unit) for x in (before.total, before.out)
    )
    total = _held(sum_of_two(to_tf32(total), to_tf32(total_before)), unit)
    if unit.in_fp32:
        return _Partial(largest, total, (out + _bf16(out_before)).bfloat16().float())
    return _Partial(largest, total, _bf16(sum_of_two(out_before, out)))


def _divided(partial: _Partial, unit: MatrixUnit) -> torch.Tensor:
    total = to_tf32(row_sum(partial.total, unit)) if unit.in_fp32 else partial.total
    factor = reciprocal(total, unit.in_fp32)
    return product_of_each(partial.out, to_tf32(factor), unit.phases, unit.in_fp32)


def _exp_in_fp32(differences: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return exp(differences * scale)


def _exp_of_line(differences: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Cut when it is stored; the packer makes 0 of what is negative."""
    return _cut(exp_of_line(differences, scale)).clamp(min=0.0)


def _exp_short(differences: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return _bf16(exp_short(_bf16(differences * scale)))


def _held(values: torch.Tensor, unit: MatrixUnit) -> torch.Tensor:
    """In the destination, or in a buffer of its width."""
    return values if unit.in_fp32 else _bf16(values)


def _bf16(values: torch.Tensor) -> torch.Tensor:
    return packed(values, DataType.BFLOAT16)


def _cut(values: torch.Tensor) -> torch.Tensor:
    return (values.contiguous().view(torch.int32) & _UPPER_HALF).view(torch.float32)
