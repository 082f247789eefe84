"""Products of rows with a weight that is kept as the upper halves of its float32 words, as bfloat16 is.

Both factors have at most 8 bits of significand, so each product is exact, and sums are taken one product after the
other. The result has the same bits on every machine, however many rows there are.

The weight stands in panels of 16 columns, each panel contiguous. A few rows' sums over all of K stay in registers, as
in the microkernel of a BLAS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import int32, types
from numba.core import cgutils
from numba.extending import intrinsic

from ttnn_cpu.lanes import LANES, Rows, Sum, index
from ttnn_cpu.loops import as_float, compiled, shifted_left

PANEL = LANES  # columns
_CHUNK = 120  # rows that are multiplied with all panels before the next: they stay in the second cache
_16 = np.int32(16)


def product_of(n_rows: int) -> Callable[..., Any]:
    """product(x, row, panel, start, out, column): n_rows rows of x float32 [m, K], from `row` on, times PANEL columns
    of panel [K, ..], from `start` on, upper halves or float32 -> the same rows of out float32 [m, N], from `column` on.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, given: Any) -> Any:
        x, panel, out = (Rows(context, builder, signature.args[i], given[i]) for i in (0, 2, 4))
        rows = [builder.add(given[1], index(i)) for i in range(n_rows)]
        sums = [Sum(builder) for _ in rows]
        with cgutils.for_range(builder, panel.n_rows) as loop:
            weights = panel.lanes(loop.index, given[3])
            for row, total in zip(rows, sums, strict=True):
                total.add(x.everywhere(row, loop.index), weights, exact=True)
        for row, total in zip(rows, sums, strict=True):
            out.keep(total(), row, given[5])
        return context.get_dummy_value()

    @intrinsic
    def product(context: Any, x: Any, row: Any, panel: Any, start: Any, out: Any, column: Any) -> Any:
        return types.void(x, types.int64, panel, types.int64, out, types.int64), generate

    return product


_six, _four, _three, _two, _one = (product_of(n_rows) for n_rows in (6, 4, 3, 2, 1))


@compiled("void(float32[:,:,::1], uint16[:,:,:,::1], int64[::1], float32[:,:,::1], int64, int64)")
def multiply_rows(x, panels, counts, out, first, end):  # type: ignore[no-untyped-def]
    """x [1 or D, m, K] times panels [1 or D, P, K, PANEL] -> out [D, m, P * PANEL]: of each device the first counts[d]
    rows, counts [1 or D]; the others stay. Of all devices' panels those from `first` to before `end`."""
    of_a_device = out.shape[2] // PANEL
    for device in range(first // of_a_device, (end - 1) // of_a_device + 1):
        rows, weight, into = x[device % x.shape[0]], panels[device % panels.shape[0]], out[device]
        n_rows = counts[device % counts.shape[0]]
        start = max(first - device * of_a_device, 0)
        stop = min(end - device * of_a_device, of_a_device)
        for chunk in range(0, n_rows, _CHUNK):
            last = min(chunk + _CHUNK, n_rows)
            for number in range(start, stop):
                panel, column, row = weight[number], number * PANEL, chunk
                while row + 6 <= last:
                    _six(rows, row, panel, 0, into, column)
                    row += 6
                left = last - row
                if left >= 4:
                    _four(rows, row, panel, 0, into, column)
                    row, left = row + 4, left - 4
                if left == 3:
                    _three(rows, row, panel, 0, into, column)
                elif left == 2:
                    _two(rows, row, panel, 0, into, column)
                elif left == 1:
                    _one(rows, row, panel, 0, into, column)


@compiled("boolean(int32[:,:,::1], uint16[:,:,:,::1], int64, int64)")
def narrow(words, panels, first, end):  # type: ignore[no-untyped-def]
    """words [D, K, N] -> panels [D, P, K, PANEL], where what is behind N stays; of all devices' panels those
    from `first` to before `end`. False where a lower half is not 0."""
    lower = np.int32(0)
    _, of_a_device, inner, _ = panels.shape
    for block in range(first, end):
        source, panel = words[block // of_a_device], panels[block // of_a_device, block % of_a_device]
        start = block % of_a_device * PANEL
        for k in range(inner):
            for i in range(min(PANEL, source.shape[1] - start)):
                word = source[k, start + i]
                lower |= word & np.int32(0xFFFF)
                panel[k, i] = np.uint16((word >> _16) & np.int32(0xFFFF))
    return lower == np.int32(0)


@compiled("void(uint16[:,:,:,::1], float32[:,:,::1], int64, int64)")
def widen(panels, out, first, end):  # type: ignore[no-untyped-def]
    """The way back, of [D, K, N]."""
    _, of_a_device, inner, _ = panels.shape
    for block in range(first, end):
        panel, into = panels[block // of_a_device, block % of_a_device], out[block // of_a_device]
        start = block % of_a_device * PANEL
        for k in range(inner):
            for i in range(min(PANEL, into.shape[1] - start)):
                into[k, start + i] = as_float(shifted_left(int32(panel[k, i]), _16))
