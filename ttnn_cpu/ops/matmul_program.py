"""What a matmul program config demands of its operands, and where it puts the result."""

from __future__ import annotations

from math import prod

from ttnn_cpu.checks import fail, not_implemented
from ttnn_cpu.configs import (
    MatmulMultiCoreReuseMultiCast1DProgramConfig,
    MatmulMultiCoreReuseMultiCastDRAMShardedProgramConfig,
    MatmulMultiCoreReuseMultiCastProgramConfig,
    MatmulProgramConfig,
)
from ttnn_cpu.cores import row_major_cores
from ttnn_cpu.device import WORMHOLE_GRID
from ttnn_cpu.enums import TILE_SIZE, BufferType, TensorMemoryLayout
from ttnn_cpu.memory import MemoryConfig, l1_sharded
from ttnn_cpu.spec import Shape, padded
from ttnn_cpu.tensor import Tensor

_WIDTH = TensorMemoryLayout.WIDTH_SHARDED
# tiles of the destination register file that a subblock may fill
_REGISTER_TILES = 8


def matmul_placement(
    operation: str,
    a: Tensor,
    b: Tensor,
    shape: Shape,
    config: MatmulProgramConfig | None,
    memory_config: MemoryConfig,
) -> MemoryConfig:
    """The memory config of the output of `shape`; RuntimeError if the config does not fit the operands."""
    m, k, n = _tiles(a, b, shape)
    if isinstance(config, MatmulMultiCoreReuseMultiCastDRAMShardedProgramConfig):
        return _dram_sharded(operation, a, b, m, k, n, config, memory_config)
    if isinstance(config, MatmulMultiCoreReuseMultiCast1DProgramConfig):
        return _one_dimensional(operation, a, b, m, k, n, config, memory_config)
    if isinstance(config, MatmulMultiCoreReuseMultiCastProgramConfig):
        return _two_dimensional(operation, a, m, k, n, config, memory_config)
    if b.is_sharded():
        raise fail(
            operation, f"Input B memory layout must be INTERLEAVED, got: {b.spec.memory_config.memory_layout.name}"
        )
    if memory_config.is_sharded():
        raise not_implemented(operation, "memory_config", "sharded output without a program_config")
    return memory_config


def _tiles(a: Tensor, b: Tensor, shape: Shape) -> tuple[int, int, int]:
    """M (all batches), K and N in tiles."""
    out = padded(shape, a.spec.layout)
    return prod(out[:-1]) // TILE_SIZE, a.spec.padded_shape[-1] // TILE_SIZE, out[-1] // TILE_SIZE


