"""Reductions: sum, topk, argmax."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ttnn_cpu.checks import check_interleaved, check_layout, check_options, check_type, dim_of, fail, not_implemented
from ttnn_cpu.configs import WormholeComputeKernelConfig
from ttnn_cpu.dispatch import Values, mesh_of, run
from ttnn_cpu.enums import BLOCK_FLOATS, FLOATS, DataType, Layout
from ttnn_cpu.loops import in_threads
from ttnn_cpu.memory import MemoryConfig
from ttnn_cpu.spec import tensor_spec
from ttnn_cpu.tensor import Tensor
from ttnn_cpu.vector_loops import first_in_order

_STEPS = 16  # to put a value in its place
# wider rows need 32-bit indices
_MAX_UINT16_WIDTH = 65536


def sum(
    input_tensor: Tensor,
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
    *,
    memory_config: MemoryConfig | None = None,
    compute_kernel_config: WormholeComputeKernelConfig | None = None,
) -> Tensor:
    """The sum along `dim` (one, several or, with None, all) in the input's dtype and layout."""
    check_options("sum", memory_config=memory_config, compute_kernel_config=compute_kernel_config)
    mesh_of("sum", input_tensor)
    check_interleaved("sum", "the input", input_tensor)
    have = input_tensor.spec
    dims = range(len(have.shape)) if dim is None else [dim] if isinstance(dim, int) else dim
    axes = sorted({dim_of("sum", input_tensor, d) for d in dims})
    shape = [1 if i in axes else n for i, n in enumerate(have.shape) if keepdim or i not in axes]

    def compute(x: Values) -> Values:
        return x.sum([axis + 1 for axis in axes]).reshape(x.shape[0], *shape)

    spec = tensor_spec(shape, have.dtype, have.layout, memory_config or have.memory_config)
    return run("sum", [input_tensor], [spec], compute)[0]


def top_indices(values: Values, k: int, largest: bool = True) -> Values:
    """The indices of the k first elements of every row in order, the lowest index first among equals."""
    rows = values.contiguous().view(-1, values.shape[-1])
    indices = torch.empty(rows.shape[0], k, dtype=torch.int64)
    given = rows.view(torch.int32).numpy(), largest, indices.numpy()
    in_threads(lambda first, end: first_in_order(*given, first, end), rows.shape[0], rows.numel() * _STEPS)
    return indices.view(*values.shape[:-1], k)


def topk(
    input_tensor: Tensor,
    k: int = 32,
    dim: int = -1,
    largest: bool = True,
    sorted: bool = True,
    *,
    memory_config: MemoryConfig | None = None,
    stable: bool = False,
) -> list[Tensor]:
    """[values, indices] of the k largest (or smallest) elements along `dim`, in order; float tiles, interleaved.

    Among equal values the lowest index comes first, with `stable` or without. With `stable` a -0 comes back as +0.
    Indices are uint16, or uint32 for a float32 input or a width above 65536.
    """
    check_options("topk", memory_config=memory_config)
    for name, value in (("largest", largest), ("sorted", sorted), ("stable", stable)):
        check_type("topk", name, value, bool)
    check_type("topk", "k", k, int)
    mesh_of("topk", input_tensor)
    have = input_tensor.spec
    if have.layout is not Layout.TILE:
        raise fail("topk", "The input must be in tiled format")
    if have.dtype not in FLOATS - {DataType.BFLOAT4_B}:
        raise fail("topk", f"Input tensor must be BFLOAT16, BFLOAT8_B, or FLOAT32, got: {have.dtype.name}")
    placement = memory_config or have.memory_config
    if input_tensor.is_sharded() or placement.is_sharded():
        raise fail("topk", "Sharded implementation not supported yet")
    axis = dim_of("topk", input_tensor, dim)
    if k > have.shape[axis]:
        raise fail("topk", f"K cannot be larger than the dimension size! K={k}, dimension size={have.shape[axis]}")
    if k < 1:
        raise fail("topk", f"K must be positive, got {k}")
    shape = (*have.shape[:axis], k, *have.shape[axis + 1 :])
    wide = have.dtype is DataType.FLOAT32 or have.padded_shape[axis] > _MAX_UINT16_WIDTH
    index_dtype = DataType.UINT32 if wide else DataType.UINT16

    def compute(x: Values) -> tuple[Values, Values]:
        rows = x.movedim(axis + 1, -1)
        indices = top_indices(rows, k, largest)
        values = torch.gather(rows, -1, indices)
        if stable:
            values = values + 0.0
        return values.movedim(-1, axis + 1), indices.movedim(-1, axis + 1)

    specs = [
        tensor_spec(shape, have.dtype, Layout.TILE, placement),
        tensor_spec(shape, index_dtype, Layout.TILE, placement),
    ]
    return run("topk", [input_tensor], specs, compute)


def argmax(
    input_tensor: Tensor,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    memory_config: MemoryConfig | None = None,
    output_tensor: Tensor | None = None,
) -> Tensor:
    """The index of the largest element of every row, the lowest one among equals: uint32, row major, interleaved.

    Only the last dim is implemented. `output_tensor` has the shape of the result.
    """
    check_options("argmax", memory_config=memory_config)
    mesh_of("argmax", input_tensor, output_tensor)
    check_interleaved("argmax", "the input", input_tensor)
    have = input_tensor.spec
    if dim is None or dim_of("argmax", input_tensor, dim) != len(have.shape) - 1:
        raise not_implemented("argmax", "dim", dim)
    if have.dtype not in FLOATS - BLOCK_FLOATS:
        raise fail("argmax", f"Only BFLOAT16, FLOAT32 are supported for inputs, got {have.dtype.name}")
    placement = memory_config or have.memory_config
    if placement.is_sharded():
        raise fail("argmax", "the output must be interleaved")
    shape = (*have.shape[:-1], 1) if keepdim else have.shape[:-1]
    if output_tensor is not None:
        check_layout("argmax", "output_tensor", output_tensor, Layout.ROW_MAJOR)
        if output_tensor.spec.dtype is not DataType.UINT32:
            raise fail("argmax", f"Only UINT32 is supported for outputs, got {output_tensor.spec.dtype.name}")
        if output_tensor.spec.shape != shape:
            raise fail("argmax", f"output_tensor must have shape {tuple(shape)}, got {output_tensor.spec.shape!r}")
    spec = tensor_spec(shape, DataType.UINT32, Layout.ROW_MAJOR, placement)
    return run(
        "argmax",
        [input_tensor],
        [spec],
        lambda x: top_indices(x, 1).reshape(x.shape[0], *shape),
        into=None if output_tensor is None else [output_tensor],
    )[0]
