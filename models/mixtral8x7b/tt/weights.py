"""Where a layer gets its weights from: a protocol, and the source that has none.

A layer asks for a tensor by name, with its global shape and a function that makes it from the checkpoint. Only a source
that needs the numbers calls the function: a warm cache does not, and `EmptyWeights` never does.
"""

from collections.abc import Callable
from typing import Protocol, TypeAlias

import torch
import ttnn

from models.mixtral8x7b.config import MixtralConfig
from models.mixtral8x7b.tt.mesh import Mesh, Placement

ReadTensor: TypeAlias = Callable[[str], torch.Tensor]  # our name of a weight -> [out, in] (or [width] of a norm)
MakeTensor: TypeAlias = Callable[[ReadTensor], torch.Tensor]


class Weights(Protocol):
    config: MixtralConfig

    def load(
        self,
        name: str,
        shape: tuple[int, int, int, int],
        make: MakeTensor,
        dtype: ttnn.DataType,
        placement: Placement,
        layout: ttnn.Layout = ttnn.TILE_LAYOUT,
        memory_config: ttnn.MemoryConfig = ttnn.DRAM_MEMORY_CONFIG,
    ) -> ttnn.Tensor:
        """The tensor on the chips. `shape` is that of the whole, which `make` returns and `placement` divides."""

    def finish(self) -> None:
        """Called once, after the last load."""


class EmptyWeights:
    """Allocates every weight on the chips and writes nothing: to show that a model fits and its program is legal."""

    def __init__(self, config: MixtralConfig, mesh: Mesh) -> None:
        self.config = config
        self._mesh = mesh

    def load(
        self,
        name: str,
        shape: tuple[int, int, int, int],
        make: MakeTensor,
        dtype: ttnn.DataType,
        placement: Placement,
        layout: ttnn.Layout = ttnn.TILE_LAYOUT,
        memory_config: ttnn.MemoryConfig = ttnn.DRAM_MEMORY_CONFIG,
    ) -> ttnn.Tensor:
        local = self._mesh.local_shape(shape, placement)
        return ttnn.empty(local, dtype=dtype, layout=layout, device=self._mesh.device, memory_config=memory_config)

    def finish(self) -> None:
        pass
