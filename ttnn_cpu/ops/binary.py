"""Elementwise operations of two operands, with broadcasting."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from ttnn_cpu import chip_matmul, chip_rounding, chip_vector
from ttnn_cpu.blocks import Blocks
from ttnn_cpu.checks import check_options, check_type, fail, not_implemented
from ttnn_cpu.chip_rounding import packed
from ttnn_cpu.configs import Activation, activations_of
from ttnn_cpu.dispatch import Rounding, Values, mesh_of, run
from ttnn_cpu.enums import BLOCK_FLOATS, FLOATS, DataType, Layout, UnaryOpType
from ttnn_cpu.memory import MemoryConfig
from ttnn_cpu.modes import is_chip, is_exact
from ttnn_cpu.spec import Shape, TensorSpec, tensor_spec
from ttnn_cpu.tensor import Tensor

Number = int | float
TorchBinary = Callable[[Values, "Values | Number"], Values]

ACTIVATIONS: dict[UnaryOpType, Callable[[Values], Values]] = {
    UnaryOpType.RELU: torch.relu,
    UnaryOpType.SIGMOID: torch.sigmoid,
    UnaryOpType.SILU: torch.nn.functional.silu,
}


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
    rank = len(shape)
    y_dtype = b.spec.dtype if isinstance(b, Tensor) else a.spec.dtype
    is_product = torch_op in (
        torch.mul,
        _product_on_matrix_unit,
    )  # 0, whatever the other is: there is nothing to compute where both are

    def compute(x: Values | Blocks, y: Values | Blocks | None = None) -> Values | Blocks:
        if isinstance(x, Blocks) and isinstance(y, Blocks) and torch.equal(x.in_use, y.in_use) and not after:
            other = _activated(y.kept, y_dtype, on_b)
            return x.mapped(lambda kept: torch_op(_activated(kept, a.spec.dtype, on_a), other))
        x, y = x() if isinstance(x, Blocks) else x, y() if isinstance(y, Blocks) else y
        x = _activated(aligned(x, rank), a.spec.dtype, on_a)
        if y is None:
            return _applied(torch_op(x, b if not isinstance(b, Tensor) else x), a.spec.dtype, after)
        y = aligned(y, rank)
        return _applied(torch_op(x, _activated(y, y_dtype, on_b)), a.spec.dtype, after)

    into = None if output_tensor is None else [output_tensor]
    fused = (*after, None, *on_a, None, *on_b)
    return run(
        operation, inputs, [spec], compute, into=into, takes_blocks=is_product, rounding=rounding, settings=fused
    )[0]


def _rounding_of_product(a: Tensor, b: Tensor | Number) -> Rounding:
    """The vector unit multiplies and rounds, or for block floats the matrix unit multiplies and the packer rounds."""
    return packed if _in_blocks(a, b) else chip_rounding.product


def _in_blocks(a: Tensor, b: Tensor | Number) -> bool:
    return any(isinstance(t, Tensor) and t.spec.dtype in BLOCK_FLOATS for t in (a, b))


def _product(a: Tensor, b: Tensor | Number) -> TorchBinary:
    """What multiplies the two."""
    return _product_on_matrix_unit if _in_blocks(a, b) and isinstance(b, Tensor) else torch.mul


def _product_on_matrix_unit(x: Values, y: Values | Number) -> Values:
    assert isinstance(y, torch.Tensor)
    return chip_matmul.product_of_each(x, y) if is_chip() else x * y


def _sum(a: Tensor, b: Tensor | Number) -> TorchBinary:
    """What adds the two: the matrix unit, or for float32, integers and numbers the vector unit."""
    narrow = FLOATS - {DataType.FLOAT32}
    on_matrix_unit = all(isinstance(t, Tensor) and t.spec.dtype in narrow for t in (a, b))
    return _sum_on_matrix_unit if on_matrix_unit else torch.add


def _sum_on_matrix_unit(x: Values, y: Values | Number) -> Values:
    assert isinstance(y, torch.Tensor)
    return x + y if is_exact() else chip_rounding.sum_of_two(x, y)


def add(
    input_tensor_a: Tensor,
    input_tensor_b: Tensor | Number,
    *,
    dtype: DataType | None = None,
    memory_config: MemoryConfig | None = None,
    output_tensor: Tensor | None = None,
    activations: Sequence[Activation] = (),
    input_tensor_a_activations: Sequence[Activation] = (),
    input_tensor_b_activations: Sequence[Activation] = (),
) -> Tensor:
    """a + b. The result has a's dtype unless `dtype` says otherwise; floats of different dtypes may be mixed.

    A dim of 1 is broadcast. The result's memory config is `memory_config`, else that of a sharded operand, else a's.
    `activations` apply to the result, the other two lists to the operands, all before the one rounding.
    """
    return elementwise(
        "add",
        _sum(input_tensor_a, input_tensor_b),
        input_tensor_a,
        input_tensor_b,
        dtype=dtype,
        memory_config=memory_config,
        output_tensor=output_tensor,
        activations=activations,
        input_tensor_a_activations=input_tensor_a_activations,
        input_tensor_b_activations=input_tensor_b_activations,
    )


def subtract(
    input_tensor_a: Tensor,
    input_tensor_b: Tensor | Number,
    *,
    dtype: DataType | None = None,
    memory_config: MemoryConfig | None = None,
    output_tensor: Tensor | None = None,
    activations: Sequence[Activation] = (),
    input_tensor_a_activations: Sequence[Activation] = (),
    input_tensor_b_activations: Sequence[Activation] = (),
) -> Tensor:
    """a - b, otherwise as `add`."""
    return elementwise(
        "subtract",
        torch.sub,
        input_tensor_a,
        input_tensor_b,
        dtype=dtype,
        memory_config=memory_config,
        output_tensor=output_tensor,
        activations=activations,
        input_tensor_a_activations=input_tensor_a_activations,
        input_tensor_b_activations=input_tensor_b_activations,
    )


def multiply(
    input_tensor_a: Tensor,
    input_tensor_b: Tensor | Number,
    *,
    fast_and_approximate_mode: bool = False,
    dtype: DataType | None = None,
    memory_config: MemoryConfig | None = None,
    output_tensor: Tensor | None = None,
    activations: Sequence[Activation] = (),
    input_tensor_a_activations: Sequence[Activation] = (),
    input_tensor_b_activations: Sequence[Activation] = (),
) -> Tensor:
    """a * b, otherwise as `add`. `fast_and_approximate_mode` is ignored."""
    check_type("multiply", "fast_and_approximate_mode", fast_and_approximate_mode, bool)
    return elementwise(
        "multiply",
        _product(input_tensor_a, input_tensor_b),
        input_tensor_a,
        input_tensor_b,
        dtype=dtype,
        memory_config=memory_config,
        output_tensor=output_tensor,
        activations=activations,
        input_tensor_a_activations=input_tensor_a_activations,
        input_tensor_b_activations=input_tensor_b_activations,
        rounding=_rounding_of_product(input_tensor_a, input_tensor_b),
    )


def add_(
    input_tensor_a: Tensor,
    input_tensor_b: Tensor | Number,
    *,
    activations: Sequence[Activation] = (),
    input_tensor_a_activations: Sequence[Activation] = (),
    input_tensor_b_activations: Sequence[Activation] = (),
) -> Tensor:
    """a += b in a's memory: shape, dtype and memory config stay a's. Returns a."""
    return elementwise(
        "add_",
        _sum(input_tensor_a, input_tensor_b),
        input_tensor_a,
        input_tensor_b,
        output_tensor=input_tensor_a,
        activations=activations,
        input_tensor_a_activations=input_tensor_a_activations,
        input_tensor_b_activations=input_tensor_b_activations,
    )


def multiply_(
    input_a: Tensor,
    input_b: Tensor | Number,
    *,
    activations: Sequence[Activation] = (),
    input_tensor_a_activations: Sequence[Activation] = (),
    input_tensor_b_activations: Sequence[Activation] = (),
) -> Tensor:
    """a *= b in a's memory: shape, dtype and memory config stay a's. Returns a."""
    return elementwise(
        "multiply_",
        _product(input_a, input_b),
        input_a,
        input_b,
        output_tensor=input_a,
        activations=activations,
        input_tensor_a_activations=input_tensor_a_activations,
        input_tensor_b_activations=input_tensor_b_activations,
        rounding=_rounding_of_product(input_a, input_b),
    )
