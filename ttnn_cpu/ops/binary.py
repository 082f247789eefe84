"""Elementwise operations of two operands, with broadcasting."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ttnn_cpu import chip_rounding
from ttnn_cpu.checks import check_type
from ttnn_cpu.chip_rounding import packed
from ttnn_cpu.configs import Activation
from ttnn_cpu.dispatch import Rounding, Values
from ttnn_cpu.enums import BLOCK_FLOATS, FLOATS, DataType
from ttnn_cpu.memory import MemoryConfig
from ttnn_cpu.modes import is_exact
from ttnn_cpu.ops.elementwise import Number, TorchBinary, elementwise, product_on_matrix_unit
from ttnn_cpu.tensor import Tensor


def _rounding_of_product(a: Tensor, b: Tensor | Number) -> Rounding:
    """The vector unit multiplies and rounds, or for block floats the matrix unit multiplies and the packer rounds."""
    return packed if _in_blocks(a, b) else chip_rounding.product


def _in_blocks(a: Tensor, b: Tensor | Number) -> bool:
    return any(isinstance(t, Tensor) and t.spec.dtype in BLOCK_FLOATS for t in (a, b))


def _product(a: Tensor, b: Tensor | Number) -> TorchBinary:
    """What multiplies the two."""
    return product_on_matrix_unit if _in_blocks(a, b) and isinstance(b, Tensor) else torch.mul


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
