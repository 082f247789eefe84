"""Values that are not made yet, of which one may ask for some rows only."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from ttnn_cpu import modes
from ttnn_cpu.enums import TILE_SIZE
from ttnn_cpu.row_loops import find_alike, list_rows, mark_rows, put_rows, take_rows

_FEW = 8  # rows alike are worth the copying where they are more than one in so many


class Wanted(NamedTuple):
    """Of each device the first counts[d] of the rows rows[d]: int64 [1 or D, m] and [1 or D]."""

    rows: np.ndarray
    counts: np.ndarray


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
        """`some` gives [D, m, N]; what it gives behind a device's wanted rows does not count. `source`
        [1 or D, 1, .., M, K] is what all rows follow from, where that is one tensor."""
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
        alike = one is not None and two is not None and _place(one) == _place(two)
        return ByRows(
            lambda: function(self(), other()),
            lambda wanted: function(self.some(wanted), other.some(wanted)),
            one if alike else None,
        )


def _place(values: torch.Tensor) -> tuple[object, ...]:
    return values.data_ptr(), values.shape, values.stride()


def rows_of(values: torch.Tensor | ByRows, wanted: Wanted) -> torch.Tensor:
    """Values [1 or D, 1, .., M, N] -> [1 or D, m, N]; what is behind a device's wanted rows does not count."""
    if isinstance(values, ByRows):
        return values.some(wanted)
    devices, n_rows, width = values.shape[0], *values.shape[-2:]
    out = values.new_zeros(max(devices, wanted.rows.shape[0]), wanted.rows.shape[1], width)
    take_rows(values.contiguous().numpy().reshape(devices, n_rows, width), *wanted, out.numpy())
    return out


def wanted_by(weights: np.ndarray) -> Wanted:
    """The rows of a finite weight that is not 0, of weights [1 or D, M]."""
    rows, counts = np.empty(weights.shape, np.int64), np.empty(weights.shape[0], np.int64)
    list_rows(weights, rows, counts)
    return Wanted(np.ascontiguousarray(rows[:, : max(1, counts.max())]), counts)


def put_back(made: torch.Tensor, wanted: Wanted, weights: np.ndarray) -> torch.Tensor:
    """The wanted rows' values [D, m, N] -> [D, M, N]: the others are 0, or nan with a weight of inf or nan."""
    whole = made.new_empty(made.shape[0], weights.shape[1], made.shape[2])
    put_rows(made.contiguous().numpy(), *wanted, weights, whole.numpy())
    return whole


def weighted(
    values: ByRows, weights: torch.Tensor, multiply: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """`multiply(values, weights)` for weights [1 or D, 1, .., M, 1], of the rows whose weight is finite and not 0; the
    others are 0 or nan without being made."""
    column = weights.contiguous().numpy().reshape(weights.shape[0], -1)
    wanted = wanted_by(column)
    found = _different(values.source, wanted)
    if found is None:
        made = values.some(wanted)
    else:
        of_those, places = found
        numbers = np.broadcast_to(wanted.rows, (of_those.rows.shape[0], wanted.rows.shape[1]))
        numbers = np.take_along_axis(numbers, of_those.rows, 1)
        made = _spread(values.some(Wanted(numbers, of_those.counts)), places, wanted.counts)
    made = multiply(made, rows_of(weights, wanted))
    return put_back(made, wanted, column).reshape(made.shape[0], *weights.shape[1:-1], made.shape[2])


def of_rows(values: torch.Tensor, make: Callable[[torch.Tensor, np.ndarray], torch.Tensor]) -> torch.Tensor:
    """`make(values, counts)` of [1 or D, M, K], each row of which follows from the same row alone. A row in which
    something is inf or nan is nan without being made; of rows that are alike, as the padding of a pass, one is made."""
    values = values.contiguous()
    marks = np.empty(values.shape[:2], np.float32)
    if not mark_rows(values.numpy(), marks):
        wanted = wanted_by(marks)
        return put_back(make(rows_of(values, wanted), wanted.counts), wanted, marks)
    counts = np.full(1, values.shape[1])
    found = different_rows(values, counts)
    if found is None:
        return make(values, counts)
    wanted, places = found
    return _spread(make(rows_of(values, wanted), wanted.counts), places, counts)


def _different(source: torch.Tensor | None, wanted: Wanted) -> tuple[Wanted, np.ndarray] | None:
    if source is None or wanted.rows.shape[1] <= TILE_SIZE:
        return None
    return different_rows(rows_of(source, wanted), wanted.counts)


def different_rows(values: torch.Tensor, counts: np.ndarray) -> tuple[Wanted, np.ndarray] | None:
    """Of the first counts[d] rows of [D, m, K] those that differ, and each row's place among them, int64 [D, m]; None
    where nearly all do, or there are few."""
    devices, n_rows = values.shape[:2]
    if n_rows <= TILE_SIZE:
        return None
    rows, places, different = (np.zeros(shape, np.int64) for shape in ((devices, n_rows), (devices, n_rows), devices))
    n_alike = find_alike(values.contiguous().view(torch.int32).numpy(), counts, rows, different, places)
    if n_alike * _FEW < counts.sum() * (devices // counts.size):
        return None
    return Wanted(np.ascontiguousarray(rows[:, : different.max()]), different), places


def _spread(made: torch.Tensor, places: np.ndarray, counts: np.ndarray) -> torch.Tensor:
    """Rows [D, n, N] that differ -> all, [D, m, N], from the places of the first counts[d] of them."""
    whole = made.new_zeros(made.shape[0], places.shape[1], made.shape[2])
    take_rows(made.contiguous().numpy(), places, counts, whole.numpy())
    return whole
