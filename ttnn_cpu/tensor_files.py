"""Tensors in `.tensorbin` files, the same bytes as the real library's: each reads the other's files.

What a file holds is rounded, so that inside `exact_values` it is neither written nor read.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch

import tensorbin
from ttnn_cpu.checks import check_type, fail
from ttnn_cpu.device import MeshDevice
from ttnn_cpu.enums import DataType, Layout
from ttnn_cpu.host_io import from_torch, to_device
from ttnn_cpu.memory import DRAM_MEMORY_CONFIG, MemoryConfig
from ttnn_cpu.mesh_mapping import ReplicateTensorToMeshWrapper, TensorToMesh
from ttnn_cpu.modes import is_exact
from ttnn_cpu.rounding import as_bfloat16
from ttnn_cpu.spec import tensor_spec
from ttnn_cpu.tensor import Distribution, Storage, Tensor

_SUFFIX = ".tensorbin"


def dump_tensor(file_name: str | Path, tensor: Tensor) -> None:
    """Write a host tensor with all its shards to `<name>.tensorbin`: under a temporary name first, then renamed.

    NotImplementedError for a memory config other than interleaved in DRAM and for a tensor of `from_device`, because
    how ttnn says in a file that they are laid out is not known here. The bytes differ from ttnn's only in what the
    values do not tell: the padding of a `pad_value`, and block floats of less than 2 ** -120.
    """
    path = _checked_path("dump_tensor", file_name)
    check_type("dump_tensor", "tensor", tensor, Tensor)
    if tensor.device() is not None or not tensor.storage.has_values:
        raise fail("dump_tensor", "takes a host tensor with values")
    try:
        header = _header(tensor)
        values = tensor.values()
        chips = values.expand(header.n_chips, *values.shape[1:])
        sources = (chips[header.chip_of_part(k)] for k in range(header.n_parts))
        if tensor.dtype is DataType.BFLOAT16:
            sources = (as_bfloat16(source) for source in sources)
        tensorbin.write(path, header, (tensorbin.pack(source, header.dtype, header.layout) for source in sources))
    except (OSError, tensorbin.TensorbinError) as error:
        raise fail("dump_tensor", f"cannot write {path}: {error}") from error


def load_tensor(file_name: str | Path, *, device: MeshDevice | None = None) -> Tensor:
    """The tensor of a file, on `device` if given. It is read and decoded when its values are first used, also on the
    device: until then it takes no memory. RuntimeError for a missing, damaged or foreign file."""
    path = _checked_path("load_tensor", file_name)
    _refuse_exact("load_tensor")
    try:
        header = tensorbin.read_header(path)
        parts = tensorbin.read_parts(path, header)
    except (OSError, tensorbin.TensorbinError) as error:
        raise fail("load_tensor", f"cannot read {path}: {error}") from error

    @cache
    def values() -> torch.Tensor:
        made = [tensorbin.unpack(part, header.shape, header.dtype, header.layout) for part in parts]
        if header.n_parts == 1:
            return made[0].unsqueeze(0)
        return torch.stack([made[header.part_of_chip(chip)] for chip in range(header.n_chips)])

    spec = tensor_spec(header.shape, DataType[header.dtype.name], Layout[header.layout.name])
    shards = 1 if header.n_parts == 1 else header.n_chips
    laid = Distribution(header.mesh_shape, header.placements)
    host = Tensor(spec, Storage(values), None, shards, distribution=laid)
    return host if device is None else to_device(host, device)


def as_tensor(
    tensor: torch.Tensor | None,
    dtype: DataType | None = None,
    *,
    layout: Layout | None = Layout.ROW_MAJOR,
    device: MeshDevice | None = None,
    memory_config: MemoryConfig | None = None,
    cache_file_name: str | Path | None = None,
    preprocess: Callable[[torch.Tensor], torch.Tensor] | None = None,
    mesh_mapper: TensorToMesh | None = None,
) -> Tensor:
    """`from_torch` through a file `<cache_file_name>_dtype_<dtype>_layout_<layout>.tensorbin`, if a name is given.

    A file that is there is used as it is, whatever `tensor` holds (it may then be None); else it is written.
    """

    def made(target: MeshDevice | None, mapper: TensorToMesh | None) -> Tensor:
        check_type("as_tensor", "tensor", tensor, torch.Tensor)
        assert tensor is not None
        source = preprocess(tensor) if preprocess is not None else tensor
        placement = memory_config if target is not None else None
        return from_torch(source, dtype, layout=layout, device=target, memory_config=placement, mesh_mapper=mapper)

    if cache_file_name is None:
        return made(device, mesh_mapper)
    dtype_name = "None" if dtype is None else dtype.name
    layout_name = "None" if layout is None else layout.name
    path = Path(f"{cache_file_name}_dtype_{dtype_name}_layout_{layout_name}{_SUFFIX}")
    if path.exists():
        host = load_tensor(path)
    else:
        host = made(None, None if isinstance(mesh_mapper, ReplicateTensorToMeshWrapper) else mesh_mapper)
        path.parent.mkdir(parents=True, exist_ok=True)
        dump_tensor(path, host)
    return host if device is None else to_device(host, device, memory_config)


def _header(tensor: Tensor) -> tensorbin.Header:
    _refuse_exact("dump_tensor")
    if tensor.distribution is None:
        raise NotImplementedError("dump_tensor: a tensor of from_device is not implemented")
    if tensor.spec.memory_config != DRAM_MEMORY_CONFIG:
        raise NotImplementedError(f"dump_tensor: {tensor.spec.memory_config} is not implemented")
    return tensorbin.Header(
        shape=tuple(tensor.shape),
        dtype=tensorbin.DType[tensor.dtype.name],
        layout=tensorbin.Layout[tensor.layout.name],
        mesh_shape=tensor.distribution.mesh_shape,
        placements=tensor.distribution.placements,
    )


def _refuse_exact(operation: str) -> None:
    if is_exact():
        raise fail(operation, "a file holds rounded values; inside exact_values rounding is off")


def _checked_path(operation: str, file_name: str | Path) -> Path:
    path = Path(file_name)
    if path.suffix != _SUFFIX:
        raise fail(operation, f"the file name must end in {_SUFFIX}, got {path.name}")
    return path
