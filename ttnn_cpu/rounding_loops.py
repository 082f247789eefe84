"""The rules of `rounding` and `chip_rounding` as compiled loops over words.

Of block floats a loop takes groups of 16 that share an exponent, [groups, 16] int32. Its arithmetic in floats is exact,
since the factors are powers of two. Where they would leave float32's range (the largest exponent field S is 255, or
below 24) a group is done in integers. The constants are int32: literals would make each operation one of
64 bits.
"""

from __future__ import annotations

import numpy as np
from numba import int32

from ttnn_cpu.loops import as_float, as_word, compiled

_LEAST, _MOST = np.int32(24 << 23), np.int32(254 << 23)  # S of which 2 ** (150 - S) and what follows is a float32
_EXPONENT, _SIGN = np.int32(0x7F800000), np.int32(-0x80000000)
_UPPER_HALF, _BELOW_HALF, _0X8000 = np.int32(-0x10000), np.int32(0x7FFF), np.int32(0x8000)
_SIGNIFICAND, _HIDDEN = np.int32(0x7FFFFF), np.int32(0x800000)
_0, _1, _16, _23 = np.int32(0), np.int32(1), np.int32(16), np.int32(23)
_ZERO, _HALF, _127 = np.float32(0), np.float32(0.5), np.float32(127)
_SUM_BITS = np.int32(11)
_UP_TO_SUM = np.int32((253 + 11) << 22)
_UP_BY_133, _UP_BY_150 = np.int32((127 + 133) << 22), np.int32((127 + 150) << 22)  # halves: the whole is no int32


@compiled("int32(int32, int32, int64, int32)")
def _decoded(word, shared, steps, bits):  # type: ignore[no-untyped-def]
    """`steps` under the exponent field `shared`, as ttnn reads a block float back, with the sign of `word`."""
    if steps == 0:
        return _0
    shift = 0  # by which the leading one goes to the hidden place; the exponent is lowered by as much
    while steps << shift < 1 << (bits - 1):
        shift += 1
    if shift > shared:
        return _0
    fraction = (steps << (shift + 1)) & ((1 << bits) - 1)
    return int32((word & _SIGN) | ((shared - shift) << 23) | (fraction << (23 - bits)))


@compiled("int32(int32, boolean, int32, int32)")
def _rounded(word, to_even_first, add, keep):  # type: ignore[no-untyped-def]
    """`(word + add) & keep`. Zeros and denormals become +0; nan, where anything is added, the infinity of its sign."""
    if word & _EXPONENT == _EXPONENT:
        return word & (_SIGN | _EXPONENT) if add != _0 else word & keep
    if to_even_first:
        word = int32((word + _BELOW_HALF + ((word >> _16) & _1)) & _UPPER_HALF)
    return _0 if word & _EXPONENT == _0 else int32((word + add) & keep)


@compiled("void(int32[::1], int32[::1], boolean, int32, int32, int32, int32)")
def _on_chip_in_integers(words, out, to_even_first, add, keep, bits, shared):  # type: ignore[no-untyped-def]
    """One group under the exponent field `shared`."""
    for i in range(16):
        word = _rounded(words[i], to_even_first, add, keep)
        exponent = (word & _EXPONENT) >> _23
        if word & ~_SIGN == _EXPONENT:  # infinity, as below, but at once: rows of garbage are full of it
            out[i] = word
            continue
        shift = min(shared - exponent, 29)
        significand = (word & _SIGNIFICAND | _HIDDEN) >> _16
        steps = min((significand + (1 << shift)) >> (shift + 1), 127) >> (7 - bits)
        out[i] = _decoded(word, shared, steps if exponent else 0, bits)


@compiled("void(int32[::1], int32[::1], int32, int32)")
def _on_host_in_integers(words, out, bits, shared):  # type: ignore[no-untyped-def]
    """One group under the exponent field `shared`."""
    drop = 24 - bits
    for i in range(16):
        word = words[i]
        exponent = (word & _EXPONENT) >> _23
        significand = (word & _SIGNIFICAND | _HIDDEN) >> min(shared - exponent, 31)
        steps = (significand + ((1 << (drop - 1)) - 1) + ((significand >> drop) & 1)) >> drop
        out[i] = _decoded(word, shared, min(steps, (1 << bits) - 1) if exponent else 0, bits)


