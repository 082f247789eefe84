"""All parallelism: which tensor is whole on every chip or split over the chips, and what joins the parts.

Layers call these functions by intent; no other file knows a mapper, a mesh dimension or a collective.

    attention    tensor parallel: each chip has n_heads/n query heads and n_kv_heads/n KV heads
    experts      expert parallel: each chip has num_experts/n whole experts
    LM head      each chip has its share of the vocabulary's columns, padded (`layouts.vocabulary_columns`)
    residual     decode: whole on every chip; prefill: each chip has 1/n of the rows
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

import torch
import ttnn

from models.mixtral8x7b.config import ConfigError, MixtralConfig
from models.mixtral8x7b.tt.layouts import ALL_CORES, GRID, TILE

MESH_SIZES = (1, 2, 4, 8)
_OPENED = " (of a T3000 the real ttnn opens all 8 chips, or 1)"
MOST_HEADS = 32  # query heads of a chip: ttnn's decode has one tile of rows for them
WIDEST_HEAD = 256  # head_dim that ttnn's rotary embedding takes
AXIS = 1  # the mesh is 1 x n: chips are counted along its second axis
TRACE_REGION_BYTES = 64 << 20  # for the recorded decode step; 5.6 MB of each DRAM bank
# A collective's semaphores live as long as its program. They get a region of their own: allocated between tensors, one
# of them splits L1 for good, and the prefill norm, which needs 1.25 of 1.36 MB in one piece, no longer fits.
SEMAPHORE_REGION_BYTES = 32 << 10  # of each core; a collective keeps 64 or 128 of them for each shape it meets
# A T3000's 8 chips are a ring along the border of its 2x4 grid. A line, which goes back the way it came, is slower and
# is there for a machine or a ttnn on which the ring hangs.
FABRICS = {"ring": ttnn.FabricConfig.FABRIC_1D_RING, "line": ttnn.FabricConfig.FABRIC_1D}


class Placement(Enum):
    """How a 4-D host tensor is laid over the chips; the value is the dimension that is split."""

    REPLICATED = None
    ONE_PER_DEVICE = 0  # [n, 1, rows, columns]: slice d goes to chip d
    SPLIT_ROWS = 2
    SPLIT_COLUMNS = 3


class Mesh:
    """n chips in a row, opened. Joining results is a no-op when there is only one."""

    def __init__(self, device: ttnn.MeshDevice) -> None:
        self.device = device
        self.n_devices: int = device.get_num_devices()
        grid = device.compute_with_storage_grid_size()
        if grid.x < GRID[0] or grid.y < GRID[1]:
            raise ConfigError(
                f"the chips offer {grid.x}x{grid.y} worker cores; {GRID[0]}x{GRID[1]} are needed: "
                "make ttnn dispatch on ethernet cores"
            )

    @property
    def dram_banks(self) -> int:
        return self.device.dram_grid_size().x

    # ---------------------------------------------------------------- laying out

    def mapper(self, placement: Placement) -> ttnn.TensorToMesh:
        if placement.value is None:
            return ttnn.ReplicateTensorToMesh(self.device)
        return ttnn.ShardTensorToMesh(self.device, dim=placement.value)

    def local_shape(self, shape: tuple[int, ...], placement: Placement) -> list[int]:
        """The shape of each chip's part."""
        local = list(shape)
        if placement.value is not None:
            local[placement.value] //= self.n_devices
        return local

    def to_host(
        self, tensor: torch.Tensor, placement: Placement, dtype: ttnn.DataType, layout: ttnn.Layout
    ) -> ttnn.Tensor:
        """A host tensor in device format, one part per chip."""
        return ttnn.from_torch(tensor, dtype=dtype, layout=layout, mesh_mapper=self.mapper(placement))

    def put(
        self,
        tensor: torch.Tensor,
        dtype: ttnn.DataType,
        layout: ttnn.Layout = ttnn.ROW_MAJOR_LAYOUT,
        placement: Placement = Placement.REPLICATED,
        memory_config: ttnn.MemoryConfig = ttnn.DRAM_MEMORY_CONFIG,
    ) -> ttnn.Tensor:
        """A tensor on the chips."""
        return ttnn.to_device(self.to_host(tensor, placement, dtype, layout), self.device, memory_config=memory_config)

    def update(self, target: ttnn.Tensor, tensor: torch.Tensor) -> None:
        """Overwrites a replicated tensor on the chips, in place."""
        host = self.to_host(tensor, Placement.REPLICATED, target.dtype, target.layout)
        ttnn.copy_host_to_device_tensor(host, target)

    def read_replicated(self, tensor: ttnn.Tensor) -> torch.Tensor:
        """The first chip's copy; all chips hold the same."""
        return ttnn.to_torch(ttnn.get_device_tensors(tensor)[0])

    def begin_read(self, tensor: ttnn.Tensor) -> tuple[ttnn.Tensor, ttnn.MeshEvent]:
        """One chip's tensor as what was called so far leaves it, on its way to the host: there when the event is over,
        whatever is called meanwhile."""
        host = ttnn.from_device(tensor, blocking=False)
        return host, ttnn.record_event(self.device, 0)

    def read_columns(self, tensor: ttnn.Tensor) -> torch.Tensor:
        """The chips' columns side by side."""
        return ttnn.to_torch(tensor, mesh_composer=ttnn.ConcatMeshToTensor(self.device, dim=3))

    def read_rows(self, tensor: ttnn.Tensor) -> torch.Tensor:
        """The chips' rows one below the other."""
        return ttnn.to_torch(tensor, mesh_composer=ttnn.ConcatMeshToTensor(self.device, dim=2))

    # ---------------------------------------------------------------- joining

    def dtype_of_parts(self, wanted: ttnn.DataType) -> ttnn.DataType:
        """Of what is summed over the chips: as wanted where it is sent, bf16 where there is one chip."""
        return wanted if self.n_devices > 1 else ttnn.bfloat16

    def sum_over_devices(self, x: ttnn.Tensor, memory_config: ttnn.MemoryConfig) -> ttnn.Tensor:
        """The sum of all chips' x, whole on every chip. Frees x.

        Reduce-scatter by columns, then all-gather: a column is added on one chip only, so all chips get the same bits.
        """
        if self.n_devices == 1:
            return _moved(x, memory_config)
        return self._gathered(self._summed_part(x, 3, ttnn.L1_MEMORY_CONFIG), 3, memory_config)

    def sum_and_split_rows(self, x: ttnn.Tensor) -> ttnn.Tensor:
        """The sum of all chips' x, each chip keeping its 1/n of the rows, in DRAM. Frees x."""
        return x if self.n_devices == 1 else self._summed_part(x, 2, ttnn.DRAM_MEMORY_CONFIG)

    def gather_columns(self, x: ttnn.Tensor, memory_config: ttnn.MemoryConfig) -> ttnn.Tensor:
        """The chips' columns side by side, whole on every chip. Frees x."""
        return _moved(x, memory_config) if self.n_devices == 1 else self._gathered(x, 3, memory_config)

    def gather_rows(self, x: ttnn.Tensor) -> ttnn.Tensor:
        """The chips' rows one below the other, whole on every chip, in DRAM. Frees x."""
        return x if self.n_devices == 1 else self._gathered(x, 2, ttnn.DRAM_MEMORY_CONFIG)

    def _summed_part(self, x: ttnn.Tensor, dim: int, memory_config: ttnn.MemoryConfig) -> ttnn.Tensor:
        part = ttnn.reduce_scatter(
            x, dim=dim, cluster_axis=AXIS, memory_config=memory_config, use_l1_small_for_semaphores=True
        )
        ttnn.deallocate(x)
        return part

    def _gathered(self, x: ttnn.Tensor, dim: int, memory_config: ttnn.MemoryConfig) -> ttnn.Tensor:
        whole = ttnn.all_gather(x, dim=dim, cluster_axis=AXIS, memory_config=memory_config)
        ttnn.deallocate(x)
        return whole


