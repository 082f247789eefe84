"""Rows of a table by their numbers."""

from __future__ import annotations

from math import prod

from ttnn_cpu.blocks import Blocks
from ttnn_cpu.checks import check_dtype, check_layout, check_options, check_type, fail, not_implemented
from ttnn_cpu.chip_rounding import as_is, moved
from ttnn_cpu.dispatch import Values, as_stored, mesh_of, run
from ttnn_cpu.enums import FLOATS, DataType, Layout
from ttnn_cpu.memory import MemoryConfig
from ttnn_cpu.spec import tensor_spec
from ttnn_cpu.tensor import Tensor


def embedding(
    input_tensor: Tensor,
    weight: Tensor,
    *,
    layout: Layout | None = None,
    dtype: DataType | None = None,
    memory_config: MemoryConfig | None = None,
) -> Tensor:
    """uint32 row-major ids [B, (1, 1,) S] and a bf16 row-major table [(1, 1,) V, W] -> [B, S, W]; ids [S] -> [S, W].

    `layout` defaults to the table's, the place to that of the ids. Another `dtype` than bf16 needs the TILE layout.
    Raises RuntimeError for an id that is not in the table.
    """
    check_options("embedding", memory_config=memory_config, dtype=dtype)
    mesh_of("embedding", input_tensor, weight)
    ids, table = input_tensor.spec, weight.spec
    if ids.dtype is not DataType.UINT32:
        raise fail("embedding", f"Input must be UINT32, got {ids.dtype.name}")
    check_layout("embedding", "input_tensor", input_tensor, Layout.ROW_MAJOR)
    check_layout("embedding", "weight", weight, Layout.ROW_MAJOR)
    check_dtype("embedding", "weight", weight, DataType.BFLOAT16)
    if prod(table.shape[:-2]) != 1:
        raise fail("embedding", f"First two dimensions for the weights must be 1 but got {table.shape!r}")
    if prod(ids.shape[1:-1]) != 1:
        raise fail("embedding", f"ids must be [B, 1, 1, S]: the middle dims of {ids.shape!r} would be dropped")
    if layout is not None:
        check_type("embedding", "layout", layout, Layout)
    layout = layout or table.layout
    if dtype not in (None, table.dtype) and layout is not Layout.TILE:
        raise fail("embedding", "Can only typecast output embeddings when producing TILE_LAYOUT output")
    if dtype is not None and dtype not in FLOATS:
        raise not_implemented("embedding", "dtype", dtype)
    vocabulary, width = table.shape[-2:]
    shape = (*ids.shape[:1], *ids.shape[-1:], width) if len(ids.shape) > 1 else (*ids.shape, width)

    def compute(rows: Values, values: Values | Blocks) -> Values:
        if rows.numel() and (int(rows.max()) >= vocabulary or int(rows.min()) < 0):
            raise fail("embedding", f"id {int(rows.max())} is out of range for a table of {vocabulary} rows")
        flat = rows.reshape(rows.shape[0], -1)
        if isinstance(values, Blocks):
            kept = values.mapped(lambda kept: as_stored(kept, spec.dtype, moved))
            return kept.rows(flat.expand(len(kept.in_use), -1)).reshape(-1, *shape)
        values = as_stored(values.reshape(values.shape[0], vocabulary, width), spec.dtype, moved)
        if values.shape[0] == 1:
            found = values[0][flat]
        else:
            flat = flat.expand(values.shape[0], -1)
            found = values.gather(1, flat.unsqueeze(-1).expand(-1, -1, width))
        return found.reshape(found.shape[0], *shape)

    spec = tensor_spec(shape, dtype or table.dtype, layout, memory_config or ids.memory_config)
    return run("embedding", [input_tensor, weight], [spec], compute, takes=(Blocks,), rounding=as_is)[0]
