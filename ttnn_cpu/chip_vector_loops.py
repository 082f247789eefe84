"""The vector unit's functions as compiled loops over words."""

from __future__ import annotations

import numpy as np
from numba import float32, float64, int32

from ttnn_cpu.loops import as_float, as_word, compiled, shifted_left, shifted_right

_EXPONENT, _SIGN = np.int32(0x7F800000), np.int32(-0x80000000)
_SIGNIFICAND, _HIDDEN, _ONE_WORD = np.int32(0x7FFFFF), np.int32(0x800000), np.int32(0x3F800000)
_0, _1, _7, _23, _255 = np.int32(0), np.int32(1), np.int32(7), np.int32(23), np.int32(255)
_ZERO, _HALF, _ONE, _INFINITE = np.float32(0), np.float32(0.5), np.float32(1), np.float32(np.inf)
_PER_LN_2, _PER_LN_2_SHORT = np.float32(1.442695), np.float32(1.4426950216293335)
_LN_2_UPPER, _LN_2_LOWER = np.float32(-6.93145752e-1), np.float32(-1.42860677e-6)
_EXP_5, _EXP_4 = np.float32(1.37805939e-3), np.float32(8.37312452e-3)
_EXP_3, _EXP_2, _EXP_1 = np.float32(4.16695364e-2), np.float32(1.66664720e-1), np.float32(4.99999851e-1)
_TWO_TO_0, _TWO_TO_1 = np.float32(1.0017248), np.float32(7.839635491371155e-08)
_TWO_TO_2 = np.float32(4.791750143340323e-15)
_PER_0, _PER_1, _PER_2 = np.float32(0.3232325), np.float32(1.4545460), np.float32(2.1212125)
_PER_LN_2_256, _LINE, _32767, _15 = np.float32(369.329925537109375), np.float32(32500.818359375), 32767.0, np.int32(15)
_127, _MINUS_LN_2 = np.float32(127), np.float32(-0.6931471805599453)
_DIF_0, _DIF_1, _DIF_2 = np.float32(1.000000151080618), np.float32(0.9999622811704765), np.float32(0.49998365704615426)
_DIF_3, _DIF_4 = np.float32(0.16792157982882225), np.float32(4.195943986001434e-2)
_SHORT_0, _SHORT_1, _SHORT_2 = (
    np.float32(0.9998487929243953),
    np.float32(1.015087600985211),
    np.float32(0.5062836705674557),
)
_ROOT_GUESS, _ROOT_1, _ROOT_2 = np.int32(0x5F1110A0), np.float32(2.2825186), np.float32(2.2533049)
_0X8000, _UPPER_HALF = np.int32(0x8000), np.int32(-0x10000)


@compiled("float32(float32, float32, float32)")
def _mad(a, b, c):  # type: ignore[no-untyped-def]
    return float32(float64(a) * float64(b) + float64(c))


@compiled("float32(float32)")
def exp_accurate(x):  # type: ignore[no-untyped-def]
    """With a float32 destination."""
    n = _PER_LN_2 * x
    n = np.copysign(np.floor(abs(n) + _HALF), n)
    n = max(min(n, float32(32767)), float32(-32767))
    f = _mad(n, _LN_2_LOWER, _mad(n, _LN_2_UPPER, x))
    r = _mad(_EXP_5, f, _EXP_4)
    r = _mad(r, f, _EXP_3)
    r = _mad(r, f, _EXP_2)
    r = _mad(r, f, _EXP_1)
    r = _mad(_mad(r, f, _ONE), f, _ONE)
    word = as_word(r)
    exponent = int32((shifted_right(word, _23) & _255) + int32(n))
    if exponent < _1:
        return _ZERO
    return _INFINITE if exponent >= _255 else as_float(int32((word & _SIGNIFICAND) | shifted_left(exponent, _23)))


@compiled("float32(float32)")
def exp_short(x):  # type: ignore[no-untyped-def]
    """With a bfloat16 destination, before it is rounded to that."""
    scaled = max(min(_mad(x, _PER_LN_2_SHORT, float32(127)), float32(255)), _ZERO)
    word = as_word(scaled)
    places = int32((shifted_right(word, _23) & _255) - np.int32(127))
    steps = (word & _SIGNIFICAND) | _HIDDEN
    steps = shifted_left(steps, min(places, _7)) if places >= _0 else steps >> min(int32(-places), np.int32(31))
    fraction = float32(steps & _SIGNIFICAND)
    word = as_word(_mad(fraction, _mad(fraction, _TWO_TO_2, _TWO_TO_1), _TWO_TO_0))
    return as_float(int32((word & _SIGNIFICAND) | (int32(steps) & _EXPONENT)))


