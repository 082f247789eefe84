"""How one torch tensor becomes the shards of a mesh tensor, and back.

Mappers give [D, *shard shape]: D = 1 if all devices get the same, else the number of devices. Unlike ttnn, which
quietly uses fewer devices or fails later, a dim that does not divide by the number of devices is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ttnn_cpu.device import MeshDevice, MeshShape


@dataclass(frozen=True)
class PlacementReplicate:
    """The same tensor on every device of a mesh axis."""


@dataclass(frozen=True)
class PlacementShard:
    """The tensor is split along `dim` over a mesh axis."""

    dim: int


class MeshMapperConfig:
    """One placement per mesh axis (rows, columns)."""

    def __init__(
        self,
        placements: Sequence[PlacementReplicate | PlacementShard] | None = None,
        *,
        row_dim: int | None = None,
        col_dim: int | None = None,
    ) -> None:
        if placements is None:
            dims = (row_dim, col_dim)
            placements = [PlacementReplicate() if dim is None else PlacementShard(dim) for dim in dims]
        self.placements = list(placements)


@dataclass(frozen=True)
class TensorToMesh:
    """Splits a tensor over a 1 x `devices` mesh. `placements`: the dimension to split along, None to give all of them
    the whole; one for all devices, or one for the row and one for the columns."""

    devices: int
    placements: tuple[int | None, ...]

    @property
    def dim(self) -> int | None:
        return self.placements[-1]

    def map(self, tensor: torch.Tensor) -> torch.Tensor:
        """[*shape] -> [D, *shard shape]"""
        if self.dim is None or self.devices == 1:
            return tensor.unsqueeze(0)
        if not -tensor.dim() <= self.dim < tensor.dim():
            raise RuntimeError(
                f"mesh mapper: dim {self.dim} is out of range for a tensor of shape {list(tensor.shape)}"
            )
        if tensor.shape[self.dim] % self.devices:
            raise RuntimeError(
                f"mesh mapper: dim {self.dim} of a tensor of shape {list(tensor.shape)} does not divide over "
                f"{self.devices} devices"
            )
        return torch.stack(tensor.chunk(self.devices, self.dim))


class ReplicateTensorToMeshWrapper(TensorToMesh):
    """What `ReplicateTensorToMesh` gives: `as_tensor` writes its tensors as one part, which loads on any mesh."""


@dataclass(frozen=True)
class MeshToTensor:
    """Joins the shards of all devices along `dim`; replicated shards come back once per device."""

    devices: int
    dim: int

    def compose(self, values: torch.Tensor) -> torch.Tensor:
        """[D, *shard shape] -> [*shape]"""
        if not -(values.dim() - 1) <= self.dim < values.dim() - 1:
            raise RuntimeError(
                f"mesh composer: dim {self.dim} is out of range for shards of shape {list(values.shape[1:])}"
            )
        return torch.cat(list(values.expand(self.devices, *values.shape[1:])), self.dim)


def _check_mesh(mesh_device: MeshDevice) -> None:
    if not isinstance(mesh_device, MeshDevice):
        raise TypeError(f"expected a MeshDevice, got {mesh_device!r}")


def replicate_tensor_to_mesh_mapper(mesh_device: MeshDevice) -> TensorToMesh:
    _check_mesh(mesh_device)
    return TensorToMesh(mesh_device.num_devices, (None,))


def shard_tensor_to_mesh_mapper(mesh_device: MeshDevice, dim: int) -> TensorToMesh:
    _check_mesh(mesh_device)
    return TensorToMesh(mesh_device.num_devices, (dim,))


def create_mesh_mapper(mesh_device: MeshDevice, config: MeshMapperConfig) -> TensorToMesh:
    """A placement per mesh axis; the row axis has one device, so that only the column's placement splits."""
    _check_mesh(mesh_device)
    if len(config.placements) != 2:
        raise RuntimeError(f"create_mesh_mapper: a 2-D mesh takes two placements, got {config.placements}")
    placements = tuple(p.dim if isinstance(p, PlacementShard) else None for p in config.placements)
    if None not in placements and placements[0] == placements[1]:
        raise RuntimeError(f"create_mesh_mapper: the dims must be unique, got {list(placements)}")
    return TensorToMesh(mesh_device.num_devices, placements)


def concat_mesh_to_tensor_composer(mesh_device: MeshDevice, dim: int) -> MeshToTensor:
    _check_mesh(mesh_device)
    return MeshToTensor(mesh_device.num_devices, dim)


def ReplicateTensorToMesh(mesh_device: MeshDevice) -> TensorToMesh:
    _check_mesh(mesh_device)
    return ReplicateTensorToMeshWrapper(mesh_device.num_devices, (None,))


def ShardTensorToMesh(mesh_device: MeshDevice, dim: int) -> TensorToMesh:
    return shard_tensor_to_mesh_mapper(mesh_device, dim)


def ShardTensor2dMesh(
    mesh_device: MeshDevice, mesh_shape: tuple[int, int] | MeshShape, dims: tuple[int | None, int | None]
) -> TensorToMesh:
    _check_mesh(mesh_device)
    if tuple(mesh_shape) != tuple(mesh_device.shape):
        raise RuntimeError(f"ShardTensor2dMesh: mesh_shape {tuple(mesh_shape)} is not that of {mesh_device!r}")
    return create_mesh_mapper(mesh_device, MeshMapperConfig(row_dim=dims[0], col_dim=dims[1]))


def ConcatMeshToTensor(mesh_device: MeshDevice, dim: int) -> MeshToTensor:
    return concat_mesh_to_tensor_composer(mesh_device, dim)
