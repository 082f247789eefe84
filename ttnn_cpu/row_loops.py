"""Loops that take some rows of matrices and put them back, compiled."""

from __future__ import annotations

import numpy as np

from ttnn_cpu.loops import compiled

_0, _NAN = np.float32(0), np.float32(np.nan)
_ODD = np.int32(0x1E3779B1)


@compiled("void(float32[:,::1], int64[:,::1], int64[::1])")
def list_rows(weights, rows, counts):  # type: ignore[no-untyped-def]
    """weights [D, M]: of each device the numbers of the rows of a finite weight that is not 0 -> the first counts[d] of
    rows [D, M], in order; 0 behind them."""
    for device in range(weights.shape[0]):
        n = 0
        for row in range(weights.shape[1]):
            if np.isfinite(weights[device, row]) and weights[device, row] != _0:
                rows[device, n] = row
                n += 1
        rows[device, n:] = 0
        counts[device] = n


@compiled("boolean(float32[:,:,::1], float32[:,::1])", in_any_order=True)
def mark_rows(values, marks):  # type: ignore[no-untyped-def]
    """values [D, M, N] -> marks [D, M]: 1, or nan for a row in which something is inf or nan. True where all are 1."""
    n = 0
    for device in range(values.shape[0]):
        for row in range(values.shape[1]):
            total = _0
            for i in range(values.shape[2]):
                total += values[device, row, i] * _0
            marks[device, row] = np.float32(1) + total
            n += total == _0
    return n == marks.size


@compiled("void(float32[:,:,::1], int64[:,::1], int64[::1], float32[:,:,::1])")
def take_rows(source, rows, counts, out):  # type: ignore[no-untyped-def]
    """source [1 or D, M, N] -> out [D, m, N], the first counts[d] of them rows[d]; the others stay."""
    for device in range(out.shape[0]):
        values = source[device % source.shape[0]]
        for i in range(counts[device % counts.size]):
            out[device, i] = values[rows[device % rows.shape[0], i]]


@compiled("void(float32[:,:,::1], int64[:,::1], int64[::1], float32[:,::1], float32[:,:,::1])")
def put_rows(values, rows, counts, weights, out):  # type: ignore[no-untyped-def]
    """The way back: values [D, m, N] -> out [D, M, N]. The others are 0, or nan where their weight [1 or D, M] is not
    finite."""
    for device in range(out.shape[0]):
        of_row = weights[device % weights.shape[0]]
        for row in range(out.shape[1]):
            if not np.isfinite(of_row[row]):
                out[device, row] = _NAN
            elif of_row[row] == _0:
                out[device, row] = _0
        for i in range(counts[device % counts.size]):
            out[device, rows[device % rows.shape[0], i]] = values[device, i]


@compiled("int32(int32[::1])")
def _hash(words):  # type: ignore[no-untyped-def]
    total = np.int32(0)
    for i in range(words.size):
        total += (words[i] ^ (words[i] >> np.int32(15))) * (np.int32(i) * _ODD | np.int32(1))
    return total ^ (total >> np.int32(13))


@compiled("int64(int32[:,:,::1], int64[::1], int64[:,::1], int64[::1], int64[:,::1])")
def find_alike(words, counts, rows, n_different, places):  # type: ignore[no-untyped-def]
    """words [D, m, K]: of each device's first counts[d] rows, counts [1 or D], those that are like no earlier one are
    the first n_different[d] of rows [D, m]; places [D, m] has for each row the place among them of what it is like.
    Returns how many rows are like others, on all devices."""
    devices, most, _ = words.shape
    size = 2
    while size < 2 * most:
        size *= 2
    slots, n_alike = np.empty(size, np.int64), 0
    for device in range(devices):
        n = counts[device % counts.size]
        slots[:], found = -1, 0
        for row in range(n):
            slot = _hash(words[device, row]) & (size - 1)
            while slots[slot] >= 0 and not np.array_equal(words[device, rows[device, slots[slot]]], words[device, row]):
                slot = (slot + 1) & (size - 1)
            if slots[slot] < 0:
                slots[slot], rows[device, found] = found, row
                found += 1
            places[device, row] = slots[slot]
        n_different[device] = found
        n_alike += n - found
    return n_alike
