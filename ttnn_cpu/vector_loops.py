"""What one pass over rows computes: norms, rotations, the largest values, sums over devices. Compiled."""

from __future__ import annotations

import numpy as np

from ttnn_cpu.loops import compiled

_0, _1 = np.float32(0), np.float32(1)
_SIGN, _BELOW_SIGN = np.int32(-0x80000000), np.int32(0x7FFFFFFF)


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


@compiled(
    "void(float32[:,:,::1], float32[:,:,::1], float32[:,:,::1], float32[:,:,:,::1], float32[:,:,::1], int64, int64)",
    contracts=True,
)
def rotate(x, cos, sin, tiles, out, first, end):  # type: ignore[no-untyped-def]
    """x * cos + (x @ tile) * sin, every 32 columns of x by themselves, for x [n, rows, W]. cos and sin [1 or D, lines, W]
    and tiles [1 or D, 1 or lines, 32, 32] each have n / D of n, and a line rows / lines of the rows."""
    n, n_rows, width = x.shape
    side, of_a_line = tiles.shape[2], n_rows // cos.shape[1]
    turned = np.empty(side, np.float32)
    for i in range(first, end):
        table, matrix = i * cos.shape[0] // n, i * tiles.shape[0] // n
        for row in range(n_rows):
            line = row // of_a_line
            tile = tiles[matrix, line % tiles.shape[1]]
            values, into = x[i, row], out[i, row]
            cosines, sines = cos[table, line], sin[table, line]
            for start in range(0, width, side):
                turned[:] = _0
                for k in range(side):
                    value, column = values[start + k], tile[k]
                    for j in range(side):
                        turned[j] += value * column[j]
                for j in range(side):
                    into[start + j] = values[start + j] * cosines[start + j] + turned[j] * sines[start + j]


@compiled("void(int32[:,::1], boolean, int64[:,::1])")
def first_in_order(words, largest, indices):  # type: ignore[no-untyped-def]
    """The words of float32 rows [n, W] -> the indices [n, k] of the k first of them in order, the largest or smallest
    first, the lowest index first among equals; the two zeros are equal, nan lies beyond the infinity of its sign."""
    k = indices.shape[1]
    keys = np.empty(k, np.int32)
    for row in range(words.shape[0]):
        found, n = indices[row], 0
        for i in range(words.shape[1]):
            word = words[row, i]
            key = word if word >= 0 else np.int32(word ^ _BELOW_SIGN)
            if word == _SIGN:
                key = np.int32(0)
            if not largest:
                key = np.int32(~key)
            if n == k:
                if key <= keys[k - 1]:
                    continue
            else:
                n += 1
            place = n - 1
            while place > 0 and keys[place - 1] < key:
                keys[place], found[place] = keys[place - 1], found[place - 1]
                place -= 1
            keys[place], found[place] = key, i


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
