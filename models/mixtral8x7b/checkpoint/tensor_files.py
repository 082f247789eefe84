"""The files that tensors come in: `.safetensors`, and torch's `.pt`. No code in them is executed."""

import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from models.mixtral8x7b.checkpoint.weights import CheckpointError


def tensors_of(file: Path) -> dict[str, Tensor]:
    """All tensors of a file, mapped: nothing is read yet. Raises CheckpointError if it cannot be read."""
    return _tensors_of_safetensors(file) if file.suffix == ".safetensors" else _tensors_of_torch(file)


def _tensors_of_torch(file: Path) -> dict[str, Tensor]:
    try:
        tensors = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{file} cannot be read: it holds more than tensors, or is damaged") from error
    except Exception as error:  # a damaged file makes torch raise whatever comes
        raise CheckpointError(f"{file} cannot be read; it may be truncated, fetch it again") from error
    if not isinstance(tensors, dict) or not all(map(_is_named_tensor, tensors, tensors.values())):
        raise CheckpointError(f"{file} does not hold a dictionary of tensors; expected Mistral's consolidated weights")
    return tensors


def _is_named_tensor(key: object, value: object) -> bool:
    is_plain = isinstance(value, Tensor) and value.layout is torch.strided and value.device.type == "cpu"
    return isinstance(key, str) and is_plain


def _tensors_of_safetensors(file: Path) -> dict[str, Tensor]:
    try:
        opened = safe_open(file, framework="pt")
        return {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file} cannot be read ({error}); it may be truncated, fetch it again") from error
