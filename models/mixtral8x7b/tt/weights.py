"""Where a layer gets its weights from: a protocol, and the source that has none.

A layer asks for a tensor by name, with its global shape and a function that makes a chip's part of it from the
checkpoint. Only a source that needs the numbers calls the function: a warm cache does not, and `EmptyWeights` never
does. Parts are made one by one, so that converting needs memory for a few of them only.
"""

from collections.abc import Callable
from typing import Protocol, TypeAlias

import torch
import ttnn

from models.mixtral8x7b.config import MixtralConfig
from models.mixtral8x7b.tt.mesh import Mesh, Placement

ReadTensor: TypeAlias = Callable[[str], torch.Tensor]  # our name of a weight -> [out, in] (or [width] of a norm)
MakePart: TypeAlias = Callable[[ReadTensor, int], torch.Tensor]  # the part of this chip


class Weights(Protocol):
    config: MixtralConfig

    def load(
        self,
        name: str,
        shape: tuple[int, int, int, int],
        make: MakePart,
        dtype: ttnn.DataType,
        placement: Placement,
        layout: ttnn.Layout = ttnn.TILE_LAYOUT,
        memory_config: ttnn.MemoryConfig = ttnn.DRAM_MEMORY_CONFIG,
    ) -> ttnn.Tensor:
        """The tensor on the chips. `shape` is that of the whole; `placement` says how it is divided into the parts that
        `make` gives. Where it is not divided, chip 0's part is everyone's."""


def with_rows(weight: torch.Tensor, rows: int) -> torch.Tensor:
    """[n, columns] with rows of zeros below, up to `rows`."""
    missing = rows - weight.shape[0]
    return torch.nn.functional.pad(weight, (0, 0, 0, missing)) if missing else weight


class EmptyWeights:
    """Allocates every weight on the chips and writes nothing: to show that a model fits and its program is legal."""

    def __init__(self, config: MixtralConfig, mesh: Mesh) -> None:
        self.config = config
        self._mesh = mesh

    def load(
        self,
        name: str,
        shape: tuple[int, int, int, int],
        make: MakePart,
        dtype: ttnn.DataType,
        placement: Placement,
        layout: ttnn.Layout = ttnn.TILE_LAYOUT,
        memory_config: ttnn.MemoryConfig = ttnn.DRAM_MEMORY_CONFIG,
    ) -> ttnn.Tensor:
        local = self._mesh.local_shape(shape, placement)
        return ttnn.empty(local, dtype=dtype, layout=layout, device=self._mesh.device, memory_config=memory_config)
