"""How far two results of one call are apart."""

from dataclasses import dataclass

import torch

from ttnn_cpu.enums import FLOATS, DataType
from ttnn_cpu.witness.values import Recorded, as_torch

MASK = 1e29  # values as large stand for "never", and would outweigh all others
_MANTISSA_BITS = {DataType.BFLOAT16: 7, DataType.BFLOAT8_B: 6, DataType.FLOAT32: 23}


@dataclass(frozen=True)
class Difference:
    """Over all values: the fraction with equal bits, the largest and the typical difference, and the correlation.

    `ulp` is the largest difference in units of the last place of the larger of the two, or for bfp8 of the largest of
    16 that share its exponent; a value near zero, which others cancel to, has many. `rms` is relative to the values'.
    `rms` and `pcc` leave out what is larger than MASK.
    """

    n: int
    equal: float
    ulp: float
    rms: float
    pcc: float

    def __str__(self) -> str:
        return f"{self.equal:.4f} equal, {self.ulp:g} ulp, rms {self.rms:.2%}, PCC {self.pcc:.6f}"


def difference(ours: list[Recorded], theirs: list[Recorded]) -> Difference:
    """Of all the tensors of two results together. Raises AssertionError if their specs or their masks differ."""
    for a, b in zip(ours, theirs, strict=True):
        assert (a.shape, a.dtype, a.layout) == (b.shape, b.dtype, b.layout)
    theirs_too = [(as_torch(b), DataType[b.dtype]) for b in theirs]
    pairs = [(as_torch(a).expand_as(b), b, dtype) for a, (b, dtype) in zip(ours, theirs_too, strict=True)]
    masks = [b.abs() >= MASK for _, b, _ in pairs]
    assert all(torch.equal(a[mask], b[mask]) for (a, b, _), mask in zip(pairs, masks, strict=True)), "masks differ"
    seen = [(a[~mask], b[~mask]) for (a, b, _), mask in zip(pairs, masks, strict=True)]
    n = sum(b.numel() for _, b, _ in pairs)
    equal = sum(int((a == b).sum()) for a, b, _ in pairs) / n
    ulp = max(_ulp(a, b, dtype) for a, b, dtype in pairs)
    return Difference(n, equal, ulp, max(_rms(a, b) for a, b in seen), min(_pcc(a, b) for a, b in seen))


def _rms(a: torch.Tensor, b: torch.Tensor) -> float:
    apart, size = _apart(a, b).norm().item(), b.double().norm().item()
    return apart / size if size else float(apart > 0)


def _apart(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """|a - b|, also 0 where both are the same infinity."""
    return torch.where(a == b, 0.0, a.double() - b.double()).abs()


def _ulp(a: torch.Tensor, b: torch.Tensor, dtype: DataType) -> float:
    apart = _apart(a, b)
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