@compiled("float32(float32, boolean)")
def exp_of_difference(x, in_fp32):  # type: ignore[no-untyped-def]
    """Of the difference of two maxima: a polynomial of degree 4, or 2 with a bfloat16 destination."""
    n = _PER_LN_2 * x
    n = max(min(np.copysign(np.floor(abs(n) + _HALF), n), _127), -_127)
    f = _mad(n, _MINUS_LN_2, x)
    if in_fp32:
        y = _mad(_mad(_mad(_mad(f, _DIF_4, _DIF_3), f, _DIF_2), f, _DIF_1), f, _DIF_0)
    else:
        y = _mad(f, _mad(f, _SHORT_2, _SHORT_1), _SHORT_0)
    exponent = int32(n + _127)
    return y * as_float(shifted_left(exponent, _23)) if exponent > _0 else _ZERO


@compiled("float32(float32, int64)")
def reciprocal(x, steps):  # type: ignore[no-untyped-def]
    """1 / x by a quadratic and so many steps of Newton's."""
    word = as_word(x)
    minus = as_float(int32((word & _SIGNIFICAND) | _ONE_WORD | _SIGN))
    y = _mad(_PER_0, minus, _PER_1)
    y = _mad(y, minus, _PER_2)
    for _ in range(steps):
        y = _mad(y, _mad(minus, y, _ONE), y)
    scale = as_float(~word & _EXPONENT) * _HALF
    return np.copysign(y * scale, x)


@compiled("float32(float32)")
def reciprocal_root(x):  # type: ignore[no-untyped-def]
    """1 / sqrt(x) of a positive x."""
    y = as_float(int32(_ROOT_GUESS - shifted_right(as_word(x), _1)))
    c = -y * (x * y)
    y = y * _mad(c, _ROOT_2 + c, _ROOT_1)
    return _mad(_mad(-y, x * y, _ONE), y * _HALF, y)


@compiled("void(int32[::1], int32[::1], float32)")
def line_of_exp(words, out, scale):  # type: ignore[no-untyped-def]
    """exp(x * scale) by its bits, which are taken from a line: some 3 % off. Below -88 it is negative."""
    slope = float32(_PER_LN_2_256 * scale)
    for i in range(words.size):
        line = _mad(slope, as_float(words[i]), _LINE)
        steps = int32(min(np.floor(abs(line) + _HALF), _32767))
        out[i] = int32(shifted_left(steps, _15) | (as_word(line) & _SIGN))


@compiled("void(int32[::1], int32[::1])")
def exp_of_bfloat16(words, out):  # type: ignore[no-untyped-def]
    for i in range(words.size):
        out[i] = as_word(exp_short(as_float(words[i])))


@compiled("void(int32[::1], int32[::1], boolean)")
def exp_of_differences(words, out, in_fp32):  # type: ignore[no-untyped-def]
    for i in range(words.size):
        out[i] = as_word(exp_of_difference(as_float(words[i]), in_fp32))


@compiled("void(int32[::1], int32[::1])")
def exp_of_float32(words, out):  # type: ignore[no-untyped-def]
    for i in range(words.size):
        out[i] = as_word(exp_accurate(as_float(words[i])))


@compiled("void(int32[::1], int32[::1])")
def reciprocal_of_float32(words, out):  # type: ignore[no-untyped-def]
    for i in range(words.size):
        out[i] = as_word(reciprocal(as_float(words[i]), 2))


@compiled("void(int32[::1], int32[::1])")
def reciprocal_of_bfloat16(words, out):  # type: ignore[no-untyped-def]
    for i in range(words.size):
        out[i] = int32(as_word(reciprocal(as_float(words[i]), 1)) + _0X8000) & _UPPER_HALF


@compiled("void(int32[::1], int32[::1])")
def reciprocal_root_of_float32(words, out):  # type: ignore[no-untyped-def]
    for i in range(words.size):
        out[i] = as_word(reciprocal_root(as_float(words[i])))


@compiled("void(int32[::1], int32[::1])")
def silu_of_float32(words, out):  # type: ignore[no-untyped-def]
    for i in range(words.size):
        x = as_float(words[i])
        out[i] = as_word(x * reciprocal(_ONE + exp_accurate(-x), 2))


@compiled("void(int32[::1], int32[::1])")
def silu_of_bfloat16(words, out):  # type: ignore[no-untyped-def]
    for i in range(words.size):
        x = as_float(words[i])
        word = as_word(x * reciprocal(_ONE + exp_short(-x), 1))
        out[i] = int32(word + _0X8000) & _UPPER_HALF
