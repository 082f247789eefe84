"""The matrix unit's arithmetic as a compiled loop over outputs, in integers: what `chip_matmul` says, 32
columns at once."""

from __future__ import annotations

import numpy as np
from numba import int32

from ttnn_cpu.loops import as_float, as_word, compiled, shifted_left, shifted_right

COLUMNS = 32  # of a strip
_TILE, _GROUP = 32, 8
_0, _1, _13, _16, _23, _24, _30, _31, _255 = (np.int32(n) for n in (0, 1, 13, 16, 23, 24, 30, 31, 255))
_SIGNIFICAND, _HIDDEN = np.int32(0x7FFFFF), np.int32(0x800000)
_SIGN, _INFINITY = np.int32(-0x80000000), np.int32(0x7F800000)
_UPPER, _HALF_OF_13 = np.int32(~0x1FFF), np.int32(0x1000)  # all but 13 bits
_UPPER_HALF, _BELOW_HALF = np.int32(-0x10000), np.int32(0x7FFF)
_NO_EXPONENT = np.int32(-2000)  # of a zero: below that of any product
_MOST_SHIFT = np.int32(14)  # moves a product of 12 bits out altogether


@compiled("void(int32[::1], int32[::1], int32[:,::1])")
def _split(words, exponents, parts):  # type: ignore[no-untyped-def]
    """float32 words -> exponent fields, and the upper 7 and the lower 4 bits of the 11-bit significand, twice that and
    with their sign."""
    for i in range(words.size):
        word = words[i]
        exponent = (word >> _23) & _255
        significand = ((word >> 13) & 1023) | 1024
        sign = 2 - 4 * ((word >> 31) & 1)
        exponents[i] = int32(exponent) if exponent else _NO_EXPONENT
        parts[0, i] = int32(sign * (significand >> 4)) if exponent else _0
        parts[1, i] = int32(sign * ((significand & 15) << 3)) if exponent else _0


