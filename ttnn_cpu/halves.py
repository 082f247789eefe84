"""Values of at most 8 bits of significand in half the memory, where they are written in place: a KV cache."""

from __future__ import annotations

import numpy as np
import torch


class Halves:
    """The upper halves of float32 words, of which the lower ones are 0. A call makes the float32 values."""

    def __init__(self, halves: np.ndarray) -> None:
        """uint16 [D, NB, KV, block, W]"""
        self.halves = halves

    @classmethod
    def of(cls, values: torch.Tensor) -> Halves | None:
        """None where a value has more bits."""
        words = values.contiguous().numpy().view(np.uint32)
        return None if (words & 0xFFFF).any() else cls((words >> 16).astype(np.uint16))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.halves.shape

    def seen_as(self, shape: tuple[int, ...]) -> Halves:
        """The same memory, [D, *shape]."""
        return Halves(self.halves.reshape(-1, *shape))

    def __call__(self) -> torch.Tensor:
        return _wide(self.halves)

    def blocks(self, numbers: torch.Tensor) -> torch.Tensor:
        """numbers [n] of blocks -> float32 [D, n, KV, block, W]."""
        return _wide(self.halves[:, numbers.numpy()])


def upper_halves(values: torch.Tensor) -> np.ndarray:
    """A view of contiguous float32 values [.., W] as uint16."""
    return values.numpy().view(np.uint16)[..., 1::2]


def _wide(halves: np.ndarray) -> torch.Tensor:
    return torch.from_numpy((halves.astype(np.uint32) << 16).view(np.float32))
