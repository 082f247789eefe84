"""Values that are not made yet, of which one may ask for some rows only."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch

from ttnn_cpu import modes
from ttnn_cpu.enums import TILE_SIZE
from ttnn_cpu.row_loops import find_alike, list_rows, mark_rows, put_rows, take_rows

_FEW = 8  # rows alike are worth the copying where they are more than one in so many


class Wanted(NamedTuple):
    """Of each device the first counts[d] of the rows rows[d]: int64 [1 or D, m] and [1 or D]."""

    rows: torch.Tensor
    counts: torch.Tensor


class ByRows:
    """Of [D, 1, .., M, N], each row of which follows from the same row of what it is made from. A call makes all of it.

    So an expert's matrices need not be multiplied with the rows that its output is weighted by 0 for.
    """

    def __init__(
        self,
        whole: Callable[[], torch.Tensor],
        some: Callable[[Wanted], torch.Tensor],
        source: torch.Tensor | None = None,
    ) -> None:
        """`some` gives [D, m, N]; what it gives behind a device's wanted rows does not count. `source` [1 or D, 1, .., M, K]
        is what the rows of one device follow from, if it is one tensor."""
        self._whole, self._some, self.source, self._mode = whole, some, source, modes.current()

    def __call__(self) -> torch.Tensor:
        with modes.within(self._mode):
            return self._whole()

    def some(self, wanted: Wanted) -> torch.Tensor:
        with modes.within(self._mode):
            return self._some(wanted)

    def mapped(self, function: Callable[[torch.Tensor], torch.Tensor]) -> ByRows:
        """`function` treats each row by itself."""
        return ByRows(lambda: function(self()), lambda wanted: function(self.some(wanted)), self.source)

    def joined(self, other: ByRows, function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> ByRows:
        """`function` of both treats each row by itself."""
        one, two = self.source, other.source
        alike = one is not None and two is not None and (one.data_ptr(), one.shape) == (two.data_ptr(), two.shape)
        return ByRows(
            lambda: function(self(), other()),
            lambda wanted: function(self.some(wanted), other.some(wanted)),
            one if alike else None,
        )


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
    found = None if values.source is None else different_rows(rows_of(values.source, wanted), wanted.counts)
    if found is None:
        made = values.some(wanted)
    else:
        of_those, places = found
        numbers = wanted.rows.expand(len(of_those.rows), -1).gather(1, of_those.rows)
        made = spread(values.some(Wanted(numbers, of_those.counts)), places, wanted.counts)
    made = multiply(made, rows_of(weights, wanted))
    return put_back(made, wanted, column).reshape(len(made), *weights.shape[1:-1], made.shape[2])


def of_rows(values: torch.Tensor, make: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """`make(values, counts)` of [1 or D, M, K], each row of which follows from the same row alone. A row in which something
    is inf or nan is nan without being made; of rows that are alike, as the padding of a pass is, one is made."""
    values = values.contiguous()
    marks = torch.empty(values.shape[:2])
    if not mark_rows(values.numpy(), marks.numpy()):
        wanted = wanted_by(marks)
        return put_back(make(rows_of(values, wanted), wanted.counts), wanted, marks)
    counts = torch.full((1,), values.shape[1])
    found = different_rows(values, counts)
    if found is None:
        return make(values, counts)
    wanted, places = found
    return spread(make(rows_of(values, wanted), wanted.counts), places, counts)


def different_rows(values: torch.Tensor, counts: torch.Tensor) -> tuple[Wanted, torch.Tensor] | None:
    """Of the first counts[d] rows of [D, m, K] those that differ, and each row's place among them, int64 [D, m]; None
    where nearly all do."""
    if values.shape[1] <= TILE_SIZE:
        return None
    values = values.contiguous()
    rows, places = (torch.zeros(values.shape[:2], dtype=torch.int64) for _ in range(2))
    different = torch.empty(len(values), dtype=torch.int64)
    given = values.view(torch.int32), counts, rows, different, places
    n_alike, n = find_alike(*(each.numpy() for each in given)), int(counts.sum()) * (len(values) // len(counts))
    if n_alike * _FEW < n:
        return None
    return Wanted(rows[:, : int(different.max())].contiguous(), different), places


def spread(made: torch.Tensor, places: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Rows [D, n, N] that differ -> all, [D, m, N], from the places of the first counts[d] of them."""
    whole = made.new_zeros(len(made), places.shape[1], made.shape[2])
    take_rows(*(each.contiguous().numpy() for each in (made, places, counts, whole)))
    return whole
