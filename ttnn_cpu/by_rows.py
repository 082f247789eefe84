"""Values that are not made yet, of which one may ask for some rows only."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch

from ttnn_cpu import modes
from ttnn_cpu.row_loops import list_rows, mark_rows, put_rows, take_rows


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
    """Values [1 or D, 1, .., M, N] -> [1 or D, m, N]; what is behind a device's wanted rows does not count."""
    if isinstance(values, ByRows):
        return values.some(wanted)
    source = values.reshape(values.shape[0], *values.shape[-2:]).contiguous()
    devices, most = max(len(source), len(wanted.rows)), wanted.rows.shape[1]
    out = source.new_zeros(devices, most, source.shape[2])
    take_rows(*(each.numpy() for each in (source, *wanted, out)))
    return out


def wanted_by(weights: torch.Tensor) -> Wanted:
    """The rows of a finite weight that is not 0, of weights [1 or D, M]."""
    rows, counts = torch.empty(weights.shape, dtype=torch.int64), torch.empty(len(weights), dtype=torch.int64)
    list_rows(weights.numpy(), rows.numpy(), counts.numpy())
    return Wanted(rows[:, : max(1, int(counts.max()))].contiguous(), counts)


def put_back(made: torch.Tensor, wanted: Wanted, weights: torch.Tensor) -> torch.Tensor:
    """The wanted rows' values [D, m, N] -> [D, M, N]: with 0 the others are 0, and with a weight that is inf or nan, nan."""
    whole = made.new_empty(len(made), weights.shape[1], made.shape[2])
    put_rows(*(each.contiguous().numpy() for each in (made, *wanted, weights, whole)))
    return whole


def weighted(
    values: ByRows, weights: torch.Tensor, multiply: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """`multiply(values, weights)` for weights [1 or D, 1, .., M, 1], of the rows whose weight is finite and not 0; the
    others are 0 or nan without being made."""
    column = weights.reshape(weights.shape[0], -1).contiguous()
    wanted = wanted_by(column)
    made = multiply(values.some(wanted), rows_of(weights, wanted))
    return put_back(made, wanted, column).reshape(len(made), *weights.shape[1:-1], made.shape[2])


def of_finite_rows(values: torch.Tensor, make: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """`make(values, counts)` of [1 or D, M, K], each row of which follows from the same row alone; the row of one in
    which something is inf or nan is nan without being made."""
    marks = torch.empty(values.shape[:2])
    values = values.contiguous()
    if mark_rows(values.numpy(), marks.numpy()):
        return make(values, torch.full((1,), values.shape[1]))
    wanted = wanted_by(marks)
    return put_back(make(rows_of(values, wanted), wanted.counts), wanted, marks)
