"""Products of blocks of rows with a weight, of which those that a sparsity tensor leaves out are not computed."""

from __future__ import annotations

import torch

from ttnn_cpu.blocks import Blocks
from ttnn_cpu.checks import check_dtype, check_layout, check_options, check_rank, check_type, fail, not_implemented
from ttnn_cpu.configs import MatmulMultiCoreReuseMultiCast1DProgramConfig, WormholeComputeKernelConfig
from ttnn_cpu.cores import core_coord
from ttnn_cpu.dispatch import Values, mesh_of, run
from ttnn_cpu.enums import FLOATS, TILE_SIZE, DataType, Layout
from ttnn_cpu.memory import DRAM_MEMORY_CONFIG, MemoryConfig
from ttnn_cpu.ops.products import multiplied, rounding
from ttnn_cpu.spec import tensor_spec
from ttnn_cpu.tensor import Tensor


def sparse_matmul(
    input_tensor_a: Tensor,
    input_tensor_b: Tensor,
    *,
    sparsity: Tensor,
    program_config: MatmulMultiCoreReuseMultiCast1DProgramConfig,
    is_input_a_sparse: bool = False,
    is_input_b_sparse: bool = True,
    memory_config: MemoryConfig | None = None,
    dtype: DataType | None = None,
    compute_kernel_config: WormholeComputeKernelConfig | None = None,
) -> Tensor:
    """[A, 1, M, K] @ [1, 1, K, N] -> [A, 1, M, N], 0 in the blocks whose entry of `sparsity`, bf16 [1, 1, A, 1] row
    major, is 0. The first operand is the sparse one; nothing else is implemented."""
    operation = "sparse_matmul"
    check_options(operation, memory_config=memory_config, dtype=dtype, compute_kernel_config=compute_kernel_config)
    if (is_input_a_sparse, is_input_b_sparse) != (True, False):
        raise not_implemented(
            operation, "is_input_a_sparse and is_input_b_sparse", (is_input_a_sparse, is_input_b_sparse)
        )
    check_type(operation, "program_config", program_config, MatmulMultiCoreReuseMultiCast1DProgramConfig)
    mesh_of(operation, input_tensor_a, input_tensor_b, sparsity)
    for tensor in (input_tensor_a, input_tensor_b, sparsity):
        check_rank(operation, "an input", tensor, 4)
    a, b = input_tensor_a.spec, input_tensor_b.spec
    for tensor in (input_tensor_a, input_tensor_b):
        check_layout(operation, "an input", tensor, Layout.TILE)
        if tensor.spec.dtype not in FLOATS:
            raise fail(operation, f"Unsupported data format for an input: {tensor.spec.dtype.name}")
    if sparsity.spec.layout is not Layout.ROW_MAJOR:
        raise fail(operation, f"Sparsity tensor must be ROW_MAJOR layout, got {sparsity.spec.layout}")
    check_dtype(operation, "sparsity, which the kernel reads 16 bits at a time,", sparsity, DataType.BFLOAT16)
    blocks, ones, rows, k = a.shape
    if ones != 1 or b.shape[:2] != (1, 1) or sparsity.spec.shape != (1, 1, blocks, 1):
        raise fail(
            operation,
            f"expects [A, 1, M, K], [1, 1, K, N] and a sparsity of [1, 1, A, 1], got {a.shape!r}, {b.shape!r} and "
            f"{sparsity.spec.shape!r}",
        )
    if b.shape[2] != k:
        raise fail(operation, f"the width of the first tensor ({k}) must be the height of the second ({b.shape[2]})")
    _check_program(operation, program_config, rows, k, b.shape[3])
    placement = memory_config or DRAM_MEMORY_CONFIG
    if placement.is_sharded():
        raise not_implemented(operation, "memory_config", placement)
    n = b.shape[3]

    def compute(x: Values | Blocks, w: Values, flags: Values) -> Blocks:
        devices = max(x.in_use.shape[0] if isinstance(x, Blocks) else x.shape[0], w.shape[0], flags.shape[0])
        in_use = (flags.reshape(-1, blocks) != 0).expand(devices, blocks)
        if isinstance(x, Blocks) and not torch.equal(x.in_use, in_use):
            x = x().expand(devices, -1, -1, -1, -1)
        products = []
        for device, used in enumerate(in_use):
            own = x.of_device(device) if isinstance(x, Blocks) else x[device % x.shape[0], :, 0][used]
            weight = w[device % w.shape[0]].reshape(1, k, n)
            if len(own) == 0:
                products.append(own.new_zeros(0, rows, n))
                continue
            made = multiplied(
                operation,
                own.reshape(1, -1, k),
                weight,
                None,
                (),
                compute_kernel_config,
                program_config.in0_block_w,
                ends_in_l1=False,
            )
            products.append(made.reshape(-1, rows, n))
        return Blocks(torch.cat(products), in_use)

    spec = tensor_spec((blocks, 1, rows, n), dtype or a.dtype, Layout.TILE, placement)
    inputs = [input_tensor_a, input_tensor_b, sparsity]
    settings = (program_config, compute_kernel_config)
    return run(operation, inputs, [spec], compute, takes=(Blocks,), rounding=rounding, settings=settings)[0]


def _check_program(
    operation: str, config: MatmulMultiCoreReuseMultiCast1DProgramConfig, rows: int, k: int, n: int
) -> None:
    columns = -(-n // TILE_SIZE)
    if not config.mcast_in0:
        raise fail(operation, "Only mcast_in0 is supported for sparse matmul")
    if config.per_core_M != -(-rows // TILE_SIZE):
        raise fail(
            operation, f"per_core_M must be the {-(-rows // TILE_SIZE)} tiles of a block, got {config.per_core_M}"
        )
    if (k // TILE_SIZE) % config.in0_block_w:
        raise fail(operation, f"Kt ({k // TILE_SIZE}) must be divisible by in0_block_w ({config.in0_block_w})")
    if config.per_core_N % config.out_subblock_w or config.per_core_M % config.out_subblock_h:
        raise fail(operation, "per_core_M and per_core_N must be divisible by out_subblock_h and out_subblock_w")
    grid = core_coord(config.compute_with_storage_grid_size)
    with_work = -(-columns // config.per_core_N)
    if with_work != grid.x * grid.y:
        raise fail(
            operation,
            f"num_cores_with_work ({with_work}) must be equal to in0_mcast_receiver_num_cores ({grid.x * grid.y})",
        )
