"""Sixteen floats at a time, in LLVM's own words: numba cannot keep sums of vectors in registers.

An intrinsic made here stands inside a compiled loop. Products are rounded before they are added, or the same by being
exact, and sums are taken in the order that the code has, so the result has the same bits on every machine.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

LANES = 16

_INDEX, _WORD = ir.IntType(64), ir.IntType(32)


def _vector(element: ir.Type, n: int = LANES) -> ir.VectorType:
    return ir.VectorType(element, n)


_FLOATS, _WORDS, _HALVES = _vector(ir.FloatType()), _vector(_WORD), _vector(ir.IntType(16))
ZEROS = ir.Constant(_FLOATS, [0.0] * LANES)


class Rows:
    """A contiguous array of two dims, [rows, W], in code that is being made."""

    def __init__(self, context: Any, builder: ir.IRBuilder, array_type: Any, array: Any) -> None:
        parts = context.make_array(array_type)(context, builder, array)
        self._builder, self._data = builder, parts.data
        self._are_halves = array_type.dtype == types.uint16
        self.n_rows, self.width = (builder.extract_value(parts.shape, dim) for dim in (0, 1))

    def _at(self, row: Any, column: Any) -> Any:
        place = self._builder.add(self._builder.mul(row, self.width), column)
        return self._builder.gep(self._data, [place])

    def lanes(self, row: Any, column: Any) -> Any:
        """Of float32, or of uint16 that are the upper halves of float32."""
        builder, place = self._builder, self._at(row, column)
        if not self._are_halves:
            return builder.load(builder.bitcast(place, _FLOATS.as_pointer()), align=4)
        halves = builder.load(builder.bitcast(place, _HALVES.as_pointer()), align=2)
        words = builder.shl(builder.zext(halves, _WORDS), ir.Constant(_WORDS, [16] * LANES))
        return builder.bitcast(words, _FLOATS)

    def everywhere(self, row: Any, column: Any) -> Any:
        """One float32 in all lanes."""
        alone = self._builder.insert_element(
            ir.Constant(_FLOATS, ir.Undefined), self._builder.load(self._at(row, column)), ir.Constant(_WORD, 0)
        )
        return self._builder.shuffle_vector(alone, ir.Constant(_FLOATS, ir.Undefined), ir.Constant(_WORDS, [0] * LANES))

    def keep(self, value: Any, row: Any, column: Any) -> None:
        """A float32, or lanes of them."""
        place = self._builder.bitcast(self._at(row, column), value.type.as_pointer())
        self._builder.store(value, place, align=4)


class Sum:
    """Of lanes, in a register."""

    def __init__(self, builder: ir.IRBuilder, start: Any = ZEROS) -> None:
        self._builder, self._place = builder, cgutils.alloca_once_value(builder, start)

    def add(self, a: Any, b: Any, exact: bool) -> None:
        """a * b; an exact product need not be rounded before it is added."""
        flags = ("contract",) if exact else ()
        product = self._builder.fmul(a, b, flags=flags)
        self._builder.store(self._builder.fadd(self(), product, flags=flags), self._place)

    def __call__(self) -> Any:
        return self._builder.load(self._place)

    def of_lanes(self) -> Any:
        """One float32: the upper half of the lanes is added to the lower one, until one is left."""
        builder, lanes = self._builder, self()
        n = LANES // 2
        while n:
            halves = [ir.Constant(_vector(_WORD, n), list(range(first, first + n))) for first in (0, n)]
            lower, upper = (
                builder.shuffle_vector(lanes, ir.Constant(lanes.type, ir.Undefined), half) for half in halves
            )
            lanes, n = builder.fadd(lower, upper), n // 2
        return builder.extract_element(lanes, ir.Constant(_WORD, 0))


def index(value: int) -> Any:
    return ir.Constant(_INDEX, value)
