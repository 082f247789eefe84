"""Tensors in files, for weight caches. The format is this package's own: neither library reads the other's files."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import torch

from ttnn_cpu.checks import check_type, fail
from ttnn_cpu.device import MeshDevice
from ttnn_cpu.dispatch import is_exact
from ttnn_cpu.enums import BLOCK_FLOATS, DataType, Layout
from ttnn_cpu.host_io import from_torch, to_device
from ttnn_cpu.memory import MemoryConfig
from ttnn_cpu.mesh_mapping import TensorToMesh
from ttnn_cpu.rounding import as_bfloat16
from ttnn_cpu.spec import tensor_spec
from ttnn_cpu.tensor import Storage, Tensor

_SUFFIX = ".tensorbin"
_FORMAT = "ttnn_cpu tensor 1"


def dump_tensor(file_name: str | Path, tensor: Tensor) -> None:
    """Write a host tensor with all its shards to `<name>.tensorbin`: under a temporary name first, then renamed."""
    path = _checked_path("dump_tensor", file_name)
    check_type("dump_tensor", "tensor", tensor, Tensor)
    if tensor.device() is not None or tensor.storage.values is None:
        raise fail("dump_tensor", "takes a host tensor with values")
    values = tensor.values()
    # bf16 and block floats are exact in bf16: half the file
    if not is_exact() and tensor.dtype in BLOCK_FLOATS | {DataType.BFLOAT16}:
        values = as_bfloat16(values)
    content = {
        "format": _FORMAT,
        "dtype": tensor.dtype.name,
        "layout": tensor.layout.name,
        "shards": tensor.shards,
        "exact": is_exact(),
        "values": values.contiguous(),
    }
    temporary = path.with_name(f"{path.name}.tmp.{os.getpid()}")
    try:
        torch.save(content, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load_tensor(file_name: str | Path, *, device: MeshDevice | None = None) -> Tensor:
    """Read a file of `dump_tensor`, to `device` if given. RuntimeError for a missing, damaged or foreign file, and for
    rounded values inside `exact_values` (or the other way round)."""
    path = _checked_path("load_tensor", file_name)
    try:
        content = torch.load(path, weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise fail("load_tensor", f"cannot read {path}: {error}") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise fail("load_tensor", f"{path} is not a file of this backend")
    if content["exact"] is not is_exact():
        raise fail(
            "load_tensor", f"{path} was written with rounding {'off' if content['exact'] else 'on'}, now it is not"
        )
    dtype = DataType[content["dtype"]]
    values = content["values"]
    if dtype in BLOCK_FLOATS | {DataType.BFLOAT16}:
        values = values.to(torch.float32)
    spec = tensor_spec(values.shape[1:], dtype, Layout[content["layout"]])
    host = Tensor(spec, Storage(values), None, content["shards"])
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

    def made(target: MeshDevice | None) -> Tensor:
        check_type("as_tensor", "tensor", tensor, torch.Tensor)
        assert tensor is not None
        source = preprocess(tensor) if preprocess is not None else tensor
        placement = memory_config if target is not None else None
        return from_torch(source, dtype, layout=layout, device=target, memory_config=placement, mesh_mapper=mesh_mapper)

    if cache_file_name is None:
        return made(device)
    dtype_name = "None" if dtype is None else dtype.name
    layout_name = "None" if layout is None else layout.name
    path = Path(f"{cache_file_name}_dtype_{dtype_name}_layout_{layout_name}{_SUFFIX}")
    if path.exists():
        host = load_tensor(path)
    else:
        host = made(None)
        path.parent.mkdir(parents=True, exist_ok=True)
        dump_tensor(path, host)
    return host if device is None else to_device(host, device, memory_config)


def _checked_path(operation: str, file_name: str | Path) -> Path:
    path = Path(file_name)
    if path.suffix != _SUFFIX:
        raise fail(operation, f"the file name must end in {_SUFFIX}, got {path.name}")
    return path
