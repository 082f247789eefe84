"""Tensors out of nothing."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ttnn_cpu.checks import check_options, check_type, fail
from ttnn_cpu.device import MeshDevice
from ttnn_cpu.dispatch import as_stored
from ttnn_cpu.enums import DataType, Layout
from ttnn_cpu.live_traces import note_allocation
from ttnn_cpu.memory import DRAM_MEMORY_CONFIG, MemoryConfig
from ttnn_cpu.rounding import on_host
from ttnn_cpu.spec import tensor_spec
from ttnn_cpu.tensor import Storage, Tensor
from ttnn_cpu.trace import refuse_during_capture


def empty(
    shape: Sequence[int],
    dtype: DataType = DataType.BFLOAT16,
    layout: Layout = Layout.ROW_MAJOR,
    device: MeshDevice | None = None,
    memory_config: MemoryConfig = DRAM_MEMORY_CONFIG,
) -> Tensor:
    """Memory on the device that nothing has written yet: garbage."""
    check_options("empty", memory_config=memory_config, dtype=dtype)
    check_type("empty", "layout", layout, Layout)
    check_type("empty", "device", device, MeshDevice)
    assert device is not None
    spec = tensor_spec(shape, dtype, layout, memory_config)
    made = Tensor(spec, Storage(None), device, device.num_devices)
    note_allocation("empty", device, made)
    return made


def full(
    shape: Sequence[int],
    fill_value: float,
    dtype: DataType | None = None,
    layout: Layout | None = None,
    device: MeshDevice | None = None,
    memory_config: MemoryConfig | None = None,
) -> Tensor:
    """One value everywhere; bf16, row major, on the host unless told otherwise."""
    return _filled("full", shape, fill_value, dtype, layout, device, memory_config)


def zeros(
    shape: Sequence[int],
    dtype: DataType | None = None,
    layout: Layout | None = None,
    device: MeshDevice | None = None,
    memory_config: MemoryConfig | None = None,
) -> Tensor:
    return _filled("zeros", shape, 0, dtype, layout, device, memory_config)


def ones(
    shape: Sequence[int],
    dtype: DataType | None = None,
    layout: Layout | None = None,
    device: MeshDevice | None = None,
    memory_config: MemoryConfig | None = None,
) -> Tensor:
    return _filled("ones", shape, 1, dtype, layout, device, memory_config)


def zeros_like(
    tensor: Tensor,
    dtype: DataType | None = None,
    layout: Layout | None = None,
    device: MeshDevice | None = None,
    memory_config: MemoryConfig | None = None,
) -> Tensor:
    """Zeros in the shape of `tensor`, and in its dtype, layout and place where nothing else is said. What stands in
    `tensor` does not matter. On the chips it is one operation there for tiles of bf16, float32 and bfp8."""
    check_type("zeros_like", "tensor", tensor, Tensor)
    if not tensor.is_allocated():
        raise fail("zeros_like", "the tensor is not allocated (it was deallocated)")
    have = tensor.spec
    return _filled(
        "zeros_like",
        have.shape,
        0,
        dtype or have.dtype,
        layout or have.layout,
        device or tensor.device(),
        memory_config or have.memory_config,
    )


def _filled(
    operation: str,
    shape: Sequence[int],
    value: float,
    dtype: DataType | None,
    layout: Layout | None,
    device: MeshDevice | None,
    memory_config: MemoryConfig | None,
) -> Tensor:
    check_options(operation, memory_config=memory_config, dtype=dtype)
    refuse_during_capture(device, "Writes")
    dtype = dtype or DataType.BFLOAT16
    spec = tensor_spec(shape, dtype, layout or Layout.ROW_MAJOR, memory_config or DRAM_MEMORY_CONFIG)
    # one stored element stands for all: a cache of zeros takes no memory until it is written
    number = as_stored(torch.full((1,), value, dtype=torch.float64), dtype, on_host)
    values = (
        None if device is not None and device.specs_only else number.reshape((1,) * (1 + len(shape))).expand(1, *shape)
    )
    made = Tensor(spec, Storage(values), device, 1 if device is None else device.num_devices)
    if device is not None:
        note_allocation(operation, device, made)
    return made