@compiled("void(int32[::1], int32[::1], boolean)")
def to_bfloat16_on_chip(words, out, to_even_first):  # type: ignore[no-untyped-def]
    """To bfloat16 with ties away from zero, or with ties to even, which leaves nothing to round."""
    for i in range(words.size):
        out[i] = _rounded(words[i], to_even_first, _0X8000, _UPPER_HALF)


@compiled("void(int32[:,::1], int32[:,::1], boolean, int32, int32, int32)")
def round_on_chip(words, out, to_even_first, add, keep, bits):  # type: ignore[no-untyped-def]
    """`(word + add) & keep`, then to `bits` bits; before it to bfloat16, ties to even, if asked for."""
    one_less = int32(bits - _1)
    of_seven = np.float32(2.0) ** np.float32(bits - 7)
    for group in range(words.shape[0]):
        largest = _0
        for i in range(16):
            word = words[group, i]
            before = word & _EXPONENT
            if to_even_first:
                word = int32((word + _BELOW_HALF + ((word >> _16) & _1)) & _UPPER_HALF)
            word = _0 if word & _EXPONENT == _0 else int32((word + add) & keep)
            out[group, i] = word
            largest = max(largest, max(before, word & _EXPONENT))  # what is added may carry a nan beyond its exponent
        shared = min(max(largest, _LEAST), _MOST)
        up, down = as_float(int32(_UP_BY_133 - shared + _UP_BY_133)), as_float(int32(shared - (one_less << _23)))
        for i in range(16):
            steps = as_float(out[group, i]) * up
            magnitude = np.floor(min(np.floor(abs(steps) + _HALF), _127) * of_seven) * down
            out[group, i] = as_word(magnitude) | (as_word(steps) & _SIGN) if magnitude != _ZERO else _0
        if largest != shared and largest != _0:
            _on_chip_in_integers(words[group], out[group], to_even_first, add, keep, bits, int32(largest >> _23))


@compiled("void(int32[:,::1], int32[:,::1], int32)")
def round_on_host(words, out, bits):  # type: ignore[no-untyped-def]
    one_less = int32(bits - _1)
    to_bits, limit = np.float32(2.0) ** np.float32(bits - 24), np.float32(2.0) ** np.float32(bits) - np.float32(1)
    for group in range(words.shape[0]):
        largest = _0
        for i in range(16):
            largest = max(largest, words[group, i] & _EXPONENT)
        # a group of zeros and denormals has S = 0: with another its elements truncate to zero all the same
        shared = min(max(largest, _LEAST), _MOST)
        up, down = as_float(int32(_UP_BY_150 - shared + _UP_BY_150)), as_float(int32(shared - (one_less << _23)))
        for i in range(16):
            steps = as_float(words[group, i]) * up  # of the 24-bit significand at exponent S
            magnitude = min(np.rint(np.floor(abs(steps)) * to_bits), limit) * down
            out[group, i] = as_word(magnitude) | (as_word(steps) & _SIGN) if magnitude != _ZERO else _0
        if largest != shared and largest != _0:
            _on_host_in_integers(words[group], out[group], bits, int32(largest >> _23))


@compiled("void(int32[::1], int32[::1], int32[::1])")
def add_on_matrix_unit(words, others, out):  # type: ignore[no-untyped-def]
    """The sum of both after each is rounded to 11 bits, ties away from zero, at the larger exponent."""
    for i in range(words.size):
        a, b = as_float(words[i]), as_float(others[i])
        exponent = max(as_word(max(abs(a), abs(b))) & _EXPONENT, _SUM_BITS << _23)
        up = as_float(int32(_UP_TO_SUM - exponent + _UP_TO_SUM))
        a, b = a * up, b * up
        total = np.trunc(a + np.copysign(_HALF, a)) + np.trunc(b + np.copysign(_HALF, b))
        out[i] = as_word(total / up)