def _moved(x: ttnn.Tensor, memory_config: ttnn.MemoryConfig) -> ttnn.Tensor:
    if x.memory_config() == memory_config:
        return x
    moved = ttnn.to_memory_config(x, memory_config)
    ttnn.deallocate(x)
    return moved


def check_split(config: MixtralConfig, n_devices: int) -> None:
    """Raises ConfigError, with the numbers of chips that would do, unless the model divides over n_devices chips into
    whole experts, heads and tiles that ttnn takes. The vocabulary and the experts' hidden width are padded."""
    problem = _problem(config, n_devices)
    if problem is None:
        return
    *others, last = [str(n) for n in MESH_SIZES if _problem(config, n) is None] or [""]
    if not last:
        raise ConfigError(f"{problem}; this model runs on no number of chips")
    raise ConfigError(f"{problem}; use --chips {' or '.join([', '.join(others), last] if others else [last])}{_OPENED}")


def _problem(config: MixtralConfig, n: int) -> str | None:
    """What keeps the model from n chips."""
    chips = f"over {n} chips"
    for name, value in (("moe.num_experts", config.moe.num_experts), ("n_kv_heads", config.n_kv_heads)):
        if value % n:
            return f"{name} is {value}, which does not divide {chips}"
    if config.dim % TILE or config.head_dim % TILE:
        name, value = ("dim", config.dim) if config.dim % TILE else ("head_dim", config.head_dim)
        return f"{name} is {value}; ttnn needs a multiple of {TILE}"
    if config.head_dim > WIDEST_HEAD:
        return f"head_dim is {config.head_dim}; ttnn turns heads of at most {WIDEST_HEAD}"
    if config.dim % (n * TILE):  # the decode residual is reduce-scattered by columns
        return f"dim is {config.dim}, which does not divide {chips} in columns of {TILE}"
    heads, kv_heads = config.n_heads // n, config.n_kv_heads // n
    if heads > MOST_HEADS or heads + 2 * kv_heads > ALL_CORES:
        return (
            f"n_heads is {config.n_heads} and n_kv_heads {config.n_kv_heads}, too many {chips}: ttnn takes "
            f"{MOST_HEADS} query heads of a chip, and {ALL_CORES} of queries, keys and values together"
        )
    return None


