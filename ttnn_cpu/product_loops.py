"""Products of rows with a weight that is kept as the upper halves of its float32 words, as bfloat16 is.

Both factors have at most 8 bits of significand, so each product is exact, and sums are taken in a stated order: of 8
products pairs, then pairs of these, and eights one after the other. The result has the same bits on every machine,
however many rows there are.
"""

from __future__ import annotations

import numpy as np
from numba import int32

from ttnn_cpu.loops import as_float, compiled, shifted_left

EIGHT = 8
COLUMNS = 512  # at once: 8 rows of the weight stay in the first cache, as do their sums
_16 = np.int32(16)


@compiled("void(float32[:,:,::1], uint16[:,:,::1], int64[::1], float32[:,:,::1], int64, int64)", contracts=True)
def multiply_rows(x, weights, counts, out, first, end):  # type: ignore[no-untyped-def]
    """x [1 or D, m, K] times weights [1 or D, K, N] -> out [D, m, N]: of each device the first counts[d] rows, 0 in the
    others; counts [1 or D]. Of all devices' blocks of columns those from `first` to before `end`."""
    n_rows, width, inner = out.shape[1], out.shape[2], x.shape[2]
    per_device = (width + COLUMNS - 1) // COLUMNS
    eight, sums = np.empty((EIGHT, COLUMNS), np.float32), np.empty((n_rows, COLUMNS), np.float32)
    for block in range(first, end):
        device, start = block // per_device, block % per_device * COLUMNS
        n = min(COLUMNS, width - start)
        rows, weight = x[device % x.shape[0]], weights[device % weights.shape[0]]
        sums[:, :n] = np.float32(0)
        for k in range(0, inner, EIGHT):
            for i in range(EIGHT):
                halves, wide = weight[k + i, start : start + n], eight[i]
                for column in range(n):
                    wide[column] = as_float(shifted_left(int32(halves[column]), _16))
            for row in range(counts[device % counts.shape[0]]):
                total = sums[row]
                a, b, c, d = rows[row, k], rows[row, k + 1], rows[row, k + 2], rows[row, k + 3]
                e, f, g, h = rows[row, k + 4], rows[row, k + 5], rows[row, k + 6], rows[row, k + 7]
                for i in range(n):
                    upper = (a * eight[0, i] + b * eight[1, i]) + (c * eight[2, i] + d * eight[3, i])
                    lower = (e * eight[4, i] + f * eight[5, i]) + (g * eight[6, i] + h * eight[7, i])
                    total[i] += upper + lower
        out[device, :, start : start + n] = sums[:, :n]


@compiled("void(uint16[::1], float32[::1])")
def widen(halves, out):  # type: ignore[no-untyped-def]
    for i in range(halves.size):
        out[i] = as_float(shifted_left(int32(halves[i]), _16))


@compiled("boolean(int32[::1], uint16[::1])")
def narrow(words, out):  # type: ignore[no-untyped-def]
    """False where a lower half is not 0."""
    lower = np.int32(0)
    for i in range(words.size):
        lower |= words[i] & np.int32(0xFFFF)
        out[i] = np.uint16((words[i] >> _16) & np.int32(0xFFFF))
    return lower == np.int32(0)
