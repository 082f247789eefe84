"""The bytes of a part back into values: the inverse of `packing`, and of block floats the decoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from tensorbin.block_floats import GROUP_TYPE, dequantize
from tensorbin.formats import (
    BLOCK_FLOATS,
    EXPONENT_BYTES,
    FLOATS,
    STORED,
    TILE_SIZE,
    DType,
    Layout,
    TensorbinError,
    part_bytes,
    tile_bytes,
    tile_counts,
)
from tensorbin.parallel import share_out

Array = npt.NDArray[Any]

_ROWS = (0, 2, 4, 1, 3)  # axes [tile row, tile column, 2, 2, 16] as rows: [tile row, 2, 16, tile column, 2]
_TILES = 32  # that a thread works on at once


def unpack(data: torch.Tensor, shape: Sequence[int], dtype: DType, layout: Layout) -> torch.Tensor:
    """uint8 [part_bytes] -> [*shape], the values of ttnn's `to_torch`, bit for bit, for any bytes.

    Floats come as float32 (of bf16 a nan keeps its bits), UINT32 as int64, the other integers as int32.
    Raises TensorbinError if the number of bytes does not fit.
    """
    if data.dtype is not torch.uint8 or tuple(data.shape) != (part_bytes(shape, dtype, layout),):
        raise TensorbinError(
            f"{dtype.name} {layout.name} of shape {list(shape)} takes {part_bytes(shape, dtype, layout)} bytes, "
            f"got {data.dtype} {list(data.shape)}"
        )
    if dtype in FLOATS:
        out: Array = np.empty(tuple(shape), np.uint32)  # their bits
    else:
        out = np.empty(tuple(shape), np.int64 if dtype is DType.UINT32 else np.int32)
    if layout is Layout.ROW_MAJOR:
        out[...] = data.numpy().view(STORED[dtype]).reshape(out.shape)
        if dtype is DType.BFLOAT16:
            np.left_shift(out, 16, out=out)
    elif out.size:
        _unpack_tiles(data.numpy(), out, dtype)
    return torch.from_numpy(out.view(np.float32) if dtype in FLOATS else out)


def _unpack_tiles(data: npt.NDArray[np.uint8], out: Array, dtype: DType) -> None:
    n_matrices, tile_rows, tile_columns = tile_counts(out.shape)
    matrices = out.reshape(n_matrices, *(1, 1, *out.shape)[-2:])
    tiles = data.reshape(n_matrices, tile_rows, tile_columns, tile_bytes(dtype))
    high = max(1, _TILES // tile_columns)

    def work(blocks: Iterator[tuple[int, int]]) -> None:
        with np.errstate(all="ignore"):
            for matrix, row in blocks:
                place = matrices[matrix, row * TILE_SIZE : (row + high) * TILE_SIZE]
                block = tiles[matrix, row : row + high]
                rows = _groups(block, dtype) if dtype in BLOCK_FLOATS else _elements(block, dtype)
                place[...] = rows[: place.shape[0], : place.shape[1]]

    share_out(product(range(n_matrices), range(0, tile_rows, high)), work)


def _elements(tiles: Array, dtype: DType) -> Array:
    """uint8 [tile rows, tile columns, bytes] -> [rows, columns], integers or the bits of float32."""
    high, wide, _ = tiles.shape
    rows = tiles.view(STORED[dtype]).reshape(high, wide, 2, 2, 16, 16).transpose(*_ROWS, 5)
    rows = rows.reshape(high * TILE_SIZE, wide * TILE_SIZE)
    return rows.astype(np.uint32) << 16 if dtype is DType.BFLOAT16 else rows


def _groups(tiles: Array, dtype: DType) -> Array:
    """uint8 [tile rows, tile columns, bytes] of block floats -> [rows, columns], the bits of float32."""
    high, wide, _ = tiles.shape
    groups = (high, wide, 2, 2, 16)
    exponents = tiles[..., :EXPONENT_BYTES].reshape(groups).transpose(_ROWS).reshape(-1)
    codes = tiles[..., EXPONENT_BYTES:].view(GROUP_TYPE[dtype]).reshape(groups).transpose(_ROWS).reshape(-1, 1)
    values = dequantize(exponents, codes.view(np.uint8), dtype)
    return values.view(np.uint32).reshape(high * TILE_SIZE, wide * TILE_SIZE)