@contextmanager
def open_mesh(n_devices: int, fabric: str = "ring") -> Iterator[Mesh]:
    """Opens 1 x n chips, joined by the fabric, all 8x8 worker cores free (dispatch on ethernet cores); closes them.

    fabric: how collectives go round the chips, one of FABRICS. Raises ConfigError for another one, and for a number of
    chips that is not in MESH_SIZES, or that ttnn does not open here: of a T3000 the real one opens all 8, or 1.
    """
    if n_devices not in MESH_SIZES:
        raise ConfigError(f"{n_devices} chips; expected one of {', '.join(map(str, MESH_SIZES))}")
    if fabric not in FABRICS:
        raise ConfigError(f"the fabric is {fabric!r}; expected one of {', '.join(FABRICS)}")
    if n_devices > 1:
        ttnn.set_fabric_config(FABRICS[fabric])
    try:
        device = _opened(n_devices)
        try:
            yield Mesh(device)
        finally:
            ttnn.close_mesh_device(device)
    finally:
        if n_devices > 1:
            ttnn.set_fabric_config(ttnn.FabricConfig.DISABLED)


def _opened(n_devices: int) -> ttnn.MeshDevice:
    try:
        return ttnn.open_mesh_device(
            ttnn.MeshShape(1, n_devices),
            l1_small_size=SEMAPHORE_REGION_BYTES,
            trace_region_size=TRACE_REGION_BYTES,
            dispatch_core_config=ttnn.DispatchCoreConfig(ttnn.DispatchCoreType.ETH),
        )
    except RuntimeError as error:
        if 1 < n_devices < max(MESH_SIZES):
            raise ConfigError(
                f"ttnn does not open {n_devices} chips here{_OPENED}; use --chips 8 or 1, or --target cpu"
            ) from error
        raise
