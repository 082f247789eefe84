"""Between torch, host tensors and the mesh."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch

from ttnn_cpu.checks import check_options, check_type, fail
from ttnn_cpu.device import MeshDevice, MeshShape
from ttnn_cpu.dispatch import as_stored
from ttnn_cpu.enums import BLOCK_FLOATS, DataType, Layout
from ttnn_cpu.live_traces import note_allocation
from ttnn_cpu.memory import DRAM_MEMORY_CONFIG, MemoryConfig
from ttnn_cpu.mesh_mapping import MeshToTensor, TensorToMesh
from ttnn_cpu.modes import is_exact
from ttnn_cpu.rounding import as_bfloat16, on_host
from ttnn_cpu.spec import tensor_spec
from ttnn_cpu.tensor import Distribution, Storage, Tensor
from ttnn_cpu.trace import refuse_during_capture

_DTYPE_OF_TORCH = {
    torch.bfloat16: DataType.BFLOAT16,
    torch.float32: DataType.FLOAT32,
    torch.int32: DataType.INT32,
    torch.int64: DataType.UINT32,
}
_TORCH_OF_DTYPE = {
    DataType.BFLOAT16: torch.bfloat16,
    DataType.FLOAT32: torch.float32,
    DataType.BFLOAT8_B: torch.float32,
    DataType.BFLOAT4_B: torch.float32,
    DataType.INT32: torch.int32,
    DataType.UINT32: torch.uint32,
    DataType.UINT16: torch.uint16,
    DataType.UINT8: torch.uint8,
}


def from_torch(
    tensor: torch.Tensor,
    dtype: DataType | None = None,
    *,
    pad_value: float | None = None,
    layout: Layout | None = None,
    device: MeshDevice | None = None,
    memory_config: MemoryConfig | None = None,
    mesh_mapper: TensorToMesh | None = None,
) -> Tensor:
    """A torch tensor as a ttnn tensor: on the host, or on `device` (DRAM interleaved by default).

    `dtype` defaults to torch's (int64 becomes uint32), `layout` to row major, to TILE for block floats. Values are
    rounded as on ttnn's host: block floats straight from float32 or bf16, through bf16 from other floats and for a
    sharded memory config. Without `mesh_mapper` every device gets the whole tensor. A tensor on torch's meta device
    gives a spec without values.
    """
    check_type("from_torch", "tensor", tensor, torch.Tensor)
    check_options("from_torch", memory_config=memory_config, dtype=dtype)
    if mesh_mapper is not None:
        check_type("from_torch", "mesh_mapper", mesh_mapper, TensorToMesh)
    if dtype is None:
        if tensor.dtype not in _DTYPE_OF_TORCH:
            raise fail("from_torch", f"no default dtype for {tensor.dtype}, give one")
        dtype = _DTYPE_OF_TORCH[tensor.dtype]
    if layout is None:
        layout = Layout.TILE if dtype in BLOCK_FLOATS else Layout.ROW_MAJOR
    if dtype in BLOCK_FLOATS and layout is not Layout.TILE:
        raise fail("from_torch", "Layout must be Layout::TILE for bfloat8_b or bfloat4_b!")
    shards = tensor.unsqueeze(0) if mesh_mapper is None else mesh_mapper.map(tensor)
    placement = memory_config or DRAM_MEMORY_CONFIG
    spec = tensor_spec(shards.shape[1:], dtype, layout, placement)
    values: torch.Tensor | None = None
    if not tensor.is_meta:
        if dtype in BLOCK_FLOATS and _through_bfloat16(tensor, placement) and not is_exact():
            shards = shards.to(torch.bfloat16)
        if tensor.dtype is torch.bfloat16 and dtype is DataType.BFLOAT16:
            values = shards.to(torch.float32)  # copied, not rounded: a nan keeps its bits
        else:
            values = as_stored(shards, dtype, partial(on_host, pad_value=pad_value or 0.0))
        if values.untyped_storage().data_ptr() == tensor.untyped_storage().data_ptr():
            values = values.clone()
    laid = Distribution() if mesh_mapper is None else Distribution((1, mesh_mapper.devices), mesh_mapper.placements)
    host = Tensor(spec, Storage(values), None, shards.shape[0], distribution=laid)
    return host if device is None else to_device(host, device, placement)


def _through_bfloat16(tensor: torch.Tensor, placement: MemoryConfig) -> bool:
    if tensor.dtype is torch.float32:
        return placement.is_sharded()
    return tensor.is_floating_point() and tensor.dtype is not torch.bfloat16


def to_device(tensor: Tensor, device: MeshDevice, memory_config: MemoryConfig | None = None) -> Tensor:
    """Copy a host tensor of one shard (to every device) or of one shard per device to the mesh."""
    check_options("to_device", memory_config=memory_config)
    check_type("to_device", "device", device, MeshDevice)
    check_type("to_device", "tensor", tensor, Tensor)
    refuse_during_capture(device, "Writes")
    if tensor.device() is not None:
        raise fail("to_device", "the tensor is on a device already")
    _check_allocated("to_device", tensor)
    if tensor.shards not in (1, device.num_devices):
        raise fail("to_device", f"a tensor of {tensor.shards} shards does not go on {device!r}")
    have = tensor.spec
    spec = tensor_spec(have.shape, have.dtype, have.layout, memory_config or have.memory_config)
    if not tensor.storage.has_values and not device.specs_only:
        raise fail("to_device", "the tensor has no values (it was made from a torch meta tensor)")
    storage = Storage(None) if device.specs_only else tensor.shared_storage()
    moved = Tensor(spec, storage, device, device.num_devices)
    note_allocation("to_device", device, moved)
    return moved


def from_device(tensor: Tensor, blocking: bool = True) -> Tensor:
    """Copy a mesh tensor to the host, one shard per device. Always blocks."""
    check_type("from_device", "tensor", tensor, Tensor)
    check_type("from_device", "blocking", blocking, bool)
    if tensor.device() is None:
        return tensor
    _check_allocated("from_device", tensor)
    refuse_during_capture(tensor.device(), "Reads")
    spec = tensor_spec(tensor.spec.shape, tensor.spec.dtype, tensor.spec.layout)
    values = None if _has_spec_only(tensor) else tensor.values().clone()
    return Tensor(spec, Storage(values), None, tensor.shards, distribution=None)


def to_torch(
    tensor: Tensor,
    dtype: torch.dtype | None = None,
    *,
    torch_rank: int | None = None,
    mesh_composer: MeshToTensor | None = None,
) -> torch.Tensor:
    """The values in the logical shape: bf16, float32 (also for block floats), int32, uint32 or uint16; or `dtype`.

    A tensor of several shards, so any on a mesh of several devices, needs a composer; or read one of
    `get_device_tensors`. Under `exact_values` bf16 tensors come back as float32. Where only the spec is known the
    result is on torch's meta device.
    """
    check_type("to_torch", "tensor", tensor, Tensor)
    _check_allocated("to_torch", tensor)
    refuse_during_capture(tensor.device(), "Reads")
    spec_only = _has_spec_only(tensor)
    values = torch.empty(1, *tensor.spec.shape, device="meta") if spec_only else tensor.values()
    if mesh_composer is not None:
        check_type("to_torch", "mesh_composer", mesh_composer, MeshToTensor)
        if tensor.shards == 1:  # one buffer, as on a mesh of one device
            mesh_composer = MeshToTensor(1, mesh_composer.dim)
        joined = mesh_composer.compose(values)
    elif tensor.shards != 1:
        raise fail(
            "to_torch",
            f"Can't convert a tensor distributed on {tensor.shards} devices to row-major logical tensor. "
            "Supply a mesh composer to concatenate multi-device shards.",
        )
    else:
        joined = values[0]
    wanted = dtype or _TORCH_OF_DTYPE[tensor.spec.dtype]
    if dtype is None and is_exact() and wanted is torch.bfloat16:
        wanted = torch.float32
    from_float = wanted is torch.bfloat16 and joined.dtype is torch.float32 and not spec_only
    result = as_bfloat16(joined.contiguous()) if from_float else joined.to(wanted)
    if not spec_only and result.untyped_storage().data_ptr() == values.untyped_storage().data_ptr():
        result = result.clone()
    if torch_rank is None:
        return result
    while result.dim() > torch_rank:
        if result.shape[0] != 1:
            raise fail("to_torch", f"a tensor of shape {list(result.shape)} has no torch_rank {torch_rank}")
        result = result.squeeze(0)
    return result.reshape((1,) * (torch_rank - result.dim()) + tuple(result.shape))


def get_device_tensors(tensor: Tensor) -> list[Tensor]:
    """The shards in mesh order, each a tensor of one buffer that shares the memory."""
    check_type("get_device_tensors", "tensor", tensor, Tensor)
    if tensor.shards == 1:
        return [tensor]
    laid = None if tensor.distribution is None else Distribution()
    return [
        Tensor(tensor.spec, tensor.storage, tensor.device(), 1, shard, distribution=laid)
        for shard in range(tensor.shards)
    ]


def from_host_shards(tensors: Sequence[Tensor], mesh_shape: MeshShape) -> Tensor:
    """One host tensor out of a host tensor per device."""
    if len(tensors) != mesh_shape.mesh_size():
        raise fail("from_host_shards", f"{len(tensors)} shards do not fill a mesh of {mesh_shape!r}")
    first = tensors[0].spec
    if any(t.device() is not None or t.shards != 1 or t.spec is not first for t in tensors):
        raise fail("from_host_shards", "the shards must be host tensors of one spec and one buffer each")
    has_values = all(t.storage.has_values for t in tensors)
    joined = torch.cat([t.values() for t in tensors]) if has_values else None
    rows, columns = mesh_shape
    return Tensor(first, Storage(joined), None, len(tensors), distribution=Distribution((rows, columns), (0,)))


def copy_host_to_device_tensor(host_tensor: Tensor, device_tensor: Tensor, cq_id: int | None = None) -> None:
    """Overwrite a device tensor with a host tensor of the same shape, dtype and layout."""
    operation = "copy_host_to_device_tensor"
    for name, tensor in (("host_tensor", host_tensor), ("device_tensor", device_tensor)):
        check_type(operation, name, tensor, Tensor)
        _check_allocated(operation, tensor)
    if cq_id not in (None, 0):
        raise NotImplementedError(f"{operation}: cq_id={cq_id!r} is not implemented")
    device = device_tensor.device()
    if host_tensor.device() is not None or device is None:
        raise fail(operation, "copies from a host tensor to a device tensor")
    refuse_during_capture(device, "Writes")
    host, have = host_tensor.spec, device_tensor.spec
    for what, one, other in (
        ("shape", host.shape, have.shape),
        ("dtype", host.dtype, have.dtype),
        ("layout", host.layout, have.layout),
    ):
        if one != other:
            raise fail(operation, f"Host tensor has different {what}: {one} and {other}")
    if host_tensor.shards not in (1, device.num_devices):
        raise fail(operation, f"a tensor of {host_tensor.shards} shards does not go on {device!r}")
    if not device.specs_only:
        device_tensor.storage.values = host_tensor.values()
        device_tensor.storage.mutable = False


def _has_spec_only(tensor: Tensor) -> bool:
    device = tensor.device()
    return device.specs_only if device is not None else not tensor.storage.has_values


def _check_allocated(operation: str, tensor: Tensor) -> None:
    if not tensor.storage.allocated:
        raise fail(operation, f"the tensor is not allocated (it was deallocated): {tensor.spec}")
