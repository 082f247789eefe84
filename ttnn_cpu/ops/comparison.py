"""Elementwise comparisons of two operands: 1 where they hold, else 0."""

from __future__ import annotations

import torch

from ttnn_cpu.enums import DataType
from ttnn_cpu.memory import MemoryConfig
from ttnn_cpu.ops.elementwise import Number, elementwise
from ttnn_cpu.tensor import Tensor


def eq(
    input_tensor_a: Tensor,
    input_tensor_b: Tensor | Number,
    *,
    dtype: DataType | None = None,
    memory_config: MemoryConfig | None = None,
) -> Tensor:
    """1 where a == b, else 0, in `dtype` or a's dtype."""
    return elementwise("eq", torch.eq, input_tensor_a, input_tensor_b, dtype=dtype, memory_config=memory_config)


def ne(
    input_tensor_a: Tensor,
    input_tensor_b: Tensor | Number,
    *,
    dtype: DataType | None = None,
    memory_config: MemoryConfig | None = None,
) -> Tensor:
    """1 where a != b, else 0, in `dtype` or a's dtype."""
    return elementwise("ne", torch.ne, input_tensor_a, input_tensor_b, dtype=dtype, memory_config=memory_config)


def ge(
    input_tensor_a: Tensor,
    input_tensor_b: Tensor | Number,
    *,
    dtype: DataType | None = None,
    memory_config: MemoryConfig | None = None,
) -> Tensor:
    """1 where a >= b, else 0, in `dtype` or a's dtype."""
    return elementwise("ge", torch.ge, input_tensor_a, input_tensor_b, dtype=dtype, memory_config=memory_config)


def lt(
    input_tensor_a: Tensor,
    input_tensor_b: Tensor | Number,
    *,
    dtype: DataType | None = None,
    memory_config: MemoryConfig | None = None,
) -> Tensor:
    """1 where a < b, else 0, in `dtype` or a's dtype."""
    return elementwise("lt", torch.lt, input_tensor_a, input_tensor_b, dtype=dtype, memory_config=memory_config)
