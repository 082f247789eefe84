"""The mesh: devices in a row, their worker grid, and what a program may ask of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ttnn_cpu.cores import CoreCoord, CoreGrid
from ttnn_cpu.enums import DispatchCoreType, FabricConfig

if TYPE_CHECKING:
    from ttnn_cpu.live_traces import LateAllocation
    from ttnn_cpu.random_state import RandomState
    from ttnn_cpu.trace import Trace

WORMHOLE_GRID = CoreCoord(8, 8)
WORMHOLE_DRAM_BANKS = CoreCoord(12, 1)
MESH_SIZES = (1, 2, 4, 8)

_fabric = FabricConfig.DISABLED
_specs_only = False


class MeshShape(tuple[int, ...]):
    """`MeshShape(1, 8)` or `MeshShape([1, 8])`: rows and columns of devices."""

    __slots__ = ()

    def __new__(cls, rows: int | Sequence[int], columns: int | None = None) -> MeshShape:
        extents = (rows, columns) if isinstance(rows, int) else tuple(rows)
        if len(extents) != 2 or not all(isinstance(extent, int) and extent > 0 for extent in extents):
            raise TypeError(f"MeshShape takes two positive integers or a sequence of them, got {rows!r}, {columns!r}")
        return super().__new__(cls, extents)  # type: ignore[arg-type]

    def mesh_size(self) -> int:
        return self[0] * self[1]

    def dims(self) -> int:
        return len(self)

    def __repr__(self) -> str:
        return f"MeshShape([{self[0]}, {self[1]}])"


@dataclass(frozen=True)
class DispatchCoreConfig:
    """Which cores dispatch work: on ethernet cores, all 8x8 workers are free."""

    type: DispatchCoreType | None = None


class MeshDevice:
    """A 1 x n mesh. Made by `open_mesh_device`."""

    def __init__(
        self, shape: MeshShape, l1_small_size: int, trace_region_size: int, fabric: FabricConfig, specs_only: bool
    ) -> None:
        from ttnn_cpu.random_state import RandomState

        self.shape = shape
        self.num_devices = shape.mesh_size()
        self.fabric = fabric
        self.l1_small_size = l1_small_size
        self.trace_region_size = trace_region_size
        # specs are checked and propagated, nothing is computed: a full-size model fits in a laptop
        self.specs_only = specs_only
        self.is_open = True
        self.capture: Trace | None = None
        self.traces: dict[int, Trace] = {}
        self.late_allocations: list[LateAllocation] = []
        # (operation, input specs, output specs) of every program built so far
        self.programs: set[tuple[object, ...]] = set()
        self.random: RandomState = RandomState()

    def get_num_devices(self) -> int:
        return self.num_devices

    def get_device_ids(self) -> list[int]:
        return list(range(self.num_devices))

    def compute_with_storage_grid_size(self) -> CoreCoord:
        return WORMHOLE_GRID

    def dram_grid_size(self) -> CoreCoord:
        return WORMHOLE_DRAM_BANKS

    @property
    def core_grid(self) -> CoreGrid:
        return CoreGrid(x=WORMHOLE_GRID.x, y=WORMHOLE_GRID.y)

    def num_program_cache_entries(self) -> int:
        return len(self.programs)

    def clear_program_cache(self) -> None:
        self.programs.clear()

    def __repr__(self) -> str:
        return f"MeshDevice({self.shape[0]}x{self.shape[1]} grid, {self.num_devices} devices)"


@contextmanager
def specs_only() -> Iterator[None]:
    """Meshes opened inside compute nothing: operations check their arguments and give outputs without values.

    This is no part of ttnn's API. `to_torch` of such an output gives a tensor on torch's meta device.
    """
    global _specs_only
    before, _specs_only = _specs_only, True
    try:
        yield
    finally:
        _specs_only = before


def set_fabric_config(config: FabricConfig) -> None:
    """The links between devices; set before the mesh is opened, because collectives need it."""
    global _fabric
    if not isinstance(config, FabricConfig):
        raise TypeError(f"set_fabric_config: config must be a FabricConfig, got {config!r}")
    _fabric = config


def get_num_devices() -> int:
    """Of a T3000."""
    return max(MESH_SIZES)


def open_mesh_device(
    mesh_shape: MeshShape,
    l1_small_size: int = 0,
    trace_region_size: int = 0,
    num_command_queues: int = 1,
    dispatch_core_config: DispatchCoreConfig | None = None,
) -> MeshDevice:
    """Open a 1 x n mesh, n in 1, 2, 4, 8.

    `dispatch_core_config` does not change values. One command queue; a trace needs a `trace_region_size`.
    """
    if not isinstance(mesh_shape, MeshShape):
        raise TypeError(f"open_mesh_device: mesh_shape must be a MeshShape, got {mesh_shape!r}")
    if dispatch_core_config is not None and not isinstance(dispatch_core_config, DispatchCoreConfig):
        raise TypeError(
            f"open_mesh_device: dispatch_core_config must be a DispatchCoreConfig, got {dispatch_core_config!r}"
        )
    if mesh_shape[0] != 1 or mesh_shape[1] not in MESH_SIZES:
        raise RuntimeError(f"open_mesh_device: meshes of 1 x {MESH_SIZES} devices are implemented, got {mesh_shape!r}")
    if num_command_queues != 1:
        raise NotImplementedError(
            f"open_mesh_device: num_command_queues={num_command_queues} is not implemented, only 1"
        )
    return MeshDevice(mesh_shape, l1_small_size, trace_region_size, _fabric, _specs_only)


def close_mesh_device(mesh_device: MeshDevice) -> None:
    mesh_device.is_open = False
    mesh_device.traces.clear()


def synchronize_device(device: MeshDevice) -> None:
    """Nothing is in flight here: every operation has finished when it returns."""
    if not device.is_open:
        raise RuntimeError("synchronize_device: the mesh is closed")
    if device.capture is not None:
        raise RuntimeError("Event synchronization is not supported during trace capture.")
