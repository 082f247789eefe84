"""What one pass over rows computes: norms, rotations, the largest values, sums over devices. Compiled."""

from __future__ import annotations

import numpy as np

from ttnn_cpu.lanes import LANES
from ttnn_cpu.loops import compiled
from ttnn_cpu.product_loops import product_of

_0, _1 = np.float32(0), np.float32(1)
_SIGN, _BELOW_SIGN = -0x80000000, 0x7FFFFFFF


@compiled("void(float32[:,::1], float32[:,::1], float32, float32[:,::1], int64, int64)", in_any_order=True)
def normalize(rows, weights, epsilon, out, first, end):  # type: ignore[no-untyped-def]
    """x / sqrt(mean(x ** 2) + epsilon) * weight for rows [n, W], of which each of weights [1 or D, W] has n / D."""
    n_rows, width = rows.shape
    of_a_weight = n_rows // weights.shape[0]
    for i in range(first, end):
        row, weight, into = rows[i], weights[i // of_a_weight], out[i]
        total = _0
        for j in range(width):
            total += row[j] * row[j]
        scale = _1 / np.sqrt(total / np.float32(width) + epsilon)
        for j in range(width):
            into[j] = row[j] * scale * weight[j]


_row_times = product_of(1)


@compiled(
    "void(float32[:,:,::1], float32[:,:,::1], float32[:,:,::1], float32[:,:,:,::1], int64, int64, float32[:,:,::1],"
    "int64, int64)"
)
def rotate(x, cos, sin, tiles, start, n_lines, out, first, end):  # type: ignore[no-untyped-def]
    """x * cos + (x @ tile) * sin, every 32 columns by themselves, of x [n, rows, W]. Of cos and sin [1 or D, .., W] and
    of tiles [1 or D, 1 or .., 32, 32] the n_lines from `start` on count; each of D is for n / D of n, each line for
    rows / n_lines of the rows."""
    n, n_rows, width = x.shape
    side, of_a_line = tiles.shape[2], n_rows // n_lines
    turned = np.empty((width // side, side), np.float32)
    for i in range(first, end):
        table, matrix = i * cos.shape[0] // n, i * tiles.shape[0] // n
        for row in range(n_rows):
            line = start + row // of_a_line
            tile = tiles[matrix, line if tiles.shape[1] > 1 else 0]
            values, into = x[i, row].reshape((-1, side)), out[i, row]
            cosines, sines = cos[table, line], sin[table, line]
            for block in range(width // side):
                for column in range(0, side, LANES):
                    _row_times(values, block, tile, column, turned, column)
                at = block * side
                for j in range(side):
                    into[at + j] = values[block, j] * cosines[at + j] + turned[block, j] * sines[at + j]


@compiled("void(int32[:,::1], boolean, int64[:,::1], int64, int64)")
def first_in_order(words, largest, indices, first, end):  # type: ignore[no-untyped-def]
    """The words of float32 rows [n, W] -> the indices [n, k] of the k first of them in order, the largest or smallest
    first, the lowest index first among equals; the two zeros are equal, nan lies beyond the infinity of its sign."""
    k, width = indices.shape[1], words.shape[1]
    best = np.empty(k, np.int64)  # 32 bits that sort like the values, then 32 that prefer the lower index
    for row in range(first, end):
        n = 0
        for i in range(width):
            word = words[row, i]
            key = word if word >= 0 else 0 if word == _SIGN else word ^ _BELOW_SIGN
            key = ((key if largest else ~key) << 32) + (width - 1 - i)
            if n < k:
                n += 1
            elif key < best[k - 1]:
                continue
            place = n - 1
            while place > 0 and best[place - 1] < key:
                best[place] = best[place - 1]
                place -= 1
            best[place] = key
        for i in range(k):
            indices[row, i] = width - 1 - (best[i] & 0xFFFFFFFF)


@compiled("void(float32[:,:,:,::1], float32[:,:,::1], int64, int64)")
def sum_parts(x, out, first, end):  # type: ignore[no-untyped-def]
    """x [D, m, n, N], one device after the other, -> out [n, m, N]; the lines of m from `first` to before `end`."""
    for part in range(out.shape[0]):
        for i in range(first, end):
            into = out[part, i]
            into[:] = x[0, i, part]
            for device in range(1, x.shape[0]):
                row = x[device, i, part]
                for j in range(into.size):
                    into[j] += row[j]


@compiled("void(float32[:,:,::1], float32[:,:,::1], int64, int64)")
def join_parts(x, out, first, end):  # type: ignore[no-untyped-def]
    """x [D, m, N] -> out [m, D, N]; the lines of m from `first` to before `end`."""
    for i in range(first, end):
        for device in range(x.shape[0]):
            out[i, device] = x[device, i]
