"""Shape and spec: everything that is known of a tensor before its values."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch

from ttnn_cpu.enums import BLOCK_FLOATS, FLOATS, TILE_SIZE, DataType, Layout
from ttnn_cpu.memory import DRAM_MEMORY_CONFIG, MemoryConfig, check_shards


class Shape(tuple[int, ...]):
    """A tuple of extents that also equals the list of them, as ttnn's does."""

    __slots__ = ()

    @property
    def rank(self) -> int:
        return len(self)

    def __eq__(self, other: object) -> bool:
        return tuple.__eq__(self, tuple(other)) if isinstance(other, tuple | list) else False

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = tuple.__hash__

    def __repr__(self) -> str:
        return f"Shape([{', '.join(map(str, self))}])"


def storage_dtype(dtype: DataType) -> torch.dtype:
    """In what values of `dtype` are kept: uint32 in int64, which holds them all."""
    if dtype in FLOATS:
        return torch.float32
    return torch.int64 if dtype is DataType.UINT32 else torch.int32


def round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def padded(shape: Sequence[int], layout: Layout) -> Shape:
    """The extents in memory: tiles are 32 x 32, so a 1-D tensor of 40 in tiles takes [32, 64]."""
    if layout is Layout.ROW_MAJOR:
        return Shape(shape)
    rank2 = (1,) * (2 - len(shape)) + tuple(shape)
    return Shape((*rank2[:-2], round_up(rank2[-2], TILE_SIZE), round_up(rank2[-1], TILE_SIZE)))


class TensorSpec:
    """Shape per device, dtype, layout and memory config; checked when made, then never changed.

    Equal specs are one object, so that they compare and hash by identity (see `tensor_spec`).
    """

    __slots__ = ("dtype", "layout", "memory_config", "padded_shape", "shape")

    def __init__(self, shape: Shape, dtype: DataType, layout: Layout, memory_config: MemoryConfig) -> None:
        if dtype in BLOCK_FLOATS and layout is not Layout.TILE:
            raise RuntimeError(f"Only TILE layout is supported for {dtype.name} dtype!")
        if any(extent < 0 for extent in shape):
            raise RuntimeError(f"a tensor shape has no negative extents, got {shape!r}")
        self.shape = shape
        self.dtype = dtype
        self.layout = layout
        self.memory_config = memory_config
        self.padded_shape = padded(shape, layout)
        if memory_config.is_sharded():
            check_shards(prod(self.padded_shape[:-1]), self.padded_shape[-1], layout, memory_config)

    def __repr__(self) -> str:
        return f"TensorSpec({self.shape!r}, {self.dtype.name}, {self.layout.name}, {self.memory_config})"


_SPECS: dict[tuple[object, ...], TensorSpec] = {}


def tensor_spec(
    shape: Sequence[int], dtype: DataType, layout: Layout, memory_config: MemoryConfig = DRAM_MEMORY_CONFIG
) -> TensorSpec:
    """The spec of these four; raises RuntimeError if ttnn would not allocate it."""
    key = (tuple(shape), dtype, layout, memory_config)
    found = _SPECS.get(key)
    if found is None:
        found = _SPECS[key] = TensorSpec(Shape(shape), dtype, layout, memory_config)
    return found
