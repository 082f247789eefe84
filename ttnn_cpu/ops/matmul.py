"""Matrix products with a weight: `matmul`, `linear` and `minimal_matmul`."""

from __future__ import annotations

from typing import get_args

from ttnn_cpu.by_rows import ByRows
from ttnn_cpu.checks import check_layout, check_options, check_type, fail, not_implemented
from ttnn_cpu.configs import (
    Activation,
    MatmulProgramConfig,
    MinimalMatmulConfig,
    UnaryWithParam,
    WormholeComputeKernelConfig,
    activation_of,
)
from ttnn_cpu.dispatch import Values, mesh_of, run
from ttnn_cpu.enums import FLOATS, DataType, Layout, UnaryOpType
from ttnn_cpu.memory import DRAM_MEMORY_CONFIG, MemoryConfig
from ttnn_cpu.ops.matmul_program import matmul_placement
from ttnn_cpu.ops.products import TAKES, multiplied_by_rows, rounding
from ttnn_cpu.spec import Shape, tensor_spec
from ttnn_cpu.tensor import Tensor, Unmade

_MINIMAL_BLOCK = 8  # tiles of K, where minimal_matmul gets no config
_NAMED_ACTIVATIONS = {"relu": UnaryOpType.RELU, "sigmoid": UnaryOpType.SIGMOID, "silu": UnaryOpType.SILU}


def _output_shape(operation: str, a: Shape, b: Shape) -> Shape:
    if len(a) < 2 or len(b) < 2:
        raise not_implemented(operation, "a tensor of less than two dims", (a, b))
    if a[-1] != b[-2]:
        raise fail(
            operation,
            "The width of the first tensor must be equal to the height of the second tensor. "
            f"Mismatch: width={a[-1]} height={b[-2]}",
        )
    rank = max(len(a), len(b))
    left, right = (1,) * (rank - len(a)) + a[:-2], (1,) * (rank - len(b)) + b[:-2]
    if (
        any(x != y for x, y in zip(left, right, strict=True))
        and max(left, default=1) != 1
        and max(right, default=1) != 1
    ):
        raise fail(operation, f"expects input tensors of shapes BCMK*BCKN=BCMN, got {a!r} and {b!r}")
    return Shape((*map(max, zip(left, right, strict=True)), a[-2], b[-1]))


def _fused_activation(
    operation: str, a: Tensor, activation: str | Activation | None, program_config: MatmulProgramConfig | None
) -> list[UnaryOpType]:
    fused = activation_of(program_config.fused_activation) if program_config is not None else None
    if activation is None:
        return [] if fused is None else [fused.op_type]
    if isinstance(activation, str):
        if activation not in _NAMED_ACTIVATIONS:
            raise not_implemented(operation, "activation", activation)
        chosen = _NAMED_ACTIVATIONS[activation]
    else:
        check_type(operation, "activation", activation, UnaryWithParam, UnaryOpType)
        chosen = activation.op_type if isinstance(activation, UnaryWithParam) else activation
    if a.is_sharded():
        raise fail(operation, f"Sharded matmul with {chosen.name}: it belongs in the program config's fused_activation")
    if fused is not None:
        raise fail(operation, "an activation is given both as argument and in the program config")
    return [chosen]


def _matmul(
    operation: str,
    a: Tensor,
    b: Tensor,
    bias: Tensor | None,
    memory_config: MemoryConfig | None,
    dtype: DataType | None,
    program_config: MatmulProgramConfig | None,
    activation: str | Activation | None,
    compute_kernel_config: WormholeComputeKernelConfig | None,
) -> Tensor:
    check_options(operation, memory_config=memory_config, dtype=dtype, compute_kernel_config=compute_kernel_config)
    if program_config is not None:
        check_type(operation, "program_config", program_config, *get_args(MatmulProgramConfig))
    mesh_of(operation, a, b, bias)
    for tensor in (a, b):
        check_layout(operation, "an input", tensor, Layout.TILE)
        if tensor.spec.dtype not in FLOATS:
            raise fail(operation, f"Unsupported data format for an input: {tensor.spec.dtype.name}")
    dtype = dtype or a.spec.dtype
    if dtype not in FLOATS:
        raise not_implemented(operation, "dtype", dtype)
    shape = _output_shape(operation, a.spec.shape, b.spec.shape)
    if bias is not None:
        bias_shape = bias.spec.shape
        if (
            bias.spec.dtype not in FLOATS
            or bias_shape[-1] != shape[-1]
            or bias_shape[:-1].count(1) != len(bias_shape) - 1
        ):
            raise fail(
                operation, f"Broadcasting rule violation: bias must be a float row of {shape[-1]}, got {bias_shape!r}"
            )
        if len(bias_shape) > len(shape):
            raise fail(operation, f"bias {bias_shape!r} has more dims than the output {shape!r}")
    activations = _fused_activation(operation, a, activation, program_config)
    placement = matmul_placement(operation, a, b, shape, program_config, memory_config or DRAM_MEMORY_CONFIG)
    spec = tensor_spec(shape, dtype, Layout.TILE, placement)

    block, has_bias = 0 if program_config is None else program_config.in0_block_w, bias is not None

    def compute(*values: Values | Unmade) -> Values | ByRows:
        return multiplied_by_rows(operation, a, b, values, activations, compute_kernel_config, block, has_bias)

    inputs = [a, b] if bias is None else [a, b, bias]
    settings = (program_config, *activations, compute_kernel_config)
    return run(operation, inputs, [spec], compute, takes=TAKES, rounding=rounding, settings=settings)[0]


