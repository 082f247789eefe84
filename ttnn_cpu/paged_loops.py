"""Loops over the pages of a KV cache, compiled: nothing is gathered to be thrown away.

The widths of heads are whole tiles. Sums go over lanes, then over what is in them (`lanes`), and what is not
exact is rounded at each step: the same bits on every machine.
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
from ttnn_cpu.loops import as_float, as_word, compiled, shifted_left

_LOG2_E = np.float32(1.4426950408889634)
_LN_2_UPPER, _LN_2_LOWER = np.float32(0.693359375), np.float32(-2.12194440e-4)  # the first has 9 bits: n * it is exact
_1, _0 = np.float32(1), np.float32(0)
_2, _6, _24, _120, _720, _5040 = (np.float32(1 / factorial) for factorial in (2, 6, 24, 120, 720, 5040))
_LEAST = np.float32(-87)  # of which the exponential is a float32 of full precision; of less it is taken as 0
_SHIFT = np.float32(1.5 * 2**23)  # x + it rounds x to an integer, which then stands in the lowest bits of the word
_ONE, _23 = np.int32(127 << 23), np.int32(23)


def _scores_of(n_heads: int) -> Callable[..., Any]:
    """scores(q, head, keys, n, out, start): n_heads rows of q float32 [H, W], from `head` on, times each of the first n
    of keys [block, W] -> the same rows of out [H, ..], from column `start` on. Both have at most 8 bits."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, given: Any) -> Any:
        q, keys, out = (Rows(context, builder, signature.args[i], given[i]) for i in (0, 2, 4))
        heads = [builder.add(given[1], index(i)) for i in range(n_heads)]
        with cgutils.for_range(builder, given[3]) as slot:
            sums = [Sum(builder) for _ in heads]
            with cgutils.for_range_slice(builder, index(0), q.width, index(LANES)) as (column, _):
                key = keys.lanes(slot.index, column)
                for head, total in zip(heads, sums, strict=True):
                    total.add(q.lanes(head, column), key, exact=True)
            for head, total in zip(heads, sums, strict=True):
                out.keep(total.of_lanes(), head, builder.add(given[5], slot.index))
        return context.get_dummy_value()

    @intrinsic
    def scores(context: Any, q: Any, head: Any, keys: Any, n: Any, out: Any, start: Any) -> Any:
        return types.void(q, types.int64, keys, types.int64, out, types.int64), generate

    return scores


def _weighted_by(n_heads: int) -> Callable[..., Any]:
    """weighted(weights, start, values, head, out): values [block, W] times each of n_heads rows of weights [H, ..],
    from `head` and the column `start` on, -> added to the same rows of out [H, W]."""
    at_once = 2 if n_heads < 4 else 1  # so many lanes, for sums that do not wait for each other, but stay in registers

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, given: Any) -> Any:
        weights, values, out = (Rows(context, builder, signature.args[i], given[i]) for i in (0, 2, 4))
        heads = [builder.add(given[3], index(i)) for i in range(n_heads)]
        with cgutils.for_range_slice(builder, index(0), out.width, index(at_once * LANES)) as (first, _):
            columns = [builder.add(first, index(i * LANES)) for i in range(at_once)]
            sums = {(head, column): Sum(builder, out.lanes(head, column)) for head in heads for column in columns}
            with cgutils.for_range(builder, values.n_rows) as slot:
                shares = [weights.everywhere(head, builder.add(given[1], slot.index)) for head in heads]
                for column in columns:
                    lanes = values.lanes(slot.index, column)
                    for head, share in zip(heads, shares, strict=True):
                        sums[head, column].add(share, lanes, exact=False)
            for (head, column), total in sums.items():
                out.keep(total(), head, column)
        return context.get_dummy_value()

    @intrinsic
    def weighted(context: Any, weights: Any, start: Any, values: Any, head: Any, out: Any) -> Any:
        return types.void(weights, types.int64, values, types.int64, out), generate

    return weighted


_scores_of_4, _scores_of_2, _scores_of_1 = map(_scores_of, (4, 2, 1))
_weighted_by_4, _weighted_by_2, _weighted_by_1 = map(_weighted_by, (4, 2, 1))


