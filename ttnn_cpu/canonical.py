"""Values as text, the same for this backend's objects and for the real ttnn's."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from enum import Enum
from typing import Any

import torch

from ttnn_cpu import configs


def is_tensor(value: Any) -> bool:
    return type(value).__name__ == "Tensor" and not isinstance(value, torch.Tensor)


def on_device(tensor: Any) -> bool:
    return str(tensor.storage_type().name) == "DEVICE"


def spec_text(tensor: Any) -> str:
    """Shape, padded shape where it differs, dtype, layout, memory config or HOST."""
    shape, padded = list(tensor.shape), list(tensor.padded_shape)
    pad = "" if shape == padded else f" pad{padded}"
    place = memory_config_text(tensor.memory_config()) if on_device(tensor) else "HOST"
    return f"{shape}{pad} {tensor.dtype.name} {tensor.layout.name} {place}"


def memory_config_text(config: Any) -> str:
    text = f"{config.buffer_type.name}/{config.memory_layout.name}"
    spec = config.shard_spec
    if spec is None:
        return text
    return f"{text}{list(spec.shape)}@{core_ranges_text(spec.grid)}/{spec.orientation.name}"


def core_ranges_text(grid: Any) -> str:
    ranges = sorted((r.start.y, r.start.x, r.end.y, r.end.x) for r in grid.ranges())
    return "{" + ", ".join(f"{x0}-{y0}..{x1}-{y1}" for y0, x0, y1, x1 in ranges) + "}"


def canonical(value: Any) -> str:
    """Text of an argument. Mesh mappers and composers have no readable content in ttnn: only their kind is told."""
    kind = type(value).__name__
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    if isinstance(value, torch.Tensor):
        return f"torch{list(value.shape)} {value.dtype}"
    if is_tensor(value):
        return spec_text(value)
    if kind == "MemoryConfig":
        return memory_config_text(value)
    if kind == "CoreRangeSet":
        return core_ranges_text(value)
    if kind in ("CoreCoord", "CoreGrid"):
        return f"{value.x}-{value.y}"
    if kind == "MeshDevice":
        return f"mesh{list(value.shape)}"
    if kind in ("TensorToMesh", "CppTensorToMesh", "ReplicateTensorToMeshWrapper"):
        return "mapper"
    if kind in ("MeshToTensor", "CppMeshToTensor"):
        return "composer"
    if kind == "UnaryWithParam":
        return f"{value.op_type.name}{list(value.params)}"
    if isinstance(value, Enum) or (hasattr(value, "name") and hasattr(value, "value")):
        return f"{kind}.{value.name}"
    config = getattr(configs, kind, None)
    if config is not None and dataclasses.is_dataclass(config):
        fields = (f"{f.name}={canonical(getattr(value, f.name))}" for f in dataclasses.fields(config))
        return f"{kind}({', '.join(fields)})"
    if isinstance(value, Sequence) or hasattr(value, "__iter__"):
        return f"[{', '.join(canonical(item) for item in value)}]"
    return kind
