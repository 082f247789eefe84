"""Loops over the pages of a KV cache, compiled: nothing is gathered to be thrown away."""

from __future__ import annotations

import numpy as np
from numba import int32

from ttnn_cpu.loops import as_float, compiled

_LOG2_E = np.float32(1.4426950408889634)
_LN_2_UPPER, _LN_2_LOWER = np.float32(0.693359375), np.float32(-2.12194440e-4)  # the first has 9 bits: n * it is exact
_HALF, _1, _0 = np.float32(0.5), np.float32(1), np.float32(0)
_2, _6, _24, _120, _720, _5040 = (np.float32(1 / factorial) for factorial in (2, 6, 24, 120, 720, 5040))
_LEAST = np.float32(-87)  # of which the exponential is a float32 of full precision; of less it is taken as 0
_BIAS, _23 = np.int32(127), np.int32(23)


@compiled("float32(float32[::1])", in_any_order=True)
def _sum(values):  # type: ignore[no-untyped-def]
    total = _0
    for i in range(values.size):
        total += values[i]
    return total


@compiled("float32(float32[::1], float32[::1])", in_any_order=True)
def _dot(a, b):  # type: ignore[no-untyped-def]
    total = _0
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@compiled("float32(float32[::1], float32)")
def _exponentials(scores, largest):  # type: ignore[no-untyped-def]
    """exp(score - largest) in place, and their sum. 2 ** n * exp(r) with |r| <= ln(2) / 2, the latter by its series."""
    for i in range(scores.size):
        below = scores[i] - largest
        x = max(below, _LEAST)
        n = np.floor(x * _LOG2_E + _HALF)
        r = x - n * _LN_2_UPPER - n * _LN_2_LOWER
        series = _1 + r * (_1 + r * (_2 + r * (_6 + r * (_24 + r * (_120 + r * (_720 + r * _5040))))))
        value = series * as_float(int32((int32(n) + _BIAS) << _23))
        scores[i] = _0 if below < _LEAST else value + (below - below)  # nan stays nan
    return _sum(scores)


@compiled(
    "void(float32[:,:,:,::1], float32[:,:,:,:,::1], float32[:,:,:,:,::1], int32[:,::1], int32[::1],"
    "float32[:,:,:,::1], int64, int64)"
)
def attend_to_pages(q, k, v, table, positions, out, first, end):  # type: ignore[no-untyped-def]
    """q [1 or D, B, H, W], scaled; k and v [1 or D, NB, KV, block, W], table [B, pages], positions [B] -> out
    [D, B, H, W] of the users from `first` to before `end`; the row of a position of -1 stays."""
    devices, _, heads, width = out.shape
    block, of_a_key = k.shape[3], heads // k.shape[2]
    scores = np.empty(table.shape[1] * block, np.float32)
    for user in range(first, end):
        n_keys = positions[user] + 1
        n_pages = (n_keys + block - 1) // block
        for device in range(devices if n_keys > 0 else 0):
            for head in range(heads):
                row, key_head = q[device % q.shape[0], user, head], head // of_a_key
                largest = np.float32(-np.inf)
                for page in range(n_pages):
                    keys, start = k[device % k.shape[0], table[user, page], key_head], page * block
                    for slot in range(min(block, n_keys - start)):
                        scores[start + slot] = _dot(row, keys[slot])
                        largest = max(largest, scores[start + slot])
                total = _exponentials(scores[:n_keys], largest)
                scores[n_keys : n_pages * block] = _0
                result = out[device, user, head]
                result[:] = _0
                for page in range(n_pages):
                    values, start = v[device % v.shape[0], table[user, page], key_head], page * block
                    for slot in range(block):  # all of them, as on a chip: 0 times inf behind the last token is nan
                        weight = scores[start + slot]
                        for i in range(width):
                            result[i] += weight * values[slot, i]
                for i in range(width):
                    result[i] /= total


@compiled(
    "void(float32[:,:,:,:,::1], float32[:,:,:,:,::1], int64[::1], int64[::1], int64[::1])",
)
def write_to_pages(cache, new, users, pages, slots):  # type: ignore[no-untyped-def]
    """new [1 or D, 1, B, KV, W] -> the slots of the pages of cache [D, NB, KV, block, W], a user's row to each."""
    for device in range(cache.shape[0]):
        rows = new[device % new.shape[0], 0]
        for i in range(users.size):
            for head in range(cache.shape[2]):
                cache[device, pages[i], head, slots[i]] = rows[users[i], head]