@compiled("float32(float32[::1])")
def _exponentiate(scores):  # type: ignore[no-untyped-def]
    """exp(score - the largest) in place, for whole LANES of scores, and their sum. It is 2 ** n * exp(r) with
    |r| <= ln(2) / 2, the latter by its series."""
    lanes = np.empty(LANES, np.float32)
    lanes[:] = -np.inf
    for start in range(0, scores.size, LANES):
        for i in range(LANES):
            score = scores[start + i]
            lanes[i] = score if score > lanes[i] else lanes[i]
    largest = lanes.max()
    for i in range(scores.size):
        below = scores[i] - largest
        x = below if below > _LEAST else _LEAST
        shifted = x * _LOG2_E + _SHIFT
        n = shifted - _SHIFT
        r = x - n * _LN_2_UPPER - n * _LN_2_LOWER
        series = _1 + r * (_1 + r * (_2 + r * (_6 + r * (_24 + r * (_120 + r * (_720 + r * _5040))))))
        value = series * as_float(int32(shifted_left(as_word(shifted), _23) + _ONE))
        scores[i] = _0 if below < _LEAST else value + (below - below)  # nan stays nan
    lanes[:] = _0
    for start in range(0, scores.size, LANES):
        for i in range(LANES):
            lanes[i] += scores[start + i]
    return lanes.sum()


_ATTEND = (
    "void(float32[:,:,:,::1], {0}[:,:,:,:,::1], {0}[:,:,:,:,::1], int32[:,::1], int32[::1], float32,"
    "float32[:,:,:,::1], int64, int64)"
)


@compiled(*(_ATTEND.format(kept) for kept in ("float32", "uint16")))
def attend_to_pages(q, k, v, table, positions, scale, out, first, end):  # type: ignore[no-untyped-def]
    """q [1 or D, B, H, W]; k and v [1 or D, NB, KV, block, W], float32 or upper halves, table [B, pages], positions [B]
    -> out [D, B, H, W], of the pairs of a device and a user from `first` to before `end`; the row of a position of -1
    stays."""
    users, heads = out.shape[1:3]
    kv_heads, block = k.shape[2], k.shape[3]
    of_a_key = heads // kv_heads
    scores = np.empty((heads, table.shape[1] * block + LANES), np.float32)
    for pair in range(first, end):
        device, user = pair // users, pair % users
        n_keys = positions[user] + 1
        n_pages = (n_keys + block - 1) // block
        if n_keys <= 0:
            continue
        rows, results = q[device % q.shape[0], user], out[device, user]
        for page in range(n_pages):
            start = page * block
            n = min(block, n_keys - start)
            for key_head in range(kv_heads):
                keys = k[device % k.shape[0], table[user, page], key_head]
                head, last = key_head * of_a_key, (key_head + 1) * of_a_key
                while head + 4 <= last:
                    _scores_of_4(rows, head, keys, n, scores, start)
                    head += 4
                if head + 2 <= last:
                    _scores_of_2(rows, head, keys, n, scores, start)
                    head += 2
                if head < last:
                    _scores_of_1(rows, head, keys, n, scores, start)
        for head in range(heads):
            row = scores[head, : (n_pages * block + LANES - 1) // LANES * LANES]
            for key in range(n_keys):
                row[key] *= scale
            row[n_keys:] = -np.inf
            total = _exponentiate(row)
            for key in range(n_keys):
                row[key] /= total
            results[head] = _0
        for page in range(n_pages):  # its whole blocks, as on a chip: 0 times inf behind the last token is nan
            for key_head in range(kv_heads):
                values = v[device % v.shape[0], table[user, page], key_head]
                head, last = key_head * of_a_key, (key_head + 1) * of_a_key
                while head + 4 <= last:
                    _weighted_by_4(scores, page * block, values, head, results)
                    head += 4
                if head + 2 <= last:
                    _weighted_by_2(scores, page * block, values, head, results)
                    head += 2
                if head < last:
                    _weighted_by_1(scores, page * block, values, head, results)


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
    """positions [B], table [B, pages] -> the users whose position is not negative, page and slot of each: of all
    three the first n, which is returned. -1 where a place is no slot of the n_blocks blocks, or two users write to
    one tile of a block."""
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


@compiled("boolean(int32[::1], int32[:,::1], int64, int64)")
def can_read(positions, table, n_blocks, block):  # type: ignore[no-untyped-def]
    """Whether every page up to each user's position, positions [B], table [B, pages], is one of the n_blocks blocks;
    pages behind it may be anything."""
    for user in range(positions.size):
        if positions[user] >= table.shape[1] * block:
            return False
        for page in range((positions[user] + block) // block):
            if table[user, page] < 0 or table[user, page] >= n_blocks:
                return False
    return True
