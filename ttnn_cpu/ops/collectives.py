"""Collectives over the devices of the mesh.

A mesh is 1 x n: `cluster_axis` 1 or None means all n devices. Axis 0 has one device, over which ttnn's collectives do
not run; neither do they on a mesh of one device. The links (`set_fabric_config`) must be on.
"""

from __future__ import annotations

import torch

from ttnn_cpu import chip_ring
from ttnn_cpu.checks import check_options, check_type, dim_of, fail, not_implemented
from ttnn_cpu.chip_rounding import moved
from ttnn_cpu.device import MeshDevice
from ttnn_cpu.dispatch import Values, mesh_of, run
from ttnn_cpu.enums import FLOATS, TILE_SIZE, DataType, FabricConfig, Layout, Topology
from ttnn_cpu.loops import in_threads
from ttnn_cpu.memory import MemoryConfig
from ttnn_cpu.modes import is_chip
from ttnn_cpu.spec import tensor_spec
from ttnn_cpu.tensor import Tensor
from ttnn_cpu.vector_loops import join_parts, sum_parts


def _ring_size(operation: str, mesh: MeshDevice, cluster_axis: int | None) -> int:
    if mesh.fabric is FabricConfig.DISABLED:
        raise fail(
            operation, "Trying to get un-initialized fabric context: call set_fabric_config before opening the mesh"
        )
    size = axis_size(operation, mesh, cluster_axis)
    if size == 1:
        raise fail(operation, "collective will only work for num_devices > 1, got 1")
    return size


def axis_size(operation: str, mesh: MeshDevice, cluster_axis: int | None) -> int:
    if cluster_axis not in (None, 0, 1):
        raise fail(operation, f"cluster_axis {cluster_axis!r} is out of range for a mesh {mesh.shape!r}")
    return mesh.num_devices if cluster_axis is None else mesh.shape[cluster_axis]


def _check_links(operation: str, num_links: int | None, topology: Topology | None, l1_small: bool = False) -> None:
    """How the data travels makes no difference to the values; only the classes are checked."""
    check_type(operation, "use_l1_small_for_semaphores", l1_small, bool)
    if num_links is not None:
        check_type(operation, "num_links", num_links, int)
    if topology is not None:
        check_type(operation, "topology", topology, Topology)


def all_gather(
    input_tensor: Tensor,
    dim: int,
    *,
    cluster_axis: int | None = None,
    memory_config: MemoryConfig | None = None,
) -> Tensor:
    """Every device gets the tensors of all, joined along `dim` in mesh order. Placed as the input by default.

    ttnn ignores `num_links`, `topology` and `use_l1_small_for_semaphores`, warns of them and will drop them; there are
    none here.
    """
    operation = "all_gather"
    check_options(operation, memory_config=memory_config)
    mesh = mesh_of(operation, input_tensor)
    axis = dim_of(operation, input_tensor, dim)
    n = _ring_size(operation, mesh, cluster_axis)
    have = input_tensor.spec
    shape = [extent * n if i == axis else extent for i, extent in enumerate(have.shape)]
    spec = tensor_spec(shape, have.dtype, have.layout, memory_config or have.memory_config)

    def compute(x: Values) -> Values:
        return _joined(x.expand(n, *x.shape[1:]), axis).reshape(1, *shape)

    return run(operation, [input_tensor], [spec], compute, rounding=moved)[0]


