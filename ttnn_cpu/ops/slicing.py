"""Parts and joins: slice, concat, pad."""

from __future__ import annotations

import builtins
from collections.abc import Sequence

import torch

from ttnn_cpu.checks import check_dtype, check_layout, check_options, check_type, dim_of, fail, not_implemented
from ttnn_cpu.chip_rounding import moved
from ttnn_cpu.dispatch import Values, mesh_of, run
from ttnn_cpu.enums import BLOCK_FLOATS, TILE_SIZE, DataType, Layout
from ttnn_cpu.memory import MemoryConfig
from ttnn_cpu.spec import tensor_spec
from ttnn_cpu.tensor import Tensor


def slice(
    input_tensor: Tensor,
    slice_start: Sequence[int] | Tensor,
    slice_end: Sequence[int] | Tensor,
    *,
    slice_dim: int | None = None,
    num_devices: int | None = None,
    memory_config: MemoryConfig | None = None,
) -> Tensor:
    """input[start:end] in every dim, step 1; one start and one end per dim, negative ones count from the end.

    Of a block float tensor a slice that does not start on a tile comes back as bf16, as from ttnn (it goes through row
    major). With start and end as uint32 tensors [rank] their values do not shape the program: the result has
    1/num_devices of `slice_dim`, whatever they say.
    """
    check_options("slice", memory_config=memory_config)
    if isinstance(slice_start, Tensor) and isinstance(slice_end, Tensor):
        return _slice_by_tensors(input_tensor, slice_start, slice_end, slice_dim, num_devices, memory_config)
    assert not isinstance(slice_start, Tensor)
    assert not isinstance(slice_end, Tensor)
    mesh_of("slice", input_tensor)
    have = input_tensor.spec
    rank = len(have.shape)
    if len(slice_start) != rank or len(slice_end) != rank:
        raise fail("slice", f"Input rank {rank} and begins {len(slice_start)} must have the same size")
    starts = [s + n if s < 0 else s for s, n in zip(slice_start, have.shape, strict=True)]
    ends = [e + n if e < 0 else e for e, n in zip(slice_end, have.shape, strict=True)]
    for start, end, extent in zip(starts, ends, have.shape, strict=True):
        if end > extent:
            raise fail("slice", f"Ends {end} must be less than or equal to the shape of the tensor {extent}")
        if not 0 <= start < end:
            raise fail("slice", f"End {end} must be greater than start {start}")
    dtype = have.dtype
    aligned_start = rank >= 2 and starts[-1] % TILE_SIZE == 0 and starts[-2] % TILE_SIZE == 0
    if dtype in BLOCK_FLOATS and not aligned_start:
        dtype = DataType.BFLOAT16
    placement = memory_config or have.memory_config
    if placement.is_sharded() and placement != have.memory_config:
        raise not_implemented("slice", "memory_config", placement)
    if placement.is_sharded() and [e - s for s, e in zip(starts, ends, strict=True)] != list(have.shape):
        raise not_implemented("slice", "memory_config of a sharded result", placement)
    spec = tensor_spec([e - s for s, e in zip(starts, ends, strict=True)], dtype, have.layout, placement)
    index = (builtins.slice(None), *(builtins.slice(s, e) for s, e in zip(starts, ends, strict=True)))
    return run("slice", [input_tensor], [spec], lambda x: x[index], rounding=moved, settings=(*starts,))[0]


