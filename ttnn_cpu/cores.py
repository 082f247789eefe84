"""Coordinates of worker cores and sets of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TypeAlias


@dataclass(frozen=True, init=False, order=True)
class CoreCoord:
    """Column `x` and row `y` of a core. `CoreCoord(3, 1)` and `CoreCoord((3, 1))` are the same."""

    x: int
    y: int

    def __init__(self, x: int | tuple[int, int], y: int | None = None) -> None:
        pair = (x, y) if isinstance(x, int) else tuple(x)
        if len(pair) != 2 or not all(isinstance(value, int) for value in pair):
            raise TypeError(f"CoreCoord takes two integers or a pair of them, got {x!r}, {y!r}")
        object.__setattr__(self, "x", pair[0])
        object.__setattr__(self, "y", pair[1])

    def __repr__(self) -> str:
        return f"{self.x}-{self.y}"


CoreCoordLike: TypeAlias = "CoreCoord | CoreGrid | tuple[int, int] | list[int]"


def core_coord(value: CoreCoordLike) -> CoreCoord:
    """Program configs take a grid size as a coordinate, a CoreGrid, a pair or a list, like ttnn's bindings."""
    if isinstance(value, CoreCoord):
        return value
    if isinstance(value, CoreGrid):
        return CoreCoord(value.x, value.y)
    if isinstance(value, tuple | list) and len(value) == 2:
        return CoreCoord(value[0], value[1])
    raise TypeError(f"expected a core coordinate such as CoreCoord(8, 8) or (8, 8), got {value!r}")


@dataclass(frozen=True)
class CoreRange:
    """The rectangle of cores from `start` to `end`, both included."""

    start: CoreCoord
    end: CoreCoord

    def __post_init__(self) -> None:
        if self.end.x < self.start.x or self.end.y < self.start.y:
            raise RuntimeError(f"core range ends at {self.end} before its start {self.start}")

    def num_cores(self) -> int:
        return (self.end.x - self.start.x + 1) * (self.end.y - self.start.y + 1)

    def __repr__(self) -> str:
        return f"[{self.start} - {self.end}]"


class CoreRangeSet:
    """Disjoint core ranges. Equality and hash look at the set of ranges, not at their order."""

    def __init__(self, core_ranges: Iterable[CoreRange]) -> None:
        self._ranges = tuple(sorted(core_ranges, key=lambda r: (r.start.y, r.start.x)))
        for range_ in self._ranges:
            if not isinstance(range_, CoreRange):
                raise TypeError(f"CoreRangeSet takes CoreRange objects, got {range_!r}")
        if sum(r.num_cores() for r in self._ranges) != len(set(self.cores)):
            raise RuntimeError(f"core ranges overlap: {self!r}")

    def ranges(self) -> list[CoreRange]:
        return list(self._ranges)

    def num_cores(self) -> int:
        return len(self.cores)

    @cached_property
    def cores(self) -> tuple[CoreCoord, ...]:
        """The cores in the order in which shards are laid on them: range by range, each row by row."""
        return tuple(
            CoreCoord(x, y)
            for r in self._ranges
            for y in range(r.start.y, r.end.y + 1)
            for x in range(r.start.x, r.end.x + 1)
        )

    def bounding_box(self) -> CoreRange:
        xs, ys = [c.x for c in self.cores], [c.y for c in self.cores]
        return CoreRange(CoreCoord(min(xs), min(ys)), CoreCoord(max(xs), max(ys)))

    @cached_property
    def _hash(self) -> int:
        return hash(self._ranges)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CoreRangeSet) and self._ranges == other._ranges

    def __repr__(self) -> str:
        return "{" + ", ".join(map(repr, self._ranges)) + "}"


@dataclass(frozen=True, kw_only=True)
class CoreGrid:
    """A grid size: `x` columns, `y` rows."""

    x: int
    y: int

    @property
    def num_cores(self) -> int:
        return self.x * self.y


@lru_cache(maxsize=256)
def row_major_cores(first: int, count: int, columns: int) -> CoreRangeSet:
    """Cores number `first` to `first + count - 1`, counted row by row on a grid of `columns` columns.

    Worked example: 20 cores from number 20 on 8 columns are {[4-2 - 7-2], [0-3 - 7-4]}: the rest of row 2 and two whole
    rows.
    """
    ranges: list[CoreRange] = []
    while count > 0:
        y, x = divmod(first, columns)
        if x == 0 and count >= columns:
            rows = count // columns
            ranges.append(CoreRange(CoreCoord(0, y), CoreCoord(columns - 1, y + rows - 1)))
            taken = rows * columns
        else:
            taken = min(count, columns - x)
            ranges.append(CoreRange(CoreCoord(x, y), CoreCoord(x + taken - 1, y)))
        first, count = first + taken, count - taken
    return CoreRangeSet(ranges)


def num_cores_to_corerangeset(target_num_cores: int, grid_size: CoreCoord, row_wise: bool = False) -> CoreRangeSet:
    """The first `target_num_cores` cores of a grid; only `row_wise=True` is implemented."""
    if not row_wise:
        raise NotImplementedError("num_cores_to_corerangeset: row_wise=False is not implemented")
    if not 0 < target_num_cores <= grid_size.x * grid_size.y:
        raise RuntimeError(
            f"Target number of cores {target_num_cores} is greater than total number of cores available "
            f"{grid_size.x * grid_size.y}"
        )
    return row_major_cores(0, target_num_cores, grid_size.x)
