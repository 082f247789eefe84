"""Values of which only some blocks of rows are not 0: the others are neither stored nor computed."""

from __future__ import annotations

from collections.abc import Callable

import torch


class Blocks:
    """Of [D, A, 1, M, N], A blocks on each of D devices, those in use. A call makes all of it."""

    def __init__(self, kept: torch.Tensor, in_use: torch.Tensor) -> None:
        """`kept` [n, M, N] are the blocks where `in_use`, bool [D, A], says so, in this order."""
        self.kept, self.in_use = kept, in_use

    def __call__(self) -> torch.Tensor:
        rows, width = self.kept.shape[1:]
        values = self.kept.new_zeros(*self.in_use.shape, 1, rows, width)
        values[self.in_use, 0] = self.kept
        return values

    def of_device(self, device: int) -> torch.Tensor:
        """[its blocks in use, M, N], a view."""
        first = int(self.in_use[:device].sum())
        return self.kept[first : first + int(self.in_use[device].sum())]

    def mapped(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Blocks:
        """`function` of what is kept; it must leave 0 as it is."""
        return Blocks(function(self.kept), self.in_use)

    def rows(self, numbers: torch.Tensor) -> torch.Tensor:
        """Rows by their numbers among the A * M of a device, [D, S] -> [D, S, N]."""
        size = self.kept.shape[1]
        n_before = self.in_use.flatten().cumsum(0).view(self.in_use.shape) - self.in_use.int()
        block = numbers // size
        in_use = self.in_use.gather(1, block)
        if not len(self.kept):
            return self.kept.new_zeros(*numbers.shape, self.kept.shape[2])
        place = torch.where(in_use, n_before.gather(1, block) * size + numbers % size, 0)
        found = self.kept.flatten(0, 1)[place]
        if not in_use.all():
            found[~in_use] = 0.0
        return found