def reduce_scatter(
    input_tensor: Tensor,
    dim: int,
    *,
    cluster_axis: int | None = None,
    memory_config: MemoryConfig | None = None,
    num_links: int | None = None,
    topology: Topology | None = None,
    use_l1_small_for_semaphores: bool = False,
) -> Tensor:
    """The sum over the devices, of which device i gets part i along `dim`. Summed in float32, rounded once
    (in `chip_values` as `chip_ring` says).

    The extent must divide by the number of devices. `use_l1_small_for_semaphores` needs a mesh with an `l1_small_size`.
    """
    operation = "reduce_scatter"
    check_options(operation, memory_config=memory_config)
    _check_links(operation, num_links, topology, use_l1_small_for_semaphores)
    mesh = mesh_of(operation, input_tensor)
    axis = dim_of(operation, input_tensor, dim)
    n = _ring_size(operation, mesh, cluster_axis)
    if use_l1_small_for_semaphores and mesh.l1_small_size == 0:
        raise fail(operation, "Not enough space for semaphores in L1_SMALL: the mesh was opened with l1_small_size = 0")
    have = input_tensor.spec
    if have.shape[axis] % n:
        raise fail(operation, f"dim {dim} of {have.shape!r} must be divisible by ring_size {n}")
    shape = [extent // n if i == axis else extent for i, extent in enumerate(have.shape)]
    spec = tensor_spec(shape, have.dtype, have.layout, memory_config or have.memory_config)

    def compute(x: Values) -> Values:
        if is_chip() and have.dtype in FLOATS - {DataType.FLOAT32}:
            slices = enumerate(x.expand(n, *x.shape[1:]).chunk(n, axis + 1))
            return torch.stack([chip_ring.slice_sum(parts, chip, have.dtype) for chip, parts in slices])
        return _summed(x.expand(n, *x.shape[1:]), axis).reshape(n, *shape)

    return run(operation, [input_tensor], [spec], compute)[0]


def _joined(x: Values, axis: int) -> Values:
    """[D, *shape] -> the devices' parts along `axis` of the shape, flat."""
    if x.dtype is not torch.float32:
        return x.movedim(0, axis).contiguous()
    parts = x.contiguous().view(len(x), x.shape[1 : axis + 1].numel(), -1)
    out = torch.empty(parts.shape[1], len(x), parts.shape[2])
    given = parts.numpy(), out.numpy()
    in_threads(lambda first, end: join_parts(*given, first, end), len(out), out.numel())
    return out


def _summed(x: Values, axis: int) -> Values:
    """[D, *shape] -> the sum over the devices, of each of D parts along `axis` of the shape, flat."""
    if x.dtype is not torch.float32:
        return torch.stack(x.sum(0).chunk(len(x), axis))
    parts = x.contiguous().view(len(x), x.shape[1 : axis + 1].numel(), len(x), -1)
    out = torch.empty(len(x), parts.shape[1], parts.shape[3])
    given = parts.numpy(), out.numpy()
    in_threads(lambda first, end: sum_parts(*given, first, end), parts.shape[1], x.numel())
    return out


def _sum(x: Values, n: int) -> Values:
    """[D, ..] -> [1, ..]"""
    return x.sum(0, keepdim=True) if x.shape[0] > 1 else x * n


def all_reduce(
    input_tensor: Tensor,
    *,
    cluster_axis: int | None = None,
    memory_config: MemoryConfig | None = None,
    num_links: int | None = None,
    topology: Topology | None = None,
) -> Tensor:
    """Every device gets the sum over the devices. Summed in float32, rounded once."""
    operation = "all_reduce"
    check_options(operation, memory_config=memory_config)
    _check_links(operation, num_links, topology)
    n = _ring_size(operation, mesh_of(operation, input_tensor), cluster_axis)
    have = input_tensor.spec
    spec = tensor_spec(have.shape, have.dtype, have.layout, memory_config or have.memory_config)
    return run(operation, [input_tensor], [spec], lambda x: _sum(x, n))[0]


def mesh_partition(
    input_tensor: Tensor, dim: int, cluster_axis: int | None = None, *, memory_config: MemoryConfig | None = None
) -> Tensor:
    """Device i keeps part i of its tensor along `dim`: the inverse of `all_gather`, without links. Tiles stay whole."""
    operation = "mesh_partition"
    check_options(operation, memory_config=memory_config)
    mesh = mesh_of(operation, input_tensor)
    axis = dim_of(operation, input_tensor, dim)
    n = axis_size(operation, mesh, cluster_axis)
    have = input_tensor.spec
    if have.shape[axis] % n:
        raise fail(operation, f"input shape {have.shape!r} must be divisible by cluster axis size {n}")
    shape = [extent // n if i == axis else extent for i, extent in enumerate(have.shape)]
    if n > 1 and have.layout is Layout.TILE and axis >= len(have.shape) - 2 and shape[axis] % TILE_SIZE:
        side = "width" if axis == len(have.shape) - 1 else "height"
        raise fail(operation, f"Can only slice tilized tensor with {side} begin index aligned to tiles")
    placement = memory_config or have.memory_config
    if placement.is_sharded() and n > 1:
        raise not_implemented(operation, "memory_config", placement)
    spec = tensor_spec(shape, have.dtype, have.layout, placement)

    def compute(x: Values) -> Values:
        parts = x.chunk(n, axis + 1)
        return (
            torch.cat([part[i if x.shape[0] > 1 else 0].unsqueeze(0) for i, part in enumerate(parts)]) if n > 1 else x
        )

    return run(operation, [input_tensor], [spec], compute, rounding=moved)[0]
