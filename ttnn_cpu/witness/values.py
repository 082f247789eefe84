"""Arguments and tensors of calls as plain data: taken from the real ttnn's objects, made into ttnn_cpu's.

The two libraries' classes have the same names and attributes, so one walk over a value serves for both.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import ttnn_cpu
from ttnn_cpu import configs
from ttnn_cpu.canonical import is_tensor
from ttnn_cpu.enums import DataType
from ttnn_cpu.spec import storage_dtype, tensor_spec
from ttnn_cpu.tensor import Storage, Tensor

# of values that are exact in them: numbers of block floats have fewer bits than a bf16 one
_STORED_AS = {
    DataType.BFLOAT16: np.uint16,
    DataType.BFLOAT8_B: np.uint16,
    DataType.BFLOAT4_B: np.uint16,
    DataType.FLOAT32: np.float32,
    DataType.INT32: np.int32,
    DataType.UINT32: np.uint32,
    DataType.UINT16: np.uint16,
}

_AS_BFLOAT16 = (DataType.BFLOAT16, DataType.BFLOAT8_B, DataType.BFLOAT4_B)


@dataclass(frozen=True)
class Recorded:
    """A tensor on the chips: its spec as plain data, and its values [chips, *shape] (one chip where all are alike)."""

    shape: tuple[int, ...]
    dtype: str
    layout: str
    memory_config: Any
    n_chips: int
    values: np.ndarray


def recorded(ttnn: Any, tensor: Any) -> Recorded:
    """Reads a tensor of the real ttnn, or of ttnn_cpu."""
    parts = [ttnn.to_torch(part) for part in ttnn.get_device_tensors(tensor)]
    n_chips = len(parts)
    if all(torch.equal(part, parts[0]) for part in parts[1:]):
        parts = parts[:1]
    stacked = torch.stack([part.view(torch.int32) if part.dtype is torch.uint32 else part for part in parts])
    dtype = DataType[tensor.dtype.name]
    as_stored = _STORED_AS[dtype]
    if dtype in _AS_BFLOAT16:
        values = stacked.bfloat16().contiguous().view(torch.int16).numpy().view(np.uint16)
    elif dtype is DataType.UINT16:
        values = stacked.to(torch.int32).numpy().astype(np.uint16)
    else:
        values = stacked.numpy().view(as_stored)
    place = to_data(tensor.memory_config())
    return Recorded(tuple(tensor.shape), dtype.name, tensor.layout.name, place, n_chips, values)


def as_torch(tensor: Recorded) -> torch.Tensor:
    """The values as ttnn_cpu keeps them: float32, int64 for uint32, else int32."""
    dtype = DataType[tensor.dtype]
    if dtype in _AS_BFLOAT16:
        return torch.from_numpy((tensor.values.astype(np.uint32) << 16).view(np.float32).copy())
    if dtype is DataType.FLOAT32:
        return torch.from_numpy(tensor.values.copy())
    return torch.from_numpy(tensor.values.astype(np.int64)).to(storage_dtype(dtype))


def on_cpu_mesh(tensor: Recorded, mesh: Any) -> Tensor:
    """The same tensor on a mesh of ttnn_cpu."""
    spec = tensor_spec(
        tensor.shape, DataType[tensor.dtype], ttnn_cpu.Layout[tensor.layout], from_data(tensor.memory_config, mesh, [])
    )
    return Tensor(spec, Storage(as_torch(tensor)), mesh, tensor.n_chips)


def to_data(value: Any, tensors: list[Any] | None = None) -> Any:
    """An argument as JSON. Tensors go to `tensors` and are named by their place in it."""
    kind = type(value).__name__
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if is_tensor(value):
        assert tensors is not None
        tensors.append(value)
        return {"tensor": len(tensors) - 1}
    if kind == "MeshDevice":
        return {"mesh": True}
    if kind == "CoreRangeSet":
        return {"CoreRangeSet": [[r.start.x, r.start.y, r.end.x, r.end.y] for r in value.ranges()]}
    if kind == "CoreCoord":
        return {"CoreCoord": [value.x, value.y]}
    if kind == "UnaryWithParam":
        return {"UnaryWithParam": value.op_type.name}
    if hasattr(value, "name") and hasattr(value, "value"):
        return {"enum": [kind, value.name]}
    plain = getattr(configs, kind, None) or getattr(ttnn_cpu, kind, None)
    if plain is not None and dataclasses.is_dataclass(plain):
        return {kind: {f.name: to_data(getattr(value, f.name), tensors) for f in dataclasses.fields(plain)}}
    return [to_data(item, tensors) for item in value]


def from_data(data: Any, mesh: Any, tensors: list[Tensor]) -> Any:
    """What to_data took, as ttnn_cpu's object."""
    if isinstance(data, list):
        return [from_data(item, mesh, tensors) for item in data]
    if not isinstance(data, dict):
        return data
    ((kind, content),) = data.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "mesh":
        return mesh
    if kind == "enum":
        return getattr(ttnn_cpu, content[0])[content[1]]
    if kind == "CoreRangeSet":
        corner = ttnn_cpu.CoreCoord
        return ttnn_cpu.CoreRangeSet([ttnn_cpu.CoreRange(corner(a, b), corner(c, d)) for a, b, c, d in content])
    if kind == "CoreCoord":
        return ttnn_cpu.CoreCoord(*content)
    if kind == "UnaryWithParam":
        return ttnn_cpu.UnaryWithParam(ttnn_cpu.UnaryOpType[content])
    fields = {name: from_data(item, mesh, tensors) for name, item in content.items()}
    if kind == "ShardSpec":
        return ttnn_cpu.ShardSpec(fields["grid"], fields["shape"], fields["orientation"])
    return getattr(ttnn_cpu, kind)(**fields)
