"""The tensor: a spec, and values that may stand on the host or on the mesh.

All shards of a mesh tensor are one torch tensor with a leading device dim D: D = 1 when every device holds the same
values, D = number of devices when they differ. Floats are float32 values already rounded to the dtype; integers are
kept as `storage_dtype` says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ttnn_cpu.blocks import Blocks
from ttnn_cpu.by_rows import ByRows
from ttnn_cpu.device import MeshDevice
from ttnn_cpu.enums import DataType, Layout, StorageType
from ttnn_cpu.garbage import garbage
from ttnn_cpu.halves import Halves
from ttnn_cpu.memory import MemoryConfig
from ttnn_cpu.narrow import Narrow
from ttnn_cpu.spec import Shape, TensorSpec


@dataclass(frozen=True)
class Distribution:
    """How a host tensor was laid over a mesh, as ttnn notes it in a file: the dimension along which it was split, None
    for replicated, one for all chips in a row or one for each axis of the mesh."""

    mesh_shape: tuple[int, int] = (1, 1)
    placements: tuple[int | None, ...] = (None,)


Unmade = Blocks | ByRows | Halves | Narrow
_UNKEPT = Halves, Narrow  # what they make is not kept


def made(values: torch.Tensor | Unmade) -> torch.Tensor:
    return values() if isinstance(values, Unmade) else values


class Storage:
    """The values, shared by a tensor and its views: there, or made when they are used, by a call that gives the same
    values every time unless they are written in place. None where only the spec is known or nothing was written yet."""

    __slots__ = ("__weakref__", "_make", "_values", "allocated", "mutable")

    def __init__(self, values: torch.Tensor | Callable[[], torch.Tensor] | None) -> None:
        self._values: torch.Tensor | None = None
        self._make: Callable[[], torch.Tensor] | None = None
        self.values = values
        self.allocated = True
        # True once the values are written in place (KV caches): nobody else may then share their memory
        self.mutable = False

    @property
    def values(self) -> torch.Tensor | None:
        if isinstance(self._make, _UNKEPT):
            return self._make()
        if self._values is None and self._make is not None:
            self._values = self._make()
        return self._values

    @values.setter
    def values(self, values: torch.Tensor | Callable[[], torch.Tensor] | None) -> None:
        self._values, self._make = (values, None) if isinstance(values, torch.Tensor) else (None, values)

    @property
    def unmade(self) -> Unmade | None:
        """The values, where they are kept in a form that makes them."""
        return self._make if isinstance(self._make, Unmade) else None

    def narrowed(self, values: torch.Tensor) -> Narrow | None:
        """`values`, which are kept so from now on if they are still this storage's; None where that loses bits."""
        narrow, own = Narrow.of(values), self._values
        if (
            narrow
            and not self.mutable
            and own is not None
            and (own.data_ptr(), own.numel()) == (values.data_ptr(), values.numel())
        ):
            self.values = narrow
        return narrow

    @property
    def has_values(self) -> bool:
        return self._values is not None or self._make is not None

    def shared(self) -> Storage:
        """Another storage of the same values."""
        return Storage(self._make if self._values is None else self._values)


class Tensor:
    __slots__ = ("_device", "_shard", "distribution", "shards", "spec", "storage")

    def __init__(
        self,
        spec: TensorSpec,
        storage: Storage,
        device: MeshDevice | None,
        shards: int,
        shard: int | None = None,
        distribution: Distribution | None = Distribution(),
    ) -> None:
        self.spec = spec
        self.storage = storage
        self._device = device
        # how many buffers stand behind the tensor; one of a mesh tensor's, if `shard` is given
        self.shards = shards
        self._shard = shard
        # of a host tensor; None after it came from the mesh
        self.distribution = distribution

    @property
    def shape(self) -> Shape:
        return self.spec.shape

    @property
    def padded_shape(self) -> Shape:
        return self.spec.padded_shape

    @property
    def dtype(self) -> DataType:
        return self.spec.dtype

    @property
    def layout(self) -> Layout:
        return self.spec.layout

    def memory_config(self) -> MemoryConfig:
        return self.spec.memory_config

    def is_sharded(self) -> bool:
        return self.spec.memory_config.is_sharded()

    def device(self) -> MeshDevice | None:
        return self._device

    def storage_type(self) -> StorageType:
        return StorageType.HOST if self._device is None else StorageType.DEVICE

    def is_allocated(self) -> bool:
        return self.storage.allocated

    def deallocate(self, force: bool = True) -> None:
        """Give the memory back. Views of the tensor die with it; any later use raises."""
        if not force:
            raise NotImplementedError("deallocate: force=False is not implemented")
        self.storage.allocated = self.storage.mutable = False
        self.storage.values = None

    def values(self) -> torch.Tensor:
        """[D, *shape], D = 1 or the number of shards. What nothing has written yet (memory of `empty`, the result of a
        captured operation that has not run) is garbage."""
        values = self.storage.values
        if values is None:
            return garbage(self.shape, self.dtype)
        if self._shard is not None:
            index = self._shard if values.shape[0] > 1 else 0
            values = values[index : index + 1]
        shape = (values.shape[0], *self.spec.shape)
        return values if values.shape == shape else values.reshape(shape)

    def values_or(self, *forms: type[Unmade]) -> Unmade | torch.Tensor:
        """Values that are kept in one of the forms as they are kept."""
        unmade = self.storage.unmade
        if not isinstance(unmade, forms) or self._shard is not None:
            return self.values()
        if isinstance(unmade, Halves):
            return unmade.seen_as(self.spec.shape)
        return self.values() if isinstance(unmade, Narrow) and unmade.shape[1:] != self.spec.shape else unmade

    def shared_storage(self) -> Storage:
        """A storage of its own with the same values; what was not made yet stays so."""
        return self.storage.shared() if self._shard is None else Storage(self.values())

    def __repr__(self) -> str:
        where = "host" if self._device is None else repr(self._device)
        return f"ttnn_cpu.Tensor({self.spec!r}, {where})"


def deallocate(tensor: Tensor, force: bool = True) -> None:
    tensor.deallocate(force)
