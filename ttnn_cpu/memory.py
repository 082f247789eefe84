"""Where a tensor stands: interleaved or sharded, in DRAM or L1, and on which cores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod

from ttnn_cpu.cores import CoreCoord, CoreGrid, CoreRange, CoreRangeSet
from ttnn_cpu.enums import TILE_SIZE, BufferType, Layout, ShardOrientation, ShardStrategy, TensorMemoryLayout


@dataclass(frozen=True, init=False)
class ShardSpec:
    """The cores of a sharded tensor and the height and width in elements of the shard on each."""

    grid: CoreRangeSet
    shape: tuple[int, int]
    orientation: ShardOrientation

    def __init__(self, grid: CoreRangeSet, shard_shape: Sequence[int], shard_orientation: ShardOrientation) -> None:
        if not isinstance(grid, CoreRangeSet):
            raise TypeError(f"ShardSpec: grid must be a CoreRangeSet, got {grid!r}")
        if not isinstance(shard_orientation, ShardOrientation):
            raise TypeError(f"ShardSpec: shard_orientation must be a ShardOrientation, got {shard_orientation!r}")
        height, width = shard_shape
        object.__setattr__(self, "grid", grid)
        object.__setattr__(self, "shape", (int(height), int(width)))
        object.__setattr__(self, "orientation", shard_orientation)

    def num_cores(self) -> int:
        return self.grid.num_cores()


@dataclass(frozen=True)
class MemoryConfig:
    memory_layout: TensorMemoryLayout = TensorMemoryLayout.INTERLEAVED
    buffer_type: BufferType = BufferType.DRAM
    shard_spec: ShardSpec | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.memory_layout, TensorMemoryLayout) or not isinstance(self.buffer_type, BufferType):
            raise TypeError("MemoryConfig takes a TensorMemoryLayout, a BufferType and an optional ShardSpec")
        if self.shard_spec is not None and not isinstance(self.shard_spec, ShardSpec):
            raise TypeError(f"MemoryConfig: shard_spec must be a ShardSpec, got {self.shard_spec!r}")
        if self.shard_spec is not None and not self.is_sharded():
            raise RuntimeError("an interleaved memory config has no shard spec")

    def is_sharded(self) -> bool:
        return self.memory_layout is not TensorMemoryLayout.INTERLEAVED


DRAM_MEMORY_CONFIG = MemoryConfig()
L1_MEMORY_CONFIG = MemoryConfig(buffer_type=BufferType.L1)
L1_HEIGHT_SHARDED_MEMORY_CONFIG = MemoryConfig(TensorMemoryLayout.HEIGHT_SHARDED, BufferType.L1)
L1_WIDTH_SHARDED_MEMORY_CONFIG = MemoryConfig(TensorMemoryLayout.WIDTH_SHARDED, BufferType.L1)
L1_BLOCK_SHARDED_MEMORY_CONFIG = MemoryConfig(TensorMemoryLayout.BLOCK_SHARDED, BufferType.L1)


def l1_sharded(memory_layout: TensorMemoryLayout, grid: CoreRangeSet, height: int, width: int) -> MemoryConfig:
    """The row-major L1 sharding that ttnn chooses for outputs of its own."""
    return MemoryConfig(memory_layout, BufferType.L1, ShardSpec(grid, (height, width), ShardOrientation.ROW_MAJOR))


@lru_cache(maxsize=4096)
def check_shards(height: int, width: int, layout: Layout, memory_config: MemoryConfig) -> None:
    """Refuse a sharding that does not fit a tensor of `height` x `width` elements (padded, leading dims folded in)."""
    if not memory_config.is_sharded():
        return
    spec = memory_config.shard_spec
    if spec is None:
        raise RuntimeError(
            f"{memory_config.memory_layout.name} memory config without a shard spec: its shards are unknown"
        )
    shard_height, shard_width = spec.shape
    cores = spec.num_cores()
    if layout is Layout.TILE and (shard_height % TILE_SIZE or shard_width % TILE_SIZE):
        raise RuntimeError(f"Physical shard shape ({shard_height}, {shard_width}) must be tile {{32, 32}} sized!")
    if shard_height <= 0 or shard_width <= 0:
        raise RuntimeError(f"Shard shape ({shard_height}, {shard_width}) must be positive")
    down, across = -(-height // shard_height), -(-width // shard_width)
    if memory_config.memory_layout is TensorMemoryLayout.WIDTH_SHARDED:
        if shard_height != height:
            raise RuntimeError(f"Shard height {shard_height} must match physical height {height} for width sharded")
        if across > cores:
            raise RuntimeError(f"Number of shards along width {across} must not exceed number of cores {cores}")
    elif memory_config.memory_layout is TensorMemoryLayout.HEIGHT_SHARDED:
        if shard_width != width:
            raise RuntimeError(f"Shard width {shard_width} must match physical width {width} for height sharded")
        if down > cores:
            raise RuntimeError(f"Number of shards along height {down} must not exceed number of cores {cores}")
    else:
        box = spec.grid.bounding_box()
        rows, columns = box.end.y - box.start.y + 1, box.end.x - box.start.x + 1
        if spec.orientation is ShardOrientation.COL_MAJOR:
            rows, columns = columns, rows
        if down > rows or across > columns:
            raise RuntimeError(f"{down} x {across} shards must not exceed the grid of {rows} x {columns} cores")


def create_sharded_memory_config(
    shape: Sequence[int],
    core_grid: CoreGrid | CoreRangeSet,
    strategy: ShardStrategy,
    orientation: ShardOrientation | None = None,
    use_height_and_width_as_shard_shape: bool = False,
) -> MemoryConfig:
    """An L1 sharding of a tensor of `shape`, or of shards of that shape with `use_height_and_width_as_shard_shape`.

    Raises RuntimeError if the shape does not divide over the grid, or if a CoreRangeSet is given with a tensor shape.
    """
    orientation = orientation or ShardOrientation.ROW_MAJOR
    height, width = prod(shape[:-1]), shape[-1]
    if isinstance(core_grid, CoreRangeSet):
        if not use_height_and_width_as_shard_shape:
            raise RuntimeError("height and width must be shard shape with CoreRangeSet")
        grid = core_grid
    else:
        grid = CoreRangeSet([CoreRange(CoreCoord(0, 0), CoreCoord(core_grid.x - 1, core_grid.y - 1))])
        if not use_height_and_width_as_shard_shape:
            down, across = {
                ShardStrategy.HEIGHT: (core_grid.num_cores, 1),
                ShardStrategy.WIDTH: (1, core_grid.num_cores),
                ShardStrategy.BLOCK: (core_grid.y, core_grid.x),
            }[strategy]
            if height % down or width % across:
                raise RuntimeError(f"a tensor of {height} x {width} does not divide into {down} x {across} shards")
            height, width = height // down, width // across
    memory_layout = {
        ShardStrategy.HEIGHT: TensorMemoryLayout.HEIGHT_SHARDED,
        ShardStrategy.WIDTH: TensorMemoryLayout.WIDTH_SHARDED,
        ShardStrategy.BLOCK: TensorMemoryLayout.BLOCK_SHARDED,
    }[strategy]
    return MemoryConfig(memory_layout, BufferType.L1, ShardSpec(grid, (height, width), orientation))
