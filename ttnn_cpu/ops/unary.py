"""Elementwise operations of one tensor, `where`, and the counter increment."""

from __future__ import annotations

import torch

from ttnn_cpu import chip_vector
from ttnn_cpu.checks import check_dtype, check_layout, check_options, check_type, fail, not_implemented
from ttnn_cpu.chip_rounding import cast, moved, packed
from ttnn_cpu.configs import WormholeComputeKernelConfig
from ttnn_cpu.dispatch import Values, mesh_of, run
from ttnn_cpu.enums import FLOATS, DataType, Layout, UnaryOpType
from ttnn_cpu.memory import MemoryConfig
from ttnn_cpu.modes import is_chip
from ttnn_cpu.ops.elementwise import Number, aligned, broadcast_shape
from ttnn_cpu.spec import tensor_spec
from ttnn_cpu.tensor import Tensor

_INT32_MAX = 2**31 - 1


def typecast(input_tensor: Tensor, dtype: DataType, *, memory_config: MemoryConfig | None = None) -> Tensor:
    """The same values in another dtype: to block floats by a rule of its own (`chip_rounding.cast`), float to integer
    truncates towards zero."""
    check_options("typecast", memory_config=memory_config, dtype=dtype)
    mesh_of("typecast", input_tensor)
    have = input_tensor.spec
    placement = memory_config or have.memory_config
    if placement.memory_layout is not have.memory_config.memory_layout:
        raise fail(
            "typecast",
            "requires Input and Output memory layout to match. Input layout: "
            f"{have.memory_config.memory_layout.name}, Output layout: {placement.memory_layout.name}",
        )
    spec = tensor_spec(have.shape, dtype, have.layout, placement)
    return run("typecast", [input_tensor], [spec], lambda x: x, rounding=cast)[0]


def clone(
    input: Tensor,
    *,
    dtype: DataType | None = None,
    memory_config: MemoryConfig | None = None,
    compute_kernel_config: WormholeComputeKernelConfig | None = None,
) -> Tensor:
    """A copy, in another dtype or place if asked."""
    check_options("clone", memory_config=memory_config, dtype=dtype, compute_kernel_config=compute_kernel_config)
    mesh_of("clone", input)
    have = input.spec
    spec = tensor_spec(have.shape, dtype or have.dtype, have.layout, memory_config or have.memory_config)
    return run("clone", [input], [spec], lambda x: x, rounding=moved if spec.dtype is have.dtype else packed)[0]


def copy(input_a: Tensor, input_b: Tensor) -> Tensor:
    """Writes `input_a` over `input_b`, of one shape, dtype and layout; they may stand in different places. Returns
    `input_b`."""
    mesh_of("copy", input_a, input_b)
    a, b = input_a.spec, input_b.spec
    if a.shape != b.shape:
        raise fail("copy", f"the tensors must be of equal shape, got {a.shape!r} and {b.shape!r}")
    if a.dtype is not b.dtype or a.layout is not b.layout:
        raise not_implemented("copy", "another dtype or layout of the tensor that is written to", (a, b))
    return run("copy", [input_a], [], lambda x: x, into=[input_b], rounding=moved)[0]


def silu(input_tensor: Tensor, *, memory_config: MemoryConfig | None = None) -> Tensor:
    """x * sigmoid(x) for a float tensor."""
    check_options("silu", memory_config=memory_config)
    mesh_of("silu", input_tensor)
    have = input_tensor.spec
    if have.dtype not in FLOATS:
        raise fail("silu", f"does not support integer input dtype {have.dtype.name}")
    spec = tensor_spec(have.shape, have.dtype, have.layout, memory_config or have.memory_config)

    def compute(x: Values) -> Values:
        if is_chip():
            return chip_vector.activate(x, [UnaryOpType.SILU], have.dtype is DataType.FLOAT32)
        return torch.nn.functional.silu(x)

    return run("silu", [input_tensor], [spec], compute)[0]


def where(
    predicate: Tensor,
    true_value: Tensor | Number,
    false_value: Tensor | Number,
    *,
    memory_config: MemoryConfig | None = None,
) -> Tensor:
    """`true_value` where the predicate is not 0, else `false_value`; tensors of one shape or broadcastable.

    The result has the dtype of the value tensors, or the predicate's if both are numbers. A float predicate and float
    value tensors must have one dtype.
    """
    check_options("where", memory_config=memory_config)
    tensors = [t for t in (predicate, true_value, false_value) if isinstance(t, Tensor)]
    mesh_of("where", predicate, *tensors)
    values = [t for t in (true_value, false_value) if isinstance(t, Tensor)]
    dtype = values[0].spec.dtype if values else predicate.spec.dtype
    shape = predicate.spec.shape
    for tensor in values:
        shape = broadcast_shape("where", shape, tensor.spec.shape)
        both_float = tensor.spec.dtype in FLOATS and predicate.spec.dtype in FLOATS
        if tensor.spec.dtype is not dtype or (both_float and tensor.spec.dtype is not predicate.spec.dtype):
            raise fail("where", f"Mixed dtype is not supported: {[t.spec.dtype.name for t in tensors]}")
    for tensor in tensors:
        check_layout("where", "every tensor", tensor, Layout.TILE)
    spec = tensor_spec(shape, dtype, Layout.TILE, memory_config or predicate.spec.memory_config)
    rank = len(shape)

    def compute(condition: Values, *given: Values) -> Values:
        remaining = iter(given)
        chosen = [
            aligned(next(remaining), rank) if isinstance(v, Tensor) else torch.tensor(v, dtype=torch.float32)
            for v in (true_value, false_value)
        ]
        return torch.where(aligned(condition, rank) != 0, chosen[0], chosen[1])

    return run("where", tensors, [spec], compute)[0]


def plus_one(input_tensor: Tensor, *, skip_negative_entries: bool = False) -> Tensor:
    """Add 1 to every element in place, for counters that live on the device. Returns the tensor.

    INT32 or UINT32, row major, at most 4 dims. With `skip_negative_entries` a negative entry (the position -1 of an
    unused row) and the largest INT32 stay.
    """
    mesh_of("plus_one", input_tensor)
    check_layout("plus_one", "the input", input_tensor, Layout.ROW_MAJOR)
    check_dtype("plus_one", "the input", input_tensor, DataType.INT32, DataType.UINT32)
    check_type("plus_one", "skip_negative_entries", skip_negative_entries, bool)
    if not 1 <= len(input_tensor.spec.shape) <= 4:
        raise fail("plus_one", f"the input must have 1 to 4 dims, got {input_tensor.spec.shape!r}")

    def compute(x: Values) -> Values:
        if not skip_negative_entries:
            return x + 1
        return torch.where((x >= 0) & (x < _INT32_MAX), x + 1, x)

    return run("plus_one", [input_tensor], [], compute, into=[input_tensor])[0]
