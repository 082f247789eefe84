"""Other layout or place for the same values: tilize, untilize, reshard."""

from __future__ import annotations

from ttnn_cpu.blocks import Blocks
from ttnn_cpu.by_rows import ByRows
from ttnn_cpu.checks import check_options, check_type, fail
from ttnn_cpu.chip_rounding import moved, packed
from ttnn_cpu.dispatch import mesh_of, run
from ttnn_cpu.enums import BLOCK_FLOATS, TILE_SIZE, DataType, Layout
from ttnn_cpu.memory import DRAM_MEMORY_CONFIG, MemoryConfig
from ttnn_cpu.spec import tensor_spec
from ttnn_cpu.tensor import Tensor


def _moved(
    operation: str, tensor: Tensor, layout: Layout, memory_config: MemoryConfig | None, dtype: DataType | None = None
) -> Tensor:
    have = tensor.spec
    want = dtype or have.dtype
    spec = tensor_spec(have.shape, want, layout, memory_config or have.memory_config)
    rounding = moved if want is have.dtype else packed
    return run(operation, [tensor], [spec], lambda x: x, takes=(Blocks, ByRows), rounding=rounding)[0]


def _row_major_dtype(dtype: DataType) -> DataType:
    return DataType.BFLOAT16 if dtype in BLOCK_FLOATS else dtype


def to_layout(
    tensor: Tensor, layout: Layout, dtype: DataType | None = None, memory_config: MemoryConfig | None = None
) -> Tensor:
    """Tiles to row major or back; block floats become bf16 in row major. `dtype` only with TILE. A tensor that has the
    layout already comes back as it is."""
    check_options("to_layout", memory_config=memory_config, dtype=dtype)
    check_type("to_layout", "layout", layout, Layout)
    mesh_of("to_layout", tensor)
    have = tensor.spec
    if layout is have.layout:
        if dtype not in (None, have.dtype):
            raise fail("to_layout", f"the tensor has layout {layout.name} already, use typecast to change its dtype")
        return tensor
    if layout is Layout.TILE:
        return _moved("to_layout", tensor, layout, memory_config, dtype)
    row_major = _row_major_dtype(have.dtype)
    if dtype not in (None, row_major):
        raise fail(
            "to_layout", "dtype cannot be different from tensor dtype when converting to ROW_MAJOR_LAYOUT on device"
        )
    return _moved("to_layout", tensor, layout, memory_config, row_major)


def tilize(tensor: Tensor, *, memory_config: MemoryConfig | None = None, dtype: DataType | None = None) -> Tensor:
    """Row major to tiles; height and width must be whole tiles."""
    check_options("tilize", memory_config=memory_config, dtype=dtype)
    mesh_of("tilize", tensor)
    have = tensor.spec
    if have.layout is not Layout.ROW_MAJOR:
        raise fail("tilize", "Can only tilize row major data")
    if len(have.shape) < 2 or have.shape[-2] % TILE_SIZE:
        raise fail("tilize", f"Input tensor height of {have.shape!r} must be divisible by tile height ({TILE_SIZE})")
    if have.shape[-1] % TILE_SIZE:
        raise fail("tilize", f"Input tensor width ({have.shape[-1]}) must be divisible by tile width ({TILE_SIZE})")
    return _moved("tilize", tensor, Layout.TILE, memory_config, dtype)


def untilize(tensor: Tensor, *, memory_config: MemoryConfig | None = None, use_multicore: bool = True) -> Tensor:
    """Tiles to row major; block floats become bf16. `use_multicore` makes no difference."""
    check_options("untilize", memory_config=memory_config)
    check_type("untilize", "use_multicore", use_multicore, bool)
    mesh_of("untilize", tensor)
    if tensor.spec.layout is not Layout.TILE:
        raise fail("untilize", "Can only untilize tile major data")
    return _moved("untilize", tensor, Layout.ROW_MAJOR, memory_config, _row_major_dtype(tensor.spec.dtype))


def to_memory_config(tensor: Tensor, memory_config: MemoryConfig, dtype: DataType | None = None) -> Tensor:
    """A copy in another place, or the tensor itself if it is there already."""
    check_options("to_memory_config", dtype=dtype)
    check_type("to_memory_config", "memory_config", memory_config, MemoryConfig)
    mesh_of("to_memory_config", tensor)
    if memory_config == tensor.spec.memory_config and dtype in (None, tensor.spec.dtype):
        return tensor
    return _moved("to_memory_config", tensor, tensor.spec.layout, memory_config, dtype)


def interleaved_to_sharded(
    input_tensor: Tensor, sharded_memory_config: MemoryConfig, output_dtype: DataType | None = None
) -> Tensor:
    operation = "interleaved_to_sharded"
    check_options(operation, dtype=output_dtype)
    check_type(operation, "sharded_memory_config", sharded_memory_config, MemoryConfig)
    mesh_of(operation, input_tensor)
    if input_tensor.is_sharded():
        layout = input_tensor.spec.memory_config.memory_layout.name
        raise fail(operation, f"Input tensor memory layout must be INTERLEAVED, but got {layout}")
    if not sharded_memory_config.is_sharded():
        raise fail(operation, "Output memory config must be sharded")
    return _moved(operation, input_tensor, input_tensor.spec.layout, sharded_memory_config, output_dtype)


def sharded_to_interleaved(
    input_tensor: Tensor, memory_config: MemoryConfig | None = None, output_dtype: DataType | None = None
) -> Tensor:
    """To DRAM without `memory_config`. An interleaved tensor comes back as it is, as from ttnn."""
    operation = "sharded_to_interleaved"
    check_options(operation, memory_config=memory_config, dtype=output_dtype)
    mesh_of(operation, input_tensor)
    placement = memory_config or DRAM_MEMORY_CONFIG
    if placement.is_sharded():
        raise fail(operation, "Output memory config must be interleaved")
    if not input_tensor.is_sharded():
        return input_tensor
    return _moved(operation, input_tensor, input_tensor.spec.layout, placement, output_dtype)
