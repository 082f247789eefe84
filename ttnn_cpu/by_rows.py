"""Values that are not made yet, of which one may ask for some rows only."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch

from ttnn_cpu import modes


class Wanted(NamedTuple):
    """Of each device the first counts[d] of the rows rows[d]: int64 [1 or D, m] and [1 or D]."""

    rows: torch.Tensor
    counts: torch.Tensor


class ByRows:
    """Of [D, 1, .., M, N], each row of which follows from the same row of what it is made from. A call makes all of it.

    So an expert's matrices need not be multiplied with the rows that its output is weighted by 0 for.
    """

    def __init__(self, whole: Callable[[], torch.Tensor], some: Callable[[Wanted], torch.Tensor]) -> None:
        """`some` gives [D, m, N]; what it gives behind a device's wanted rows does not count."""
        self._whole, self._some, self._mode = whole, some, modes.current()

    def __call__(self) -> torch.Tensor:
        with modes.within(self._mode):
            return self._whole()

    def some(self, wanted: Wanted) -> torch.Tensor:
        with modes.within(self._mode):
            return self._some(wanted)

    def mapped(self, function: Callable[[torch.Tensor], torch.Tensor]) -> ByRows:
        """`function` treats each row by itself."""
        return ByRows(lambda: function(self()), lambda wanted: function(self.some(wanted)))


def rows_of(values: torch.Tensor | ByRows, wanted: Wanted) -> torch.Tensor:
    """Values [1 or D, 1, .., M, N] -> [1 or D, m, N]."""
    if isinstance(values, ByRows):
        return values.some(wanted)
    flat, rows = values.reshape(values.shape[0], *values.shape[-2:]), wanted.rows
    if flat.shape[0] == 1:
        return flat[0][rows]
    return flat.gather(1, rows.unsqueeze(-1).expand(flat.shape[0], -1, flat.shape[-1]))


def weighted(
    values: ByRows, weights: torch.Tensor, multiply: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """`multiply(values, weights)` for weights [1 or D, 1, .., M, 1], of the rows whose weight is not 0. The others are
    0, also where the other factor would be inf or nan."""
    is_wanted = weights.reshape(weights.shape[0], -1) != 0
    counts = is_wanted.sum(1)
    most = max(2, int(counts.max()))
    rows = is_wanted.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :most]
    wanted = Wanted(rows, counts)
    made = multiply(values.some(wanted), rows_of(weights, wanted))
    devices, n_found, width = made.shape
    made[torch.arange(n_found) >= counts.unsqueeze(1).expand(devices, 1)] = 0
    whole = made.new_zeros(devices, is_wanted.shape[1], width)
    whole.scatter_(1, rows.unsqueeze(-1).expand_as(made), made)
    return whole.reshape(devices, *weights.shape[1:-1], width)
