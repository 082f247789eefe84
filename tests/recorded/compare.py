"""How far two results of one call are apart."""

from dataclasses import dataclass

import torch

from tests.recorded.values import Recorded, as_torch
from ttnn_cpu.enums import FLOATS, DataType

_MANTISSA_BITS = {DataType.BFLOAT16: 7, DataType.BFLOAT8_B: 6, DataType.FLOAT32: 23}


@dataclass(frozen=True)
class Difference:
    """Over all values: the fraction with equal bits, the largest difference, and the correlation.

    `ulp` is the difference in units of the last place of the larger of the two, or for bfp8 of the largest of 16 that
    share its exponent; `pcc` is 1 where the values are alike and none varies.
    """

    n: int
    equal: float
    ulp: float
    pcc: float

    def __str__(self) -> str:
        return f"{self.equal:.4f} equal, {self.ulp:g} ulp, PCC {self.pcc:.6f}"


def difference(ours: list[Recorded], theirs: list[Recorded]) -> Difference:
    """Of all the tensors of two results together. Raises AssertionError if their specs differ."""
    for a, b in zip(ours, theirs, strict=True):
        assert (a.shape, a.dtype, a.layout) == (b.shape, b.dtype, b.layout)
    pairs = [(as_torch(a).expand_as(_of(b)), _of(b), DataType[b.dtype]) for a, b in zip(ours, theirs, strict=True)]
    n = sum(b.numel() for _, b, _ in pairs)
    equal = sum(int((a == b).sum()) for a, b, _ in pairs) / n
    ulp = max(_ulp(a, b, dtype) for a, b, dtype in pairs)
    worst = min(_pcc(a, b) for a, b, _ in pairs)
    return Difference(n, equal, ulp, worst)


def _of(tensor: Recorded) -> torch.Tensor:
    return as_torch(tensor)


def _ulp(a: torch.Tensor, b: torch.Tensor, dtype: DataType) -> float:
    apart = (a.double() - b.double()).abs()
    if dtype not in FLOATS:
        return float(apart.max())
    size = torch.maximum(a.abs(), b.abs()).double()
    if dtype is DataType.BFLOAT8_B:
        grouped = size.unflatten(-1, (-1, 16))
        size = grouped.amax(-1, keepdim=True).expand_as(grouped).flatten(-2)
    exponent = torch.frexp(size)[1] - 1
    unit = torch.where(size > 0, torch.ldexp(torch.ones_like(size), exponent - _MANTISSA_BITS[dtype]), 1.0)
    return float((apart / unit).max())


def _pcc(a: torch.Tensor, b: torch.Tensor) -> float:
    if torch.equal(a, b):
        return 1.0
    pair = torch.stack((a.flatten().double(), b.flatten().double()))
    found = float(torch.corrcoef(pair)[0, 1])
    return found if found == found else 0.0