def linear(
    input_tensor_a: Tensor,
    input_tensor_b: Tensor,
    *,
    bias: Tensor | None = None,
    memory_config: MemoryConfig | None = None,
    dtype: DataType | None = None,
    program_config: MatmulProgramConfig | None = None,
    activation: str | Activation | None = None,
    compute_kernel_config: WormholeComputeKernelConfig | None = None,
) -> Tensor:
    """[.., M, K] @ [.., K, N] + bias [1, N], then the activation; float tiles, result in `dtype` or a's dtype.

    Without `memory_config` the result is interleaved in DRAM. `program_config` chooses kernel and output sharding: see
    `matmul_program`.
    """
    return _matmul(
        "linear",
        input_tensor_a,
        input_tensor_b,
        bias,
        memory_config,
        dtype,
        program_config,
        activation,
        compute_kernel_config,
    )


def matmul(
    input_tensor_a: Tensor,
    input_tensor_b: Tensor,
    *,
    memory_config: MemoryConfig | None = None,
    dtype: DataType | None = None,
    program_config: MatmulProgramConfig | None = None,
    activation: str | Activation | None = None,
    compute_kernel_config: WormholeComputeKernelConfig | None = None,
) -> Tensor:
    """`linear` without bias; the second operand may have the same batch dims as the first."""
    return _matmul(
        "matmul",
        input_tensor_a,
        input_tensor_b,
        None,
        memory_config,
        dtype,
        program_config,
        activation,
        compute_kernel_config,
    )


def minimal_matmul(
    input_tensor: Tensor,
    weight_tensor: Tensor,
    *,
    bias_tensor: Tensor | None = None,
    fused_activation: Activation | None = None,
    config: MinimalMatmulConfig | None = None,
    memory_config: MemoryConfig | None = None,
    dtype: DataType | None = None,
    compute_kernel_config: WormholeComputeKernelConfig | None = None,
) -> Tensor:
    """[.., M, K] @ [K, N] for long activations; takes a DRAM-sharded weight. Result placed as the input by default."""
    operation = "minimal_matmul"
    check_options(operation, memory_config=memory_config, dtype=dtype, compute_kernel_config=compute_kernel_config)
    mesh_of(operation, input_tensor, weight_tensor, bias_tensor)
    x, w = input_tensor.spec, weight_tensor.spec
    if x.layout is not Layout.TILE or w.layout is not Layout.TILE:
        raise fail(operation, "requires TILE layout for activation and weight")
    if x.dtype not in FLOATS or w.dtype not in FLOATS or (dtype is not None and dtype not in FLOATS):
        raise fail(operation, f"works on float dtypes, got {x.dtype.name}, {w.dtype.name}, {dtype}")
    if any(extent != 1 for extent in w.shape[:-2]):
        raise fail(operation, f"weight must have 1 in all dims < -2, got {w.shape!r}")
    if x.shape[-1] != w.shape[-2]:
        raise fail(operation, f"inner dimensions must match, got K={x.shape[-1]} and K_w={w.shape[-2]}")
    if bias_tensor is not None and bias_tensor.spec.shape[-1] != w.shape[-1]:
        raise fail(operation, f"bias_tensor must be a row of {w.shape[-1]}, got {bias_tensor.spec.shape!r}")
    if config is not None:
        check_type(operation, "config", config, MinimalMatmulConfig)
        if config.M_block_size % config.subblock_h or config.N_block_size % config.subblock_w:
            raise fail(operation, "M_block_size and N_block_size must be divisible by subblock_h and subblock_w")
    placement = memory_config or x.memory_config
    if placement.is_sharded():
        raise not_implemented(operation, "memory_config", placement)
    if fused_activation is not None:
        check_type(operation, "fused_activation", fused_activation, UnaryWithParam, UnaryOpType)
    fused = activation_of(fused_activation)
    activations = [] if fused is None else [fused.op_type]
    shape = (*x.shape[:-1], w.shape[-1])

    block = _MINIMAL_BLOCK if config is None else config.K_block_size

    def compute(*values: Values | Unmade) -> Values | ByRows:
        how = activations, compute_kernel_config, block, True
        return multiplied_by_rows(operation, input_tensor, weight_tensor, values, *how)

    spec = tensor_spec(shape, dtype or x.dtype, Layout.TILE, placement)
    inputs = [input_tensor, weight_tensor] if bias_tensor is None else [input_tensor, weight_tensor, bias_tensor]
    settings = (config, *activations, compute_kernel_config)
    return run(operation, inputs, [spec], compute, takes=TAKES, rounding=rounding, settings=settings)[0]
