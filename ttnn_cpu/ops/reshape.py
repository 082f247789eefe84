"""New shapes for the same values: reshape, unsqueeze, transpose, permute."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ttnn_cpu.checks import check_options, check_type, dim_of, fail, not_implemented
from ttnn_cpu.chip_rounding import moved
from ttnn_cpu.dispatch import Values, mesh_of, run
from ttnn_cpu.enums import TILE_SIZE, BufferType, Layout
from ttnn_cpu.memory import DRAM_MEMORY_CONFIG, L1_MEMORY_CONFIG, MemoryConfig
from ttnn_cpu.spec import Shape, padded, tensor_spec
from ttnn_cpu.tensor import Tensor


def _view(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """The same storage under another shape."""
    have = tensor.spec
    spec = tensor_spec(shape, have.dtype, have.layout, have.memory_config)
    return Tensor(spec, tensor.storage, tensor.device(), tensor.shards)


def _keeps_memory(have: Shape, want: Shape, layout: Layout) -> bool:
    """Whether the bytes of a tensor stay where they are: rows are not cut, and no tile is."""
    have, want = Shape((1, 1, *have)[-max(2, len(have)) :]), Shape((1, 1, *want)[-max(2, len(want)) :])
    if have[-1] != want[-1]:
        return False
    if layout is Layout.ROW_MAJOR or have[-2] == want[-2]:
        return True
    return have[-2] % TILE_SIZE == 0 and want[-2] % TILE_SIZE == 0


def _wanted_shape(have: Shape, shape: Sequence[int]) -> Shape:
    """Fill in one -1."""
    extents = list(shape)
    if extents.count(-1) == 1:
        rest = prod(extent for extent in extents if extent != -1)
        extents[extents.index(-1)] = prod(have) // rest if rest else 0
    if prod(extents) != prod(have) or any(extent < 0 for extent in extents):
        raise fail("reshape", f"Invalid arguments to reshape: {have!r} to {list(shape)}")
    return Shape(extents)


def reshape(
    input_tensor: Tensor,
    shape: Sequence[int],
    padded_shape: Sequence[int] | None = None,
    *,
    memory_config: MemoryConfig | None = None,
) -> Tensor:
    """The same values in row-major order under another shape; a view where ttnn's is one.

    With `padded_shape` the logical shape changes within the tiles' padding: `reshape(x, (1, 1, 5, 64), (1, 1, 32, 64))`
    takes the first 5 of 32 rows, and the other way round exposes padding, whose values are undefined (0 here).
    """
    check_options("reshape", memory_config=memory_config)
    mesh_of("reshape", input_tensor)
    have = input_tensor.spec
    if padded_shape is not None:
        return _reshape_in_padding(input_tensor, Shape(shape), Shape(padded_shape))
    want = _wanted_shape(have.shape, shape)
    placement = memory_config or have.memory_config
    if _keeps_memory(have.shape, want, have.layout) and placement == have.memory_config:
        return _view(input_tensor, want)
    if input_tensor.is_sharded() or placement.is_sharded():
        raise not_implemented("reshape", "a sharded tensor whose rows or tiles are cut", (have.shape, want))
    spec = tensor_spec(want, have.dtype, have.layout, placement)
    return run("reshape", [input_tensor], [spec], lambda x: x.reshape(x.shape[0], *want), rounding=moved)[0]


def _reshape_in_padding(tensor: Tensor, want: Shape, padded_shape: Shape) -> Tensor:
    have = tensor.spec
    if padded_shape != padded(want, have.layout):
        raise not_implemented("reshape", "padded_shape", padded_shape)
    if prod(padded_shape) > prod(have.padded_shape):
        raise fail(
            "reshape", f"MeshBuffer must be large enough to hold the tensor: {have.padded_shape!r} to {padded_shape!r}"
        )
    if padded_shape != have.padded_shape or want[-1] != have.shape[-1] or want[:-2] != have.shape[:-2]:
        raise not_implemented("reshape", "a change within the padding other than of the rows", (have.shape, want))
    rows, wanted_rows = have.shape[-2], want[-2]
    if rows == wanted_rows:
        return _view(tensor, want)

    def compute(x: Values) -> Values:
        if wanted_rows < rows:
            return x[..., :wanted_rows, :]
        out = x.new_zeros(x.shape[0], *want)
        out[..., :rows, :] = x
        return out

    spec = tensor_spec(want, have.dtype, have.layout, have.memory_config)
    return run("reshape", [tensor], [spec], compute, rounding=moved)[0]


def unsqueeze_to_4D(tensor: Tensor) -> Tensor:
    """A view with leading dims of 1: [32, 64] -> [1, 1, 32, 64]."""
    mesh_of("unsqueeze_to_4D", tensor)
    shape = tensor.spec.shape
    if len(shape) > 4:
        raise fail("unsqueeze_to_4D", f"the tensor has more than 4 dims: {shape!r}")
    return _view(tensor, (1,) * (4 - len(shape)) + shape)


def permute(input_tensor: Tensor, dims: Sequence[int], *, memory_config: MemoryConfig | None = None) -> Tensor:
    """Dim i of the result is dim `dims[i]` of the input. A sharded input gives an interleaved result."""
    return _permute("permute", input_tensor, dims, memory_config)


def transpose(input_tensor: Tensor, dim1: int, dim2: int, *, memory_config: MemoryConfig | None = None) -> Tensor:
    """Exchange two dims. A sharded input gives an interleaved result."""
    check_type("transpose", "input_tensor", input_tensor, Tensor)
    dims = list(range(len(input_tensor.spec.shape)))
    one, other = dim_of("transpose", input_tensor, dim1), dim_of("transpose", input_tensor, dim2)
    dims[one], dims[other] = other, one
    return _permute("transpose", input_tensor, dims, memory_config)


def _permute(operation: str, tensor: Tensor, dims: Sequence[int], memory_config: MemoryConfig | None) -> Tensor:
    check_options(operation, memory_config=memory_config)
    mesh_of(operation, tensor)
    have = tensor.spec
    order = [dim_of(operation, tensor, dim) for dim in dims]
    if sorted(order) != list(range(len(have.shape))):
        raise fail(operation, f"The number of dimensions in the tensor input does not match the ordering {list(dims)}")
    placement = memory_config or have.memory_config
    if memory_config is None and tensor.is_sharded():
        placement = L1_MEMORY_CONFIG if placement.buffer_type is BufferType.L1 else DRAM_MEMORY_CONFIG
    if placement.is_sharded():
        raise not_implemented(operation, "memory_config", placement)
    spec = tensor_spec([have.shape[d] for d in order], have.dtype, have.layout, placement)
    axes = (0, *(d + 1 for d in order))
    return run(operation, [tensor], [spec], lambda x: x.permute(axes).contiguous(), rounding=moved)[0]
