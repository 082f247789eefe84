"""Values of at most 8 bits of significand in half the memory: a weight as its products with a few rows read it."""

from __future__ import annotations

import numpy as np
import torch

from ttnn_cpu.loops import in_threads
from ttnn_cpu.product_loops import COLUMNS, EIGHT, multiply_rows, narrow, widen

INNER = EIGHT  # `times` takes a K of this or a multiple


class Narrow:
    """The upper halves of float32 words, of which the lower ones are 0. A call makes the float32 values."""

    def __init__(self, halves: np.ndarray) -> None:
        self._halves = halves

    @classmethod
    def of(cls, values: torch.Tensor) -> Narrow | None:
        """None where a value has more bits."""
        halves = np.empty(values.shape, np.uint16)
        fits = narrow(values.contiguous().view(torch.int32).numpy().reshape(-1), halves.reshape(-1))
        return cls(halves) if fits else None

    def __call__(self) -> torch.Tensor:
        values = torch.empty(self._halves.shape)
        halves, out = self._halves.reshape(-1), values.numpy().reshape(-1)
        in_threads(lambda first, end: widen(halves[first:end], out[first:end]), out.size, out.size)
        return values

    def times(self, x: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """x [1 or D, m, K], of at most 8 bits, times these [1 or D, 1, .., K, N] -> [D, m, N], of the first
        counts[d] rows, int64 [1 or D]; 0 in the others."""
        halves = self._halves.reshape(-1, *self._halves.shape[-2:])
        devices, (inner, width) = max(len(x), len(halves)), halves.shape[1:]
        out = torch.empty(devices, x.shape[1], width)
        given = x.contiguous().numpy(), halves, counts.numpy(), out.numpy()
        n_blocks = devices * -(-width // COLUMNS)
        in_threads(lambda first, end: multiply_rows(*given, first, end), n_blocks, out.numel() * inner // 16)
        return out
