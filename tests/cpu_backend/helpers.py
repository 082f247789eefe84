"""Short names for the tests of the CPU backend."""

from __future__ import annotations

import torch

import ttnn_cpu as ttnn

TILE, ROWS = ttnn.TILE_LAYOUT, ttnn.ROW_MAJOR_LAYOUT


def open_mesh(devices: int = 1, trace_region_size: int = 1 << 20) -> ttnn.MeshDevice:
    ttnn.set_fabric_config(ttnn.FabricConfig.FABRIC_1D)
    return ttnn.open_mesh_device(ttnn.MeshShape(1, devices), trace_region_size=trace_region_size)


def put(
    mesh: ttnn.MeshDevice,
    values: torch.Tensor,
    dtype: ttnn.DataType | None = ttnn.float32,
    layout: ttnn.Layout = TILE,
    shard: int | None = None,
    memory_config: ttnn.MemoryConfig | None = None,
) -> ttnn.Tensor:
    """On the mesh, the same for every device or split along `shard`."""
    mapper = ttnn.ReplicateTensorToMesh(mesh) if shard is None else ttnn.ShardTensorToMesh(mesh, dim=shard)
    return ttnn.from_torch(
        values, dtype=dtype, layout=layout, device=mesh, memory_config=memory_config, mesh_mapper=mapper
    )


def counters(mesh: ttnn.MeshDevice, values: object, dtype: ttnn.DataType = ttnn.int32) -> ttnn.Tensor:
    """Integers, row major."""
    return put(mesh, torch.as_tensor(values, dtype=torch.int32), dtype, ROWS)


def get(tensor: ttnn.Tensor, device: int = 0) -> torch.Tensor:
    """The values that one device holds."""
    return ttnn.to_torch(ttnn.get_device_tensors(tensor)[device])


def cores(count: int, first: int = 0) -> ttnn.CoreRangeSet:
    """`count` cores of the 8 x 8 grid row by row, from number `first`."""
    return ttnn.CoreRangeSet(
        [
            ttnn.CoreRange(ttnn.CoreCoord(i % 8, i // 8), ttnn.CoreCoord(i % 8, i // 8))
            for i in range(first, first + count)
        ]
    )


def sharded(kind: str, count: int, height: int, width: int, first: int = 0) -> ttnn.MemoryConfig:
    """L1, `kind` is "HEIGHT" or "WIDTH"."""
    layout = ttnn.TensorMemoryLayout[f"{kind}_SHARDED"]
    spec = ttnn.ShardSpec(cores(count, first), [height, width], ttnn.ShardOrientation.ROW_MAJOR)
    return ttnn.MemoryConfig(layout, ttnn.BufferType.L1, spec)


def dram_sharded(height: int, width: int) -> ttnn.MemoryConfig:
    """A weight of `height` x `width` over the 12 DRAM banks."""
    grid = ttnn.CoreRangeSet([ttnn.CoreRange(ttnn.CoreCoord(0, 0), ttnn.CoreCoord(11, 0))])
    spec = ttnn.ShardSpec(grid, [height, -(-width // 384) * 32], ttnn.ShardOrientation.ROW_MAJOR)
    return ttnn.MemoryConfig(ttnn.TensorMemoryLayout.WIDTH_SHARDED, ttnn.BufferType.DRAM, spec)


def spec(tensor: ttnn.Tensor) -> tuple[list[int], list[int], str, str]:
    """Shape, padded shape, dtype, layout."""
    return list(tensor.shape), list(tensor.padded_shape), tensor.dtype.name, tensor.layout.name


def turning_tile() -> torch.Tensor:
    """The matrix that turns the columns (a, b) of each pair into (-b, a), as the rotary operations want it."""
    tile = torch.zeros(32, 32)
    for i in range(16):
        tile[2 * i, 2 * i + 1], tile[2 * i + 1, 2 * i] = 1.0, -1.0
    return tile