def _slice_by_tensors(
    tensor: Tensor,
    start: Tensor,
    end: Tensor,
    dim: int | None,
    num_devices: int | None,
    memory_config: MemoryConfig | None,
) -> Tensor:
    mesh_of("slice", tensor, start, end)
    have, rank = tensor.spec, len(tensor.spec.shape)
    for name, bound in (("slice_start", start), ("slice_end", end)):
        check_dtype("slice", name, bound, DataType.UINT32)
        check_layout("slice", name, bound, Layout.ROW_MAJOR)
        if bound.spec.shape != (rank,):
            raise fail("slice", f"{name} must have shape [{rank}], got {bound.spec.shape!r}")
    if dim is None or num_devices is None:
        raise fail("slice", "slice_dim and num_devices must be given with start and end tensors")
    if have.shape[dim] % num_devices or have.dtype is not DataType.BFLOAT16 or tensor.is_sharded():
        raise not_implemented("slice", "this tensor, start and end by tensors", (have, num_devices))
    shape = list(have.shape)
    shape[dim] //= num_devices

    def compute(values: Values, starts: Values, ends: Values) -> Values:
        first, last = starts[0].tolist(), ends[0].tolist()
        if [b - a for a, b in zip(first, last, strict=True)] != shape:
            raise fail("slice", f"start {first} and end {last} do not give the shape {shape}")
        if any(b > extent for b, extent in zip(last, have.shape, strict=True)):
            raise fail(
                "slice", f"end {last} is beyond the tensor's {have.shape!r}; a chip would read what stands there"
            )
        index = (builtins.slice(None), *(builtins.slice(a, b) for a, b in zip(first, last, strict=True)))
        return values[index]

    spec = tensor_spec(shape, have.dtype, have.layout, memory_config or have.memory_config)
    return run("slice", [tensor, start, end], [spec], compute, rounding=moved)[0]


def concat(tensors: Sequence[Tensor], dim: int = 0, *, memory_config: MemoryConfig | None = None) -> Tensor:
    """Join interleaved tensors of one dtype and layout along `dim`. Without `memory_config` the result is in DRAM if
    one of them is."""
    check_options("concat", memory_config=memory_config)
    if not tensors:
        raise fail("concat", "need 1 or more tensors")
    mesh_of("concat", *tensors)
    first = tensors[0].spec
    axis = dim_of("concat", tensors[0], dim)
    for tensor in tensors:
        have = tensor.spec
        if have.dtype is not first.dtype:
            raise fail("concat", "All Tensors should have same dtypes.")
        if have.layout is not first.layout:
            raise not_implemented("concat", "tensors of different layouts", (have.layout, first.layout))
        if tensor.is_sharded():
            raise not_implemented("concat", "a sharded tensor", have.memory_config)
        others = [(n, m) for i, (n, m) in enumerate(zip(have.shape, first.shape, strict=False)) if i != axis]
        if len(have.shape) != len(first.shape) or any(n != m for n, m in others):
            raise fail("concat", "All dimensions must be the same size except for the one along which is concatenated.")
    shape = list(first.shape)
    shape[axis] = builtins.sum(t.spec.shape[axis] for t in tensors)
    in_dram = next((t.spec.memory_config for t in tensors if t.spec.memory_config.buffer_type.name == "DRAM"), None)
    placement = memory_config or in_dram or first.memory_config
    spec = tensor_spec(shape, first.dtype, first.layout, placement)

    def compute(*values: Values) -> Values:
        devices = max(v.shape[0] for v in values)
        return torch.cat([v.expand(devices, *v.shape[1:]) for v in values], axis + 1)

    return run("concat", tensors, [spec], compute, rounding=moved)[0]


def pad(
    input_tensor: Tensor,
    padding: Sequence[tuple[int, int]],
    value: float,
    *,
    memory_config: MemoryConfig | None = None,
) -> Tensor:
    """Add `(before, after)` elements of `value` in the last `len(padding)` dims; tiles take none before."""
    check_options("pad", memory_config=memory_config)
    check_type("pad", "value", value, int, float)
    mesh_of("pad", input_tensor)
    have = input_tensor.spec
    if input_tensor.is_sharded():
        raise not_implemented("pad", "a sharded tensor", have.memory_config)
    if len(padding) > len(have.shape) or any(len(pair) != 2 or min(pair) < 0 for pair in padding):
        raise fail("pad", f"padding must be pairs of non-negative integers, one per dim, got {padding!r}")
    if have.layout is Layout.TILE and any(before for before, _ in padding):
        raise fail("pad", "on device tile padding does not support front padding")
    pairs = [(0, 0)] * (len(have.shape) - len(padding)) + [tuple(pair) for pair in padding]
    shape = [n + before + after for n, (before, after) in zip(have.shape, pairs, strict=True)]
    spec = tensor_spec(shape, have.dtype, have.layout, memory_config or have.memory_config)
    amounts = [amount for pair in reversed(pairs) for amount in pair]
    return run(
        "pad", [input_tensor], [spec], lambda x: torch.nn.functional.pad(x, amounts, value=value), rounding=moved
    )[0]
