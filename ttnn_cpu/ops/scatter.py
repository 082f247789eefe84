"""Write elements to places that an index tensor names."""

from __future__ import annotations

import torch

from ttnn_cpu.checks import check_dtype, check_options, dim_of, fail, not_implemented
from ttnn_cpu.chip_rounding import moved
from ttnn_cpu.dispatch import Values, mesh_of, run
from ttnn_cpu.enums import DataType
from ttnn_cpu.memory import MemoryConfig
from ttnn_cpu.spec import tensor_spec
from ttnn_cpu.tensor import Tensor


def scatter(
    input: Tensor, dim: int, index: Tensor, src: Tensor, *, memory_config: MemoryConfig | None = None
) -> Tensor:
    """A copy of `input` with src[.., i] written at index[.., i] along the last dim; indices past the end are skipped.

    index (an integer dtype) and src have one shape, and input's shape but for the last dim; src has input's dtype.
    """
    check_options("scatter", memory_config=memory_config)
    mesh_of("scatter", input, index, src)
    have = input.spec
    if dim_of("scatter", input, dim) != len(have.shape) - 1:
        raise not_implemented("scatter", "dim", dim)
    check_dtype("scatter", "index", index, DataType.INT32, DataType.UINT32, DataType.UINT16)
    if index.spec.shape != src.spec.shape or index.spec.shape[:-1] != have.shape[:-1]:
        raise fail(
            "scatter", f"shapes do not fit: input {have.shape!r}, index {index.spec.shape!r}, src {src.spec.shape!r}"
        )
    if src.spec.dtype is not have.dtype:
        raise fail("scatter", f"src must have input's dtype {have.dtype.name}, got {src.spec.dtype.name}")
    if input.is_sharded() or index.is_sharded() or src.is_sharded():
        raise not_implemented("scatter", "a sharded tensor", have.memory_config)
    width = have.shape[-1]

    def compute(x: Values, places: Values, values: Values) -> Values:
        devices = max(x.shape[0], places.shape[0], values.shape[0])
        x, places, values = (t.expand(devices, *t.shape[1:]) for t in (x, places, values))
        # one more column takes what is skipped
        skipped = torch.where((places < 0) | (places >= width), width, places).long()
        return torch.nn.functional.pad(x, (0, 1)).scatter(-1, skipped, values)[..., :width]

    spec = tensor_spec(have.shape, have.dtype, have.layout, memory_config or have.memory_config)
    return run("scatter", [input, index, src], [spec], compute, rounding=moved)[0]