@compiled("void(int32[::1], int32[:,::1], int64, int16[:,:,::1], int32[:,:,::1], int32[:,::1], int64)")
def _group_sums(x_exponents, x_parts, start, strip, sums, tops, phases):  # type: ignore[no-untyped-def]
    """The sums of the products of a tile's 4 groups, [phase, group, column], and
    the exponents that they have in phase 0.

    Each product is rounded to the largest exponent of its group, halves away from zero."""
    for group in range(_TILE // _GROUP):
        first = start + group * _GROUP
        for column in range(COLUMNS):
            top = _NO_EXPONENT
            for i in range(first, first + _GROUP):
                exponent = int32(x_exponents[i] + strip[i, 0, column])
                top = exponent if exponent > top else top
            tops[group, column] = top
        for phase in range(phases):
            upper = phase >> 1
            which = 1 + (phase & 1)
            for column in range(COLUMNS):
                top = tops[group, column]
                total = _0
                for i in range(first, first + _GROUP):
                    down = int32(top - int32(x_exponents[i] + strip[i, 0, column]))
                    down = down if down < _MOST_SHIFT else _MOST_SHIFT
                    twice = int32(x_parts[upper, i] * int32(strip[i, which, column]))
                    rounded = int32(int32(twice + shifted_left(_1, down)) + shifted_right(twice, _31))
                    total = int32(total + shifted_right(rounded, int32(down + _1)))
                sums[phase, group, column] = total


@compiled("int32(int32, int32)")
def _moved_down(value, places):  # type: ignore[no-untyped-def]
    """value / 2 ** places, to nearest, halves up."""
    places = places if places < _30 else _30
    return shifted_right(int32(value + shifted_right(shifted_left(_1, places), _1)), places)


@compiled("int32(int32, int32, int32, int32, int32, boolean)")
def _added(dst, exponent_a, a, exponent_b, b, in_fp32):  # type: ignore[no-untyped-def]
    """The word of the destination after a step: dst + a + b, of which a and b are sums of groups at their exponents."""
    exponent = shifted_right(dst, _23) & _255
    a = shifted_left(a, _13) if exponent_a > _0 else _0
    b = shifted_left(b, _13) if exponent_b > _0 else _0
    top = exponent_a if exponent_a > exponent_b else exponent_b
    top = exponent if exponent > top else top
    top = top if top > _0 else _0
    a = _moved_down(a, int32(top - (exponent_a if exponent_a > _0 else _0)))
    b = _moved_down(b, int32(top - (exponent_b if exponent_b > _0 else _0)))
    held = _moved_down(int32((dst & _SIGNIFICAND) | _HIDDEN) if exponent else _0, int32(top - exponent))
    if not in_fp32:
        a, b = int32(int32(a + _HALF_OF_13) & _UPPER), int32(int32(b + _HALF_OF_13) & _UPPER)
        held = int32(int32(held + _HALF_OF_13) & _UPPER)
    total = int32(int32(a + b) + (held if dst >= _0 else int32(-held)))
    size = total if total >= _0 else int32(-total)
    length = int32(shifted_right(as_word(np.float32(size & ~shifted_right(size, _1))), _23) - np.int32(126))
    up = int32(_24 - length)
    exponent = int32(top - up)
    keep = up if in_fp32 else int32(up - _16)
    size = shifted_left(_moved_down(size, int32(-keep) if keep < _0 else _0), keep if keep > _0 else _0)
    if not in_fp32:
        size = shifted_left(size, _16)
    elif total == -_1:  # the fault
        size, exponent = _HIDDEN, int32(top + np.int32(4))
    exponent = int32(exponent + (shifted_right(size, _24) & _1))
    if total == _0 or exponent <= _0:
        return _0
    word = _INFINITY if exponent > np.int32(254) else int32(shifted_left(exponent, _23) | (size & _SIGNIFICAND))
    return int32(word | (total & _SIGN))


@compiled("int32(int32, int32, boolean)")
def _in_l1(word, held, in_fp32):  # type: ignore[no-untyped-def]
    """What the packer leaves of a block's sum in L1, where it adds to what is there: in float32 or bfloat16."""
    if in_fp32:
        return as_word(as_float(word) + as_float(held))
    word = as_word(as_float(word) + as_float(held))  # dst has bfloat16 already
    return int32(int32(word + _BELOW_HALF + (shifted_right(word, _16) & _1)) & _UPPER_HALF)


@compiled("void(int32[:,::1], int32[:,::1], int16[:,:,:,::1], int64, int64, boolean, boolean)")
def multiply(words, out, strips, phases, block, in_fp32, ends_in_l1):  # type: ignore[no-untyped-def]
    """[rows, K] by the weight's strips, [strips, K, 3, 32] -> [rows, strips * 32]; K in blocks of `block`."""
    rows, inner = words.shape
    x_exponents, x_parts = np.empty((rows, inner), np.int32), np.empty((rows, 2, inner), np.int32)
    for row in range(rows):
        _split(words[row], x_exponents[row], x_parts[row])
    sums = np.empty((4, _TILE // _GROUP, COLUMNS), np.int32)
    tops = np.empty((_TILE // _GROUP, COLUMNS), np.int32)
    dst, held = np.empty(COLUMNS, np.int32), np.empty(COLUMNS, np.int32)
    for n in range(strips.shape[0]):
        for row in range(rows):
            held[:] = _0
            for start in range(0, inner, block):
                is_last = start + block >= inner and not ends_in_l1
                for column in range(COLUMNS):
                    dst[column] = held[column] if is_last else _0
                for tile in range(start, min(start + block, inner), _TILE):
                    _group_sums(x_exponents[row], x_parts[row], tile, strips[n], sums, tops, phases)
                    for phase in range(phases):
                        lower = int32(127 + 5 * (phase & 1) + 7 * (phase >> 1))
                        for half in range(2):
                            for column in range(COLUMNS):
                                dst[column] = _added(
                                    dst[column],
                                    int32(tops[2 * half, column] - lower),
                                    sums[phase, 2 * half, column],
                                    int32(tops[2 * half + 1, column] - lower),
                                    sums[phase, 2 * half + 1, column],
                                    in_fp32,
                                )
                if not is_last:
                    for column in range(COLUMNS):
                        held[column] = _in_l1(dst[column], held[column], in_fp32)
            for column in range(COLUMNS):
                out[row, n * COLUMNS + column] = held[column] if ends_in_l1 else dst[column]


@compiled("void(int32[:,::1], int16[:,:,:,::1])")
def into_strips(words, strips):  # type: ignore[no-untyped-def]
    """A weight's words [K, N] -> [strips, K, 3, 32]: exponent fields, the upper 5 and the next 5 bits of the 11-bit
    significand with their sign."""
    for k in range(words.shape[0]):
        for n in range(words.shape[1]):
            word, strip, column = words[k, n], n // COLUMNS, n % COLUMNS
            exponent = (word >> _23) & _255
            significand = ((word >> 13) & 1023) | 1024
            sign = 1 - 2 * ((word >> 31) & 1)
            strips[strip, k, 0, column] = exponent if exponent else _NO_EXPONENT
            strips[strip, k, 1, column] = sign * (significand >> 6) if exponent else 0
            strips[strip, k, 2, column] = sign * ((significand >> 1) & 31) if exponent else 0


@compiled("void(int32[::1], int32[::1], int32[::1], int64, boolean)")
def multiply_each(words, others, out, phases, in_fp32):  # type: ignore[no-untyped-def]
    """Products of single values, phase after phase; the first factor gives 5 bits at a time, the second 7 and 4."""
    for i in range(words.size):
        one, other = words[i], others[i]
        exponent_a, exponent_b = (one >> _23) & _255, (other >> _23) & _255
        significand_a, significand_b = ((one >> _13) & 1023) | 1024, ((other >> _13) & 1023) | 1024
        dst = _0
        if exponent_a and exponent_b:
            sign = _1 if (one ^ other) >= _0 else -_1
            for phase in range(phases):
                upper = (significand_a >> 1) & 31 if phase & 1 else significand_a >> 6
                lower = (significand_b & 15) << 3 if phase & 2 else significand_b >> 4
                exponent = int32(exponent_a + exponent_b - (127 + 5 * (phase & 1) + 7 * (phase >> 1)))
                dst = _added(dst, exponent, int32(sign * upper * lower), _NO_EXPONENT, _0, in_fp32)
        out[i] = dst


@compiled("int32(int32, int32)")
def _rounded_at(word, top):  # type: ignore[no-untyped-def]
    """The 11-bit significand of a word with its sign, at the exponent `top`, halves away from zero."""
    exponent = (word >> _23) & _255
    if exponent == 0:
        return _0
    size = _moved_down(int32(((word >> _13) & 1023) | 1024), int32(top - exponent))
    return int32(-size) if word < _0 else size


@compiled("void(int32[::1], int32[::1], int32[::1], int32[::1])")
def add_to_destination(held, words, others, out):  # type: ignore[no-untyped-def]
    """held + (word + other), with a bfloat16 destination that holds the first."""
    for i in range(words.size):
        top = int32(max((words[i] >> _23) & _255, (others[i] >> _23) & _255))
        total = int32(_rounded_at(words[i], top) + _rounded_at(others[i], top))
        out[i] = _added(held[i], top, total, _NO_EXPONENT, _0, False)