def _dram_sharded(
    operation: str,
    a: Tensor,
    b: Tensor,
    m: int,
    k: int,
    n: int,
    config: MatmulMultiCoreReuseMultiCastDRAMShardedProgramConfig,
    memory_config: MemoryConfig,
) -> MemoryConfig:
    name = f"{operation}: MatmulMultiCoreReuseMultiCastDRAMShardedProgramConfig"
    have, weight = a.spec.memory_config, b.spec.memory_config
    if config.num_workers_per_dram_bank != 1:
        raise RuntimeError(f"{name}: num_workers_per_dram_bank > 1 is currently supported only on Blackhole")
    if have.memory_layout is not _WIDTH or have.buffer_type is not BufferType.L1 or have.shard_spec is None:
        raise RuntimeError(f"{name}: Input A must be WIDTH_SHARDED in L1, got: {have.memory_layout.name}")
    if weight.memory_layout is not _WIDTH or weight.buffer_type is not BufferType.DRAM:
        raise RuntimeError(
            f"{name}: Input B memory layout must be WIDTH_SHARDED in DRAM, got: {weight.memory_layout.name}"
        )
    if not memory_config.is_sharded():
        raise RuntimeError(f"{name}: Output memory config must be sharded for DRAM sharded program config")
    if memory_config.memory_layout is not _WIDTH or memory_config.buffer_type is not BufferType.L1:
        raise RuntimeError(f"{name}: the output must be WIDTH_SHARDED in L1, got: {memory_config.memory_layout.name}")
    if m != 1:
        raise RuntimeError(f"{name}: currently only support in0 tensor height of tile height")
    if config.per_core_M != m:
        raise RuntimeError(f"{name}: M ({m}) must equal per_core_M ({config.per_core_M})")
    _check_k_blocks(name, k, have, config.in0_block_w, may_span=True)
    # ttnn lays the output on its own grid, whatever shard spec the memory config holds
    cores = row_major_cores(0, -(-n // config.per_core_N), WORMHOLE_GRID.x)
    if cores.num_cores() > WORMHOLE_GRID.x * WORMHOLE_GRID.y:
        raise RuntimeError(
            f"{name}: per_core_N ({config.per_core_N}) needs {cores.num_cores()} cores for N ({n}), there are 64"
        )
    return l1_sharded(_WIDTH, cores, config.per_core_M * TILE_SIZE, config.per_core_N * TILE_SIZE)


def _check_k_blocks(name: str, k: int, have: MemoryConfig, in0_block_w: int, may_span: bool = False) -> None:
    """may_span: a block may hold the shards of several cores."""
    if k % in0_block_w:
        raise RuntimeError(f"{name}: Kt ({k}) must be divisible by in0_block_w ({in0_block_w})")
    if have.shard_spec is None:
        return
    of_core = have.shard_spec.shape[1] // TILE_SIZE
    if of_core % in0_block_w and (in0_block_w % of_core or not may_span):
        raise RuntimeError(
            f"{name}: shard_shape[1] / in0_tile width ({of_core}) must be divisible by in0_block_w ({in0_block_w})"
            + " or divide it" * may_span
        )


def _check_subblocks(
    name: str,
    config: MatmulMultiCoreReuseMultiCast1DProgramConfig | MatmulMultiCoreReuseMultiCastProgramConfig,
) -> None:
    block_h, block_w = config.out_block_h or config.per_core_M, config.out_block_w or config.per_core_N
    if block_h % config.out_subblock_h:
        raise RuntimeError(
            f"{name}: out_block_h ({block_h}) must be divisible by out_subblock_h ({config.out_subblock_h})"
        )
    if block_w % config.out_subblock_w:
        raise RuntimeError(
            f"{name}: out_block_w ({block_w}) must be divisible by out_subblock_w ({config.out_subblock_w})"
        )
    if config.out_subblock_h * config.out_subblock_w > _REGISTER_TILES:
        raise RuntimeError(
            f"{name}: out_subblock_w {config.out_subblock_w} times out_subblock_h {config.out_subblock_h} needs to be "
            f"at most {_REGISTER_TILES} to fit in hardware"
        )


def _one_dimensional(
    operation: str,
    a: Tensor,
    b: Tensor,
    m: int,
    k: int,
    n: int,
    config: MatmulMultiCoreReuseMultiCast1DProgramConfig,
    memory_config: MemoryConfig,
) -> MemoryConfig:
    name = f"{operation}: MatmulMultiCoreReuseMultiCast1DProgramConfig"
    if not config.mcast_in0:
        raise not_implemented(operation, "program_config.mcast_in0", False)
    if b.is_sharded():
        raise RuntimeError(f"{name}: a sharded weight must be in L1 for this config, got a DRAM-sharded one")
    have = a.spec.memory_config
    cores = config.grid.x * config.grid.y
    if have.is_sharded():
        assert have.shard_spec is not None
        if have.memory_layout is not _WIDTH:
            raise not_implemented(operation, "input memory layout", have.memory_layout.name)
        if have.shard_spec.num_cores() > cores:
            raise RuntimeError(
                f"{name}: Target number of cores {have.shard_spec.num_cores()} is greater than total available cores "
                f"{cores}"
            )
        if config.per_core_M != m:
            raise RuntimeError(f"{name}: M ({m}) must equal per_core_M ({config.per_core_M})")
    _check_k_blocks(name, k, have, config.in0_block_w)
    _check_subblocks(name, config)
    blocks = -(-m // config.per_core_M) * -(-n // config.per_core_N)
    if blocks > cores:
        raise RuntimeError(f"{name}: Number of blocks exceeds number of cores: {blocks} blocks > {cores} cores")
    if memory_config.is_sharded():
        if memory_config.memory_layout is not _WIDTH or m != config.per_core_M:
            raise not_implemented(operation, "memory_config", memory_config)
        grid = row_major_cores(0, blocks, config.grid.x)
        return l1_sharded(_WIDTH, grid, config.per_core_M * TILE_SIZE, config.per_core_N * TILE_SIZE)
    return memory_config


def _two_dimensional(
    operation: str,
    a: Tensor,
    m: int,
    k: int,
    n: int,
    config: MatmulMultiCoreReuseMultiCastProgramConfig,
    memory_config: MemoryConfig,
) -> MemoryConfig:
    name = f"{operation}: MatmulMultiCoreReuseMultiCastProgramConfig"
    if a.is_sharded() or memory_config.is_sharded():
        raise not_implemented(operation, "sharded input or output with a 2-D program_config", memory_config)
    if config.transpose_mcast:
        raise not_implemented(operation, "program_config.transpose_mcast", True)
    if not config.fuse_batch:
        m = a.spec.padded_shape[-2] // TILE_SIZE
    _check_k_blocks(name, k, a.spec.memory_config, config.in0_block_w)
    _check_subblocks(name, config)
    down, across = -(-m // config.per_core_M), -(-n // config.per_core_N)
    if down > config.grid.y:
        raise fail(
            name,
            f"Num output blocks along y ({down}) exceed the {config.grid.y} rows of the compute grid",
        )
    if across > config.grid.x:
        raise fail(
            name,
            f"Num output blocks along x ({across}) exceed the {config.grid.x} columns of the compute grid",
        )
    return memory_config
