"""Values of at most 8 bits of significand in half the memory: a weight as its products with rows read it."""

from __future__ import annotations

import numpy as np
import torch

from ttnn_cpu.loops import in_threads
from ttnn_cpu.product_loops import PANEL, multiply_rows, narrow, widen

_AS_MANY = 4  # rows take as long as the weight takes to be read


class Narrow:
    """Of [1 or D, 1, .., K, N] the upper halves of the float32 words, of which the lower ones are 0, in panels. A call
    makes the float32 values."""

    def __init__(self, panels: np.ndarray, shape: torch.Size) -> None:
        self._panels, self._shape = panels, shape

    @classmethod
    def of(cls, values: torch.Tensor) -> Narrow | None:
        """None where a value has more bits."""
        devices, (inner, width) = len(values), values.shape[-2:]
        words = values.contiguous().view(torch.int32).numpy().reshape(devices, inner, width)
        panels = np.zeros((devices, -(-width // PANEL), inner, PANEL), np.uint16)
        fits: list[bool] = []
        n_panels = panels.shape[0] * panels.shape[1]
        in_threads(lambda first, end: fits.append(narrow(words, panels, first, end)), n_panels, words.size)
        return cls(panels, values.shape) if all(fits) else None

    @property
    def shape(self) -> torch.Size:
        return self._shape

    def __call__(self) -> torch.Tensor:
        values = torch.empty(self._shape)
        out = values.numpy().reshape(len(values), *self._shape[-2:])
        n_panels = self._panels.shape[0] * self._panels.shape[1]
        in_threads(lambda first, end: widen(self._panels, out, first, end), n_panels, out.size)
        return values

    def times(self, x: torch.Tensor, counts: np.ndarray) -> torch.Tensor:
        """x [1 or D, m, K], of at most 8 bits, times these -> [D, m, N], of the first counts[d] rows, int64 [1 or D]; 0
        in the others."""
        of_a_device, inner = self._panels.shape[1:3]
        devices = max(x.shape[0], self._panels.shape[0])
        out = torch.zeros(devices, x.shape[1], of_a_device * PANEL)
        given = x.contiguous().numpy(), self._panels, counts, out.numpy()
        rows = int(np.maximum(counts, (counts > 0) * _AS_MANY).sum()) * (devices // counts.size)
        steps = rows * out.shape[2] * inner // 16
        in_threads(lambda first, end: multiply_rows(*given, first, end), devices * of_a_device, steps)
        return out[..., : self._shape[-1]]
