"""What stands in memory that nothing has written. On a chip that is whatever was there before; here it is always the
same, and the worst of it, so that no program can come to rely on it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import chain

import torch

from ttnn_cpu.enums import FLOATS, UNSIGNED_BITS, DataType
from ttnn_cpu.rounding import GROUP, on_host
from ttnn_cpu.spec import round_up, storage_dtype

_INF, _NAN = float("inf"), float("nan")
# each four fill a group of 16: block floats can hold them side by side, and rows of whole tiles do not all begin alike
_FLOATS = (
    (_NAN, _INF, -_INF, 1.5),
    (3e38, -3e38, -3e38, 3e38),
    (0.5, -1.0, 3.0, -2.5),
    (1e30, 7.0, -1e30, -1e25),
    (1e-30, -1e-30, 2e-38, -1e-35),
)
_INTEGERS = (0x7FFFFFFF, -1, -0x80000000, 0x7BAD7BAD, -77, 3, 0x7FFFFF00)


def garbage(shape: Sequence[int], dtype: DataType) -> torch.Tensor:
    """[1, *shape], alike on all devices, as values of `dtype` are kept. The last two dims take memory, the others are
    repetitions, not to be written to in place."""
    *leading, rows, width = (1, 1, *shape)
    pattern, across = _pattern(dtype), round_up(width, GROUP)
    plane = pattern.repeat(-(-rows * across // len(pattern)))[: rows * across].view(rows, across)[:, :width]
    return plane.expand(*leading, rows, width).reshape(1, *shape)


@cache
def _pattern(dtype: DataType) -> torch.Tensor:
    if dtype in FLOATS:
        numbers = torch.tensor(list(chain.from_iterable(four * (GROUP // 4) for four in _FLOATS)))
        return on_host(on_host(numbers, DataType.BFLOAT16), dtype)
    integers = torch.tensor(_INTEGERS)
    if dtype in UNSIGNED_BITS:
        integers &= (1 << UNSIGNED_BITS[dtype]) - 1
    return integers.to(storage_dtype(dtype))
