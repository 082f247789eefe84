"""Checks that many operations share. A violated rule of ttnn raises RuntimeError, a wrong class TypeError."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ttnn_cpu.configs import WormholeComputeKernelConfig
from ttnn_cpu.enums import DataType, Layout
from ttnn_cpu.memory import MemoryConfig
from ttnn_cpu.tensor import Tensor


def fail(operation: str, message: str) -> RuntimeError:
    return RuntimeError(f"{operation}: {message}")


def check_type(operation: str, argument: str, value: Any, *classes: type) -> None:
    if not isinstance(value, classes):
        names = " or ".join(c.__name__ for c in classes)
        raise TypeError(f"{operation}: {argument} must be {names}, got {value!r}")


def check_options(
    operation: str,
    *,
    memory_config: MemoryConfig | None = None,
    dtype: DataType | None = None,
    compute_kernel_config: WormholeComputeKernelConfig | None = None,
) -> None:
    """The classes of the keyword arguments that most operations have."""
    if memory_config is not None:
        check_type(operation, "memory_config", memory_config, MemoryConfig)
    if dtype is not None:
        check_type(operation, "dtype", dtype, DataType)
    if compute_kernel_config is not None:
        check_type(operation, "compute_kernel_config", compute_kernel_config, WormholeComputeKernelConfig)


def check_layout(operation: str, name: str, tensor: Tensor, layout: Layout) -> None:
    if tensor.spec.layout is not layout:
        raise fail(operation, f"{name} must have {layout.name} layout, got {tensor.spec.layout.name}")


def check_dtype(operation: str, name: str, tensor: Tensor, *allowed: DataType) -> None:
    if tensor.spec.dtype not in allowed:
        names = " or ".join(d.name for d in allowed)
        raise fail(operation, f"{name} must have datatype {names}, got {tensor.spec.dtype.name}")


def check_dtype_in(operation: str, name: str, tensor: Tensor, allowed: Collection[DataType]) -> None:
    check_dtype(operation, name, tensor, *allowed)


def check_rank(operation: str, name: str, tensor: Tensor, rank: int) -> None:
    if len(tensor.spec.shape) != rank:
        raise fail(operation, f"{name} must have rank {rank}, got shape {tensor.spec.shape!r}")


def check_interleaved(operation: str, name: str, tensor: Tensor) -> None:
    if tensor.is_sharded():
        raise fail(operation, f"{name} must be interleaved, got {tensor.spec.memory_config.memory_layout.name}")


def dim_of(operation: str, tensor: Tensor, dim: int) -> int:
    """`dim` counted from the front."""
    rank = len(tensor.spec.shape)
    check_type(operation, "dim", dim, int)
    if not -rank <= dim < rank:
        raise fail(operation, f"dim {dim} is out of range for a {rank}D tensor")
    return dim % rank


def not_implemented(operation: str, argument: str, value: object) -> NotImplementedError:
    return NotImplementedError(f"{operation}: {argument}={value!r} is not implemented")
