"""How elementwise operations of two operands run: broadcasting, activations, what is left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from ttnn_cpu import chip_matmul, chip_vector
from ttnn_cpu.blocks import Blocks
from ttnn_cpu.by_rows import ByRows, weighted
from ttnn_cpu.checks import check_options, check_type, fail, not_implemented
from ttnn_cpu.chip_rounding import packed
from ttnn_cpu.configs import Activation, activations_of
from ttnn_cpu.dispatch import Rounding, Values, mesh_of, run
from ttnn_cpu.enums import FLOATS, DataType, Layout, UnaryOpType
from ttnn_cpu.memory import MemoryConfig
from ttnn_cpu.modes import is_chip, is_exact
from ttnn_cpu.spec import Shape, TensorSpec, tensor_spec
from ttnn_cpu.tensor import Tensor, Unmade, made

Number = int | float
TorchBinary = Callable[[Values, "Values | Number"], Values]

ACTIVATIONS: dict[UnaryOpType, Callable[[Values], Values]] = {
    UnaryOpType.RELU: torch.relu,
    UnaryOpType.SIGMOID: torch.sigmoid,
    UnaryOpType.SILU: torch.nn.functional.silu,
}


def product_on_matrix_unit(x: Values, y: Values | Number) -> Values:
    assert isinstance(y, torch.Tensor)
    return chip_matmul.product_of_each(x, y) if is_chip() else x * y


PRODUCTS: tuple[TorchBinary, ...] = (torch.mul, product_on_matrix_unit)


def activate(values: Values, activations: Sequence[UnaryOpType]) -> Values:
    for activation in activations:
        values = ACTIVATIONS[activation](values)
    return values


def _applied(values: Values, dtype: DataType, activations: Sequence[UnaryOpType]) -> Values:
    """The same, where the destination is what `dtype` asks for."""
    if is_chip():
        return chip_vector.activate(values, activations, dtype is DataType.FLOAT32)
    return activate(values, activations)


def _activated(values: Values, dtype: DataType, activations: Sequence[UnaryOpType]) -> Values:
    """An operand after its activations: it goes through a buffer of its dtype."""
    values = _applied(values, dtype, activations)
    return values if not activations or is_exact() else packed(values, dtype)


def broadcast_shape(operation: str, a: Shape, b: Shape) -> Shape:
    rank = max(len(a), len(b))
    pairs = zip((1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b, strict=True)
    extents = []
    for x, y in pairs:
        if x != y and 1 not in (x, y):
            raise fail(operation, f"Invalid subtile broadcast type: {a!r} and {b!r}")
        extents.append(max(x, y) if 0 not in (x, y) else 0)
    return Shape(extents)


def aligned(values: Values, rank: int) -> Values:
    """[D, *shape] -> [D, 1, .., *shape] with `rank` extents after D, so that torch broadcasts shapes, not D."""
    missing = rank + 1 - values.dim()
    return values if missing <= 0 else values.reshape(values.shape[0], *(1,) * missing, *values.shape[1:])


def output_memory_config(
    operation: str, a: Tensor, b: Tensor | Number, memory_config: MemoryConfig | None
) -> MemoryConfig:
    """What ttnn gives the result: the argument, else the sharding of a sharded operand, else a's placement."""
    operands = [t for t in (a, b) if isinstance(t, Tensor)]
    if memory_config is None:
        return next((t.spec.memory_config for t in operands if t.is_sharded()), a.spec.memory_config)
    if memory_config.is_sharded() and memory_config.shard_spec is None:
        for tensor in operands:
            have = tensor.spec.memory_config
            if (have.memory_layout, have.buffer_type) == (memory_config.memory_layout, memory_config.buffer_type):
                return have
        raise not_implemented(operation, "memory_config", f"{memory_config.memory_layout.name} without a shard spec")
    return memory_config


def _check_dtypes(operation: str, a: Tensor, b: Tensor) -> None:
    one, other = a.spec.dtype, b.spec.dtype
    if one is not other and not (one in FLOATS and other in FLOATS):
        raise fail(operation, f"Mixed dtype is not supported for binary operation: {one.name} and {other.name}")


