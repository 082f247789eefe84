"""One chip's part of a tensor as the bytes that ttnn keeps of it: on the host, in a file and on the chip.

In rows the elements follow each other. A tile is 32 x 32 elements: its 4 faces of 16 x 16 one after the other, each row
by row; for block floats first the 64 exponents of the faces' rows, then the codes in the same order. The tiles of a
matrix are stored row by row, the matrices of the leading dimensions one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from tensorbin.block_floats import GROUP_TYPE, Words, quantize
from tensorbin.formats import (
    BLOCK_FLOATS,
    EXPONENT_BYTES,
    FLOATS,
    STORED,
    TILE_SIZE,
    DType,
    Layout,
    part_bytes,
    tile_bytes,
    tile_counts,
)
from tensorbin.parallel import share_out

Array = npt.NDArray[Any]

# Tiles that a thread works on at once, along the direction in which the source is stored and across. Fewer fit the
# cache better, but then threads wait for each other: each operation takes the interpreter lock.
_ALONG, _ACROSS = 128, 4
# Axes of a block [tile row, 2, 16, tile column, 2, 16] with a group's elements in front and the rest as it is stored;
# and axes of that rest in the order of the file, [tile row, tile column, 2, 2, 16].
_BY_ROWS = (5, 0, 1, 2, 3, 4), (0, 3, 1, 4, 2)
_BY_COLUMNS = (5, 3, 4, 0, 1, 2), (2, 0, 3, 1, 4)


def pack(part: torch.Tensor, dtype: DType, layout: Layout) -> torch.Tensor:
    """[*shape] -> uint8 [part_bytes], the bytes of ttnn's `from_torch`; tiles are filled up with zeros.

    A float dtype takes float32 or bfloat16: block floats by the rule of `block_floats`; bfloat16 is rounded to nearest
    even with every nan 0x7fc0, but a bfloat16 source keeps its bits. An integer dtype takes integers, which wrap
    around. The source may be any view: a transposed one is read in the order in which it is stored. Works in as many
    threads as torch does, each with about 10 MB of its own.

    Raises TypeError for another source, TensorbinError for block floats in rows.
    """
    source = _elements(part, dtype)
    out = np.empty(part_bytes(part.shape, dtype, layout), np.uint8)
    if layout is Layout.ROW_MAJOR:
        store, target, unit = _store_rows, out.view(STORED[dtype]).reshape(source.shape), TILE_SIZE
    else:
        store = _store_groups if dtype in BLOCK_FLOATS else _store_tiles
        target, unit = out.reshape(*source.shape[:-2], *tile_counts(source.shape)[1:], tile_bytes(dtype)), 1

    def work(blocks: Iterator[tuple[Array, Array]]) -> None:
        scratch = np.empty((3, _ALONG * _ACROSS * TILE_SIZE * TILE_SIZE), np.uint32)
        with np.errstate(all="ignore"):
            for block, place in blocks:
                store(block, place, dtype, scratch)

    share_out(_blocks(source, target, unit), work)
    return torch.from_numpy(out)


def _elements(part: torch.Tensor, dtype: DType) -> Array:
    """The source as an array of at least two dimensions, without a copy: the bits of floats, or integers."""
    part = part.detach()
    if dtype not in FLOATS:
        if part.is_floating_point() or part.is_complex():
            raise TypeError(f"{dtype.name} takes integers, got {part.dtype}")
        elements = part.numpy()
    elif part.dtype is torch.bfloat16:
        elements = part.view(torch.int16).numpy().view(np.uint16)
    elif part.dtype is torch.float32:
        elements = part.numpy().view(np.uint32)
    else:
        raise TypeError(f"{dtype.name} takes float32 or bfloat16, got {part.dtype}")
    return elements.reshape((1,) * (2 - elements.ndim) + elements.shape)


def _by_columns(matrix: Array) -> bool:
    return matrix.strides[-2] < matrix.strides[-1]


def _blocks(source: Array, target: Array, unit: int) -> Iterator[tuple[Array, Array]]:
    """Pieces of the source, [rows, columns], and of the target, of which `unit` rows or columns make a tile."""
    high, wide = (_ALONG, _ACROSS) if _by_columns(source) else (_ACROSS, _ALONG)
    for index in np.ndindex(*source.shape[:-2]):
        for row in range(0, -(-source.shape[-2] // TILE_SIZE), high):
            for column in range(0, -(-source.shape[-1] // TILE_SIZE), wide):
                piece, place = (
                    array[index][row * size : (row + high) * size, column * size : (column + wide) * size]
                    for array, size in ((source, TILE_SIZE), (target, unit))
                )
                yield piece, place


def _store_rows(block: Array, place: Array, dtype: DType, scratch: Words) -> None:
    place[...] = _converted(block, dtype)


def _store_tiles(block: Array, place: Array, dtype: DType, scratch: Words) -> None:
    faces = _in_tiles(_converted(block, dtype), scratch[0]).transpose(0, 3, 1, 4, 2, 5)
    place.view(STORED[dtype]).reshape(faces.shape)[...] = faces


def _store_groups(block: Array, place: Array, dtype: DType, scratch: Words) -> None:
    gather, scatter = _BY_COLUMNS if _by_columns(block) else _BY_ROWS
    exponents, codes = quantize(_in_tiles(block, scratch[0]).transpose(gather), dtype, scratch)
    groups = (*place.shape[:2], 2, 2, 16)
    place[..., :EXPONENT_BYTES].reshape(groups)[...] = exponents.transpose(scatter)
    whole = GROUP_TYPE[dtype]
    place[..., EXPONENT_BYTES:].view(whole).reshape(groups)[...] = codes.view(whole)[..., 0].transpose(scatter)


def _in_tiles(block: Array, scratch: Words) -> Array:
    """A copy, filled up with zeros: [tile row, 2, 16, tile column, 2, 16], stored in the same direction."""
    rows, columns = (-(-extent // TILE_SIZE) for extent in block.shape)
    copy = scratch.view(block.dtype)[: rows * columns * TILE_SIZE * TILE_SIZE]
    if _by_columns(block):
        copy = copy.reshape(columns * TILE_SIZE, rows * TILE_SIZE).T
    else:
        copy = copy.reshape(rows * TILE_SIZE, columns * TILE_SIZE)
    if copy.shape != block.shape:
        copy[...] = 0
    copy[: block.shape[0], : block.shape[1]] = block
    return copy.reshape(rows, 2, 16, columns, 2, 16)


def _converted(elements: Array, dtype: DType) -> Array:
    """Elements as they are stored."""
    if dtype not in FLOATS:
        return elements.astype(STORED[dtype], copy=False)
    if dtype is DType.FLOAT32 and elements.dtype == np.uint16:
        return elements.astype(np.uint32) << 16
    if dtype is DType.BFLOAT16 and elements.dtype == np.uint32:
        rounded = (elements + (0x7FFF + (elements >> 16 & 1)) >> 16).astype(np.uint16)
        return np.where(elements & 0x7FFFFFFF > 0x7F800000, np.uint16(0x7FC0), rounded)
    return elements
