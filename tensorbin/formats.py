"""Dtypes, layouts, and how many bytes one chip's part of a tensor takes."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from math import prod

import numpy as np

TILE_SIZE = 32
EXPONENT_BYTES = 64  # of a tile of block floats: 4 faces of 16 rows


class TensorbinError(ValueError):
    """A file that is no whole `.tensorbin` of this format, or a tensor that the format does not hold."""


class DType(Enum):
    """Names and numbers are ttnn's `DataType`."""

    BFLOAT16 = 0
    FLOAT32 = 1
    UINT32 = 2
    BFLOAT8_B = 3
    BFLOAT4_B = 4
    UINT8 = 5
    UINT16 = 6
    INT32 = 7


class Layout(Enum):
    """Names and numbers are ttnn's `Layout`."""

    ROW_MAJOR = 0
    TILE = 1


# bytes of a tile's codes
_CODE_BYTES = {DType.BFLOAT8_B: 1024, DType.BFLOAT4_B: 512}
BLOCK_FLOATS = frozenset(_CODE_BYTES)
FLOATS = BLOCK_FLOATS | {DType.BFLOAT16, DType.FLOAT32}
# how an element of the other dtypes is stored; of floats, its bits
STORED: dict[DType, type[np.generic]] = {
    DType.BFLOAT16: np.uint16,
    DType.FLOAT32: np.uint32,
    DType.UINT32: np.uint32,
    DType.UINT8: np.uint8,
    DType.UINT16: np.uint16,
    DType.INT32: np.int32,
}


def tile_bytes(dtype: DType) -> int:
    """Bytes of a 32 x 32 tile: 1088 for BFLOAT8_B, 576 for BFLOAT4_B."""
    if dtype in BLOCK_FLOATS:
        return EXPONENT_BYTES + _CODE_BYTES[dtype]
    return TILE_SIZE * TILE_SIZE * np.dtype(STORED[dtype]).itemsize


def tile_counts(shape: Sequence[int]) -> tuple[int, int, int]:
    """(matrices, tile rows, tile columns) of a tensor in tiles; below two dimensions the shape is led by ones."""
    *leading, rows, columns = (1, 1, *shape)
    return prod(leading), -(-rows // TILE_SIZE), -(-columns // TILE_SIZE)


def part_bytes(shape: Sequence[int], dtype: DType, layout: Layout) -> int:
    """Bytes of a part of this shape. TensorbinError for block floats that are not in tiles."""
    if layout is Layout.TILE:
        return prod(tile_counts(shape)) * tile_bytes(dtype)
    if dtype in BLOCK_FLOATS:
        raise TensorbinError(f"{dtype.name} exists in tiles only")
    return prod(shape) * np.dtype(STORED[dtype]).itemsize
