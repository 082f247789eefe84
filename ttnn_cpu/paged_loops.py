"""Loops over the pages of a KV cache, compiled: nothing is gathered to be thrown away."""

from __future__ import annotations

import numpy as np
from numba import int32

from ttnn_cpu.loops import as_float, compiled, widened

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


@compiled("void(float32[:,::1], float32[:,::1])", "void(uint16[:,::1], float32[:,::1])")
def _widen(kept, wide):  # type: ignore[no-untyped-def]
    for i in range(kept.shape[0]):
        for j in range(kept.shape[1]):
            wide[i, j] = widened(kept[i, j])


_ATTEND = (
    "void(float32[:,:,:,::1], {0}[:,:,:,:,::1], {0}[:,:,:,:,::1], int32[:,::1], int32[::1], float32[:,:,:,::1],"
    "int64, int64)"
)


@compiled(*(_ATTEND.format(kept) for kept in ("float32", "uint16")))
def attend_to_pages(q, k, v, table, positions, out, first, end):  # type: ignore[no-untyped-def]
    """q [1 or D, B, H, W], scaled; k and v [1 or D, NB, KV, block, W], float32 or upper halves, table [B, pages],
    positions [B] -> out [D, B, H, W] of the pairs of a device and a user from `first` to before `end`; the row of a
    position of -1 stays."""
    _, users, heads, width = out.shape
    block, of_a_key = k.shape[3], heads // k.shape[2]
    scores = np.empty((of_a_key, table.shape[1] * block), np.float32)
    wide = np.empty((block, width), np.float32)
    for pair in range(first, end):
        device, user = pair // users, pair % users
        n_keys = positions[user] + 1
        n_pages = (n_keys + block - 1) // block
        for key_head in range(k.shape[2] if n_keys > 0 else 0):
            rows = q[device % q.shape[0], user, key_head * of_a_key : (key_head + 1) * of_a_key]
            for page in range(n_pages):
                start = page * block
                n = min(block, n_keys - start)
                _widen(k[device % k.shape[0], table[user, page], key_head, :n], wide)
                for head in range(of_a_key):
                    for slot in range(n):
                        scores[head, start + slot] = _dot(rows[head], wide[slot])
            results = out[device, user, key_head * of_a_key : (key_head + 1) * of_a_key]
            for head in range(of_a_key):
                row, largest = scores[head], np.float32(-np.inf)
                for key in range(n_keys):
                    largest = max(largest, row[key])
                total = _exponentials(row[:n_keys], largest)
                for key in range(n_keys):
                    row[key] /= total
                row[n_keys : n_pages * block] = _0
                results[head] = _0
            for page in range(n_pages):
                start = page * block
                _widen(v[device % v.shape[0], table[user, page], key_head], wide)
                for head in range(of_a_key):
                    result = results[head]
                    for slot in range(block):  # all of them, as on a chip: 0 times inf behind the last token is nan
                        weight = scores[head, start + slot]
                        for i in range(width):
                            result[i] += weight * wide[slot, i]


_WRITE = "void({0}[:,:,:,:,::1], {0}[:,:,:,:,:], int64[::1], int64[::1], int64[::1])"


@compiled(*(_WRITE.format(kept) for kept in ("float32", "uint16")))
def write_to_pages(cache, new, users, pages, slots):  # type: ignore[no-untyped-def]
    """new [1 or D, 1, B, KV, W] -> the slots of the pages of cache [D, NB, KV, block, W], a user's row to each."""
    for device in range(cache.shape[0]):
        rows = new[device % new.shape[0], 0]
        for i in range(users.size):
            for head in range(cache.shape[2]):
                cache[device, pages[i], head, slots[i]] = rows[users[i], head]


@compiled("int64(int32[::1], int32[:,::1], int64, int64, int64, int64[::1], int64[::1], int64[::1])")
def find_places(positions, table, n_blocks, block, tile, users, pages, slots):  # type: ignore[no-untyped-def]
    """positions [B], table [B, pages] -> the users whose position is not -1, and the page and the slot of each: of all
    three the first n, which is returned. -1 where a place is no slot of the n_blocks blocks, or two users write to one
    tile of slots."""
    n = 0
    for user in range(positions.size):
        position = positions[user]
        if position < 0:
            continue
        if position >= table.shape[1] * block:
            return -1
        page, slot = table[user, position // block], position % block
        if page < 0 or page >= n_blocks:
            return -1
        for i in range(n):
            if pages[i] == page and slots[i] // tile == slot // tile:
                return -1
        users[n], pages[n], slots[n] = user, page, slot
        n += 1
    return n