def elementwise(
    operation: str,
    torch_op: TorchBinary,
    a: Tensor,
    b: Tensor | Number,
    *,
    dtype: DataType | None = None,
    memory_config: MemoryConfig | None = None,
    output_tensor: Tensor | None = None,
    activations: Sequence[Activation] = (),
    input_tensor_a_activations: Sequence[Activation] = (),
    input_tensor_b_activations: Sequence[Activation] = (),
    rounding: Rounding = packed,
) -> Tensor:
    check_options(operation, memory_config=memory_config, dtype=dtype)
    after, on_a, on_b = map(activations_of, (activations, input_tensor_a_activations, input_tensor_b_activations))
    inputs = [a]
    if isinstance(b, Tensor):
        inputs.append(b)
    else:
        check_type(operation, "the second operand", b, int, float)
    mesh_of(operation, *inputs)
    if isinstance(b, Tensor):
        _check_dtypes(operation, a, b)
        shape = broadcast_shape(operation, a.spec.shape, b.spec.shape)
        row_major = a.spec.layout is b.spec.layout is Layout.ROW_MAJOR
    else:
        shape = a.spec.shape
        row_major = a.spec.layout is Layout.ROW_MAJOR
    integers = a.spec.dtype not in FLOATS
    if integers and (after or on_a or on_b or isinstance(b, float)):
        raise fail(operation, f"activations and float operands do not go with {a.spec.dtype.name}")

    spec: TensorSpec
    if output_tensor is not None:
        spec = output_tensor.spec
        if spec.shape != shape:
            raise fail(
                operation, f"Shape of Output tensor {spec.shape!r} provided does not match the broadcasted {shape!r}"
            )
        if dtype not in (None, spec.dtype):
            raise fail(operation, "If both output dtype and output tensor are provided, their dtypes should match")
        if memory_config not in (None, spec.memory_config):
            raise fail(operation, "the memory config and the output tensor's must match if both are provided")
    else:
        layout = Layout.ROW_MAJOR if row_major else Layout.TILE
        placement = output_memory_config(operation, a, b, memory_config)
        spec = tensor_spec(shape, dtype or a.spec.dtype, layout, placement)
    is_product = torch_op in PRODUCTS
    alike = isinstance(b, Tensor) and a.spec.shape == b.spec.shape
    by_row = isinstance(b, Tensor) and b.spec.shape == (*a.spec.shape[:-1], 1)
    rank = len(shape)
    y_dtype = b.spec.dtype if isinstance(b, Tensor) else a.spec.dtype

    def applied(x: Values, y: Values | None) -> Values:
        x = _activated(x, a.spec.dtype, on_a)
        if y is None:
            return _applied(torch_op(x, b if not isinstance(b, Tensor) else x), a.spec.dtype, after)
        return _applied(torch_op(x, _activated(y, y_dtype, on_b)), a.spec.dtype, after)

    def compute(x: Values | Unmade, y: Values | Unmade | None = None) -> Values | Blocks | ByRows:
        if isinstance(x, Blocks) and isinstance(y, Blocks) and torch.equal(x.in_use, y.in_use) and not after:
            return Blocks(applied(x.kept, y.kept), x.in_use)
        if isinstance(x, ByRows) and isinstance(y, ByRows) and alike:
            return x.joined(y, applied)
        if isinstance(x, ByRows) and isinstance(y, torch.Tensor) and by_row and not (after or on_a or on_b):
            return weighted(x, y, torch_op)
        return applied(aligned(made(x), rank), None if y is None else aligned(made(y), rank))

    into = None if output_tensor is None else [output_tensor]
    takes = (Blocks, ByRows) if is_product else ()  # what is 0 in both, or times 0, need not be computed
    fused = (*after, None, *on_a, None, *on_b)
    return run(operation, inputs, [spec], compute, into=into, takes=takes, rounding=rounding, settings=fused)[0]
