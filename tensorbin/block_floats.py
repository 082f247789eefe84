"""bfloat8_b and bfloat4_b: 16 consecutive elements of the last dimension share one exponent.

The rule, found by comparing with ttnn 0.81.1 over hostile input, bit for bit:

1. S is the largest exponent field of the group. Elements with exponent field 0 (zeros and denormals) become +0.
2. The 24-bit significand of each element is shifted right by S - e. The shift truncates.
3. It is rounded to 7 (bfloat8_b) or 3 (bfloat4_b) bits, half to even, and clamped: S never grows.
4. The code is sign and magnitude q; q = 0 has no sign. The value is sign * q * 2 ** (S - 127 - (bits - 1)).

`encode_groups` and `decode_groups` are the rule in integers, for any bit pattern. `quantize` does steps 2 and 3 in
float arithmetic where that is exact: adding 1.5 * 2 ** 23 steps to a value leaves its count of steps, rounded half to
even, in the low bits of the sum.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tensorbin.formats import DType

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint32]
Floats = npt.NDArray[np.float32]

GROUP = 16
BITS = {DType.BFLOAT8_B: 7, DType.BFLOAT4_B: 3}  # of a magnitude
# as wide as the codes of a group, to move them as one
GROUP_TYPE: dict[DType, type[np.generic]] = {DType.BFLOAT8_B: np.complex128, DType.BFLOAT4_B: np.uint64}
# Exponents of the groups that float arithmetic quantizes exactly: its factors are normal float32 numbers, and denormals
# are less than half a step.
_LEAST, _MOST = 24, 230


def quantize(source: npt.NDArray[Any], dtype: DType, scratch: Words) -> tuple[Bytes, npt.NDArray[np.uint16]]:
    """[16, *groups], the bits of bf16 (uint16) or float32 (uint32) -> the shared exponents, uint8 [*groups], and the
    codes, uint16 [*groups, 8 or 4], in memory as in a tile. `scratch`: uint32 [3, at least source.size]; the source may
    lie in its first row."""
    bits, groups, size = BITS[dtype], source.shape[1:], source.size
    is_bf16 = source.dtype == np.uint16
    gathered, exponents = (row.view(source.dtype)[:size].reshape(GROUP, -1) for row in scratch[1:])
    np.copyto(gathered.reshape(source.shape), source)
    np.bitwise_and(gathered, 0x7F80 if is_bf16 else 0x7F800000, out=exponents)
    shared = np.maximum.reduce(exponents, axis=0).astype(np.uint32) >> (7 if is_bf16 else 23)
    words = scratch[2, :size].reshape(GROUP, -1)
    np.copyto(words, gathered)
    if is_bf16:
        np.left_shift(words, 16, out=words)
    safe, odd = shared, np.flatnonzero(shared - _LEAST > _MOST - _LEAST)  # unsigned: what is too small wraps around
    if odd.size:
        safe, odd = np.clip(shared, _LEAST, _MOST), odd[shared[odd] != 0]
    odd_words = words[:, odd].T
    steps, codes = (row.view(np.int16)[:size].reshape(GROUP, -1) for row in scratch[:2])
    np.copyto(steps, _counting(words.view(np.float32), safe, bits, is_bf16).view(np.int32), casting="unsafe")
    limit = 2**bits - 1
    np.clip(steps, -limit, limit, out=steps)
    np.absolute(steps, out=codes)
    np.bitwise_and(steps, limit + 1, out=steps)  # the sign: -1 to -limit have this bit, in two's complement
    np.bitwise_or(codes, steps, out=codes)
    if odd.size:
        codes[:, odd] = encode_groups(odd_words, dtype)[1].T
    return shared.astype(np.uint8).reshape(groups), _side_by_side(codes.view(np.uint16), bits + 1).reshape(*groups, -1)


def _counting(values: Floats, shared: Words, bits: int, is_bf16: bool) -> Floats:
    """Makes of the values, [16, n] with shared exponents [n], floats whose low 16 bits count steps, signed."""
    if is_bf16:  # with 8 bits of significand the shift of step 2 loses nothing that counts
        np.add(values, ((shared + (24 - bits) << 23) | 0x400000).view(np.float32), out=values)
    else:
        np.multiply(values, (277 - shared << 23).view(np.float32), out=values)
        np.trunc(values, out=values)
        np.add(values, np.float32(1.5 * 2 ** (47 - bits)), out=values)
    return values


def _side_by_side(codes: npt.NDArray[np.uint16], width: int) -> npt.NDArray[np.uint16]:
    """Codes of `width` bits, [16, n] -> [n, width]: each group's 16 one after the other, the first in the low bits."""
    while width < 16:
        codes = codes[0::2] | codes[1::2] * np.uint16(1 << width)
        width *= 2
    packed = np.empty((codes.shape[1], len(codes)), np.uint16)
    for number, lane in enumerate(codes):
        packed[:, number] = lane
    return packed


def dequantize(shared: Bytes, codes: Bytes, dtype: DType) -> Floats:
    """Shared exponents [n] and codes [n, 16 or 8], as in a tile -> float32 [n, 16], for any bytes."""
    bits = BITS[dtype]
    values = _signed_magnitudes(bits)[codes].reshape(-1, GROUP)
    odd = np.flatnonzero((shared < bits) | (shared == 255))
    scales = (np.clip(shared, bits, 254).astype(np.uint32) - (bits - 1) << 23).view(np.float32)
    np.multiply(values, scales[:, None], out=values)
    if odd.size:
        single = codes[odd] if bits == 7 else np.stack((codes[odd] & 15, codes[odd] >> 4), -1).reshape(-1, GROUP)
        values[odd] = decode_groups(shared[odd], single, dtype).view(np.float32)
    return values


def _signed_magnitudes(bits: int) -> Floats:
    """Of every byte, the one code or the two codes in it, the low one first: float32 [256, 1 or 2]."""
    codes = np.arange(256)[:, None] >> np.arange(0, 8, bits + 1)
    magnitudes = (codes & 2**bits - 1).astype(np.float32)
    return np.where(codes >> bits & 1, -magnitudes, magnitudes)


def encode_groups(words: Words, dtype: DType) -> tuple[Bytes, Bytes]:
    """The bits of float32, [n, 16] -> shared exponents [n] and codes [n, 16], one to a byte."""
    bits = BITS[dtype]
    exponent = (words >> 23 & 255).astype(np.int64)
    shared = exponent.max(axis=1)
    significand = (words & 0x7FFFFF | 0x800000).astype(np.int64) >> np.minimum(shared[:, None] - exponent, 31)
    drop = 24 - bits
    magnitude = significand + ((1 << drop - 1) - 1) + (significand >> drop & 1) >> drop
    magnitude = np.where(exponent == 0, 0, np.minimum(magnitude, 2**bits - 1))
    sign = np.where(magnitude == 0, 0, words >> 31) << bits
    return shared.astype(np.uint8), (magnitude | sign).astype(np.uint8)


def decode_groups(shared: Bytes, codes: Bytes, dtype: DType) -> Words:
    """Shared exponents [n] and codes [n, 16], one to a byte -> the bits of float32, [n, 16], for any bytes.

    The leading one of a magnitude moves to the hidden place and lowers the exponent by as much; where that is more than
    there is, the value is +0.
    """
    bits = BITS[dtype]
    magnitude = (codes & 2**bits - 1).astype(np.int64)
    shift = bits - np.frexp(magnitude)[1]
    fraction = (magnitude << shift + 1) & 2**bits - 1
    exponent = shared.astype(np.int64)[:, None] - shift
    sign = (codes >> bits & 1).astype(np.int64) << 31
    words = sign | exponent << 23 | fraction << 23 - bits
    return np.where(magnitude == 0, sign, np.where(exponent < 0, 0, words)).astype(np.uint32)
